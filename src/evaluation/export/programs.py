"""Functions of tensors as ONNX and `torch.export` programs, and what onnxruntime makes of them."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from src.evaluation.export.functions import AudioModel, ImageModel
from src.utils.errors import ConfigError
from src.vimh.codec import Codec
from src.vimh.metadata import Metadata

if TYPE_CHECKING:
    import onnx

OPSET = 18  # of ONNX
CHATTY = ("onnx_ir", "onnxscript", "torch.onnx")  # loggers that report every pass of an optimiser
LEAST_HALVED_BYTES = 1024  # of a constant that is worth a cast
# Share of the pixels that may be a grey level off: transforms round in another order.
MAX_PIXELS_OFF = 1e-3


def write_program(
    function: ImageModel | AudioModel,
    example: tuple[Tensor, ...],
    about: Mapping[str, str],
    path: Path,
    opset: int = OPSET,
    program_path: Path | None = None,
    *,
    halves: bool = False,
) -> None:
    """Write a function as ONNX, and as a `torch.export` program where a path for it is given.

    The number of sounds or images, and of a sound's samples, is any.

    Args:
        function: what is written.
        example: two sounds or images, to trace it with.
        about: texts for the file's metadata.
        path: the ONNX file.
        opset: the version of ONNX's operators.
        program_path: the other file.
        halves: whether constants of the ONNX file are stored as :func:`store_halves` does.
    """
    import onnx

    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    batch = torch.export.Dim("batch", min=1)
    shapes: list[dict[int, torch.export.Dim]] = [{0: batch} for _ in example]
    if isinstance(function, AudioModel):
        shapes[0][example[0].ndim - 1] = torch.export.Dim("samples", min=1)
    with torch.no_grad():
        program = torch.export.export(function, example, dynamic_shapes=tuple(shapes), strict=False)
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # lines of our source, with this machine's paths
        converted = torch.onnx.export(
            program,
            dynamo=True,
            input_names=list(function.inputs),
            output_names=list(function.outputs),
            opset_version=opset,
            verbose=False,
        )
    assert converted is not None
    proto = converted.model_proto
    for node in proto.graph.node:
        del node.metadata_props[:]  # where in our modules it comes from: a fifth of the file
    del proto.graph.value_info[:]
    _name_sizes(proto.graph)
    if halves:
        store_halves(proto.graph)
    onnx.helper.set_model_props(proto, dict(about))
    onnx.checker.check_model(proto)
    onnx.save(proto, path)
    if program_path is not None:
        with warnings.catch_warnings():  # about weights that share memory on other devices
            warnings.filterwarnings("ignore", message="No complete tensor found in the group")
            content = io.BytesIO()  # a file that cannot be written would end the process
            torch.export.save(program, content, extra_files=dict(about))
        program_path.write_bytes(content.getbuffer())


def store_halves(graph: onnx.GraphProto) -> None:
    """Store constants in half precision where that holds each of their numbers exactly.

    A cast in the graph makes them what they were, so that nothing else is computed. onnxruntime
    does it once, when it loads the file; as C it is done for each sound.
    """
    import onnx

    for tensor in graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.nbytes < LEAST_HALVED_BYTES:
            continue
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}_half"))
        to = onnx.TensorProto.FLOAT
        graph.node.insert(0, onnx.helper.make_node("Cast", [tensor.name], [name], to=to))


def _name_sizes(graph: onnx.GraphProto) -> None:
    """Call the sizes that are any by what they are."""
    sizes = graph.input[0].type.tensor_type.shape.dim
    names = {sizes[0].dim_param: "batch"} | {size.dim_param: "samples" for size in sizes[1:]}
    for value in (*graph.input, *graph.output):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = names[size.dim_param]


def example_images(
    metadata: Metadata, count: int
) -> tuple[UInt8[Tensor, "B C H W"], Float32[Tensor, "B 2"]]:
    """Images that decay with time and frequency, as sounds do, and their levels; seeded."""
    rng = np.random.default_rng(0)
    channels, height, width = metadata.image_shape
    slope = rng.uniform(0, 1, (count, channels, 2, 1, 1))
    fall = (
        slope[:, :, 0] * np.linspace(0, 1, width)
        + slope[:, :, 1] * np.linspace(0, 1, height)[:, None]
    )
    noise = rng.uniform(-0.1, 0.1, (count, channels, height, width))
    images = (255 * (1 - fall / 2 + noise)).clip(0, 255).astype(np.uint8)
    levels = np.stack([rng.uniform(-200, -60, count), rng.uniform(-50, 0, count)], axis=1)
    return torch.from_numpy(images), torch.from_numpy(levels.astype(np.float32))


def example_sounds(function: AudioModel, count: int, length: int) -> Float32[Tensor, "B *S T"]:
    """Noise that decays by 20 to 60 dB within the sound; seeded."""
    rng = np.random.default_rng(0)
    sides = (2,) if function.image_maker.stereo else ()
    fall_db = rng.uniform(20, 60, (count, *(1 for _ in sides), 1)) * np.linspace(0, 1, length)
    audio = 0.1 * rng.standard_normal((count, *sides, length)) * 10.0 ** (-fall_db / 20.0)
    return torch.from_numpy(audio.astype(np.float32))


def check_images(function: ImageModel, metadata: Metadata, codec: Codec, path: Path) -> float:
    """Run an ONNX file of images with onnxruntime.

    Returns:
        How far it and PyTorch are apart at most, as a share of a parameter's range.
    """
    run = _Runtime(path)
    largest = 0.0
    for count in (1, 64):  # other sizes than the one it was traced with
        inputs = example_images(metadata, count)
        with torch.no_grad():
            expected = function(*inputs)
        found = run(dict(zip(function.inputs, inputs, strict=True)))
        largest = max(
            largest, _apart(codec, found, dict(zip(function.outputs, expected, strict=True)))
        )
    return largest


@dataclass(frozen=True)
class AudioCheck:
    """How an ONNX file of sounds differs from the code that made the training images."""

    difference: float  # of the values from those of PyTorch, as a share of a parameter's range
    pixels: int  # that were compared
    pixels_off: int  # that are a grey level off


def check_audio(function: AudioModel, codec: Codec, path: Path) -> AudioCheck:
    """Run an ONNX file of sounds with onnxruntime: shorter sounds, longer ones, of the length.

    Raises:
        ConfigError: If its images are others.
    """
    run = _Runtime(path)
    largest, pixels, off = 0.0, 0, 0
    for audio in _sounds_of_three_lengths(function):
        found = run({function.inputs[0]: audio})
        num_samples = function.image_maker.front_end.num_samples
        heard = torch.nn.functional.pad(audio, (0, num_samples))[..., :num_samples]
        expected, _ = function.image_maker(heard.numpy())
        image, levels = found["image"], found["scale_factors"]
        wrong = np.abs(image.astype(int) - expected)
        pixels, off = pixels + wrong.size, off + int((wrong > 0).sum())
        if wrong.max() > 1 or off > MAX_PIXELS_OFF * pixels:
            raise ConfigError(
                f"{path} makes other images than the training's: {off} of {pixels} pixels differ, "
                f"by up to {wrong.max()} grey levels; expected 1 in 1,000 and 1. Do not use it."
            )
        with torch.no_grad():
            values = function.model(torch.from_numpy(image), torch.from_numpy(levels))
        expected_values = dict(zip(function.model.outputs, values, strict=True))
        largest = max(largest, _apart(codec, found, expected_values))
    return AudioCheck(largest, pixels, off)


def _sounds_of_three_lengths(function: AudioModel) -> Iterator[Tensor]:
    length = function.image_maker.front_end.num_samples
    for count, samples in ((1, length), (16, length // 2 + 1), (16, 2 * length)):
        yield example_sounds(function, count, samples)


class _Runtime:
    """An ONNX file in onnxruntime: tensors in, arrays out, by name."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self._names = [output.name for output in self._session.get_outputs()]

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        fed = {name: value.numpy() for name, value in inputs.items()}
        return dict(zip(self._names, self._session.run(None, fed), strict=True))


def _apart(codec: Codec, found: Mapping[str, np.ndarray], expected: Mapping[str, Tensor]) -> float:
    """How far values and the ends of intervals are apart, as a share of a parameter's range."""
    errors = [
        codec.error_in_range(np.abs(codec.error(found[name], expected[name].numpy()))).max()
        for name in ("values", "low", "high")
        if name in expected
    ]
    return float(max(errors))
