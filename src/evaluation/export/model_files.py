"""A model as files that need nothing of this project: ONNX, a `torch.export` program; checksums."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import warnings
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor, nn

from src.checkpoint import load_model, read_checkpoint, write_safetensors
from src.models.multihead_module import MultiheadLitModule
from src.models.parameter_head import ParameterHead
from src.utils.errors import ConfigError
from src.utils.rich_utils import plain_console
from src.utils.strict_json import strict_json
from src.utils.words import path_word
from src.vimh.codec import Codec
from src.vimh.metadata import Metadata
from src.vimh.parameters import ParameterSpace

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
INSTALL = 'pip install -e ".[export]"'
CHATTY = ("onnx_ir", "onnxscript", "torch.onnx")  # loggers that report every pass of an optimiser
OPSET = 18  # of ONNX
TOLERANCE = 1e-5  # of a parameter's range
# Keys of a data set's metadata that say how a sound becomes an image.
SOUND_KEYS = (
    "sample_rate",
    "duration",
    "spectrogram_config",
    "mel_config",
    "pre_emphasis_coefficient",
    "scale_range_db",
)
NAMES_IN, NAME_OUT = ("images", "scale_factors"), "values"


def missing_packages() -> list[str]:
    """Return the packages of the extra `export` that are not installed here."""
    return [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]


def write_model_files(
    ckpt_path: str, path: Path, opset: int = OPSET, tolerance: float = TOLERANCE
) -> tuple[list[Path], float | None]:
    """Write a checkpoint's model files and say so; those of ONNX only where it is installed.

    Args:
        ckpt_path: The checkpoint.
        path: The ONNX file; the others are named after it.
        opset: The version of ONNX's operators.
        tolerance: The largest difference from PyTorch that passes, as a share of each range.

    Returns:
        The files, and the largest difference (None without ONNX).

    Raises:
        ConfigError: If the exported model computes something else.
    """
    checkpoint = read_checkpoint(ckpt_path)
    model = load_model(checkpoint).cpu()
    about = description(checkpoint.metadata, model)
    files = [write_safetensors(checkpoint, path.with_suffix(".safetensors"), about)]
    difference = None
    say = partial(plain_console().print, soft_wrap=True)
    if missing := missing_packages():
        say(f"ONNX:        not written, since there is no {', '.join(missing)}: {INSTALL}")
        say(f"  then:      python src/export.py {path_word('ckpt_path', ckpt_path)}")
    else:
        difference = write_programs(model, checkpoint.metadata, about, path, opset, tolerance)
        files += [path, path.with_suffix(".pt2")]
        say(f"Checked with onnxruntime: at most {difference:.1g} of a parameter's range apart")
    files.append(write_checksums(files, path.with_suffix(".sha256")))
    for file in files:
        say(f"{file.stat().st_size:>9,} bytes  {file}")
    return files, difference


def write_programs(
    model: MultiheadLitModule,
    metadata: Metadata,
    about: dict[str, str],
    path: Path,
    opset: int,
    tolerance: float,
) -> float:
    """Write a model as ONNX and, beside it, as a `torch.export` program (.pt2).

    Returns how far onnxruntime and PyTorch are apart at most, as a share of a parameter's range.

    Raises:
        ConfigError: If the ONNX file computes something else.
    """
    exported = ExportedModel(model)
    _write_programs(exported, metadata, about, path, opset)
    codec = ParameterSpace(model.parameters_by_head.values()).codec
    difference = _largest_difference(exported, metadata, codec, path)
    if difference > tolerance:
        raise ConfigError(
            f"{path} computes something else than PyTorch: they differ by {difference:.2g} of a "
            f"parameter's range, expected at most {tolerance:g} (tolerance). Do not use it."
        )
    return difference


def _write_programs(
    exported: ExportedModel, metadata: Metadata, about: dict[str, str], path: Path, opset: int
) -> None:
    import onnx

    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    example = example_batch(metadata, 2)
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        program = torch.export.export(
            exported, example, dynamic_shapes=({0: batch}, {0: batch}), strict=False
        )
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # lines of our source, with this machine's paths
        converted = torch.onnx.export(
            program,
            dynamo=True,
            input_names=list(NAMES_IN),
            output_names=[NAME_OUT],
            opset_version=opset,
            verbose=False,
        )
    assert converted is not None
    proto = converted.model_proto
    for node in proto.graph.node:
        del node.metadata_props[:]  # where in our modules it comes from: a fifth of the file
    del proto.graph.value_info[:]
    onnx.helper.set_model_props(proto, about)
    onnx.checker.check_model(proto)
    onnx.save(proto, path)
    with warnings.catch_warnings():  # about weights that share memory on other devices
        warnings.filterwarnings("ignore", message="No complete tensor found in the group")
        torch.export.save(program, path.with_suffix(".pt2"), extra_files=about)


def write_checksums(files: list[Path], path: Path) -> Path:
    """Write the files' SHA-256 for ``sha256sum -c``."""
    lines = []
    for file in files:
        with file.open("rb") as content:
            lines.append(f"{hashlib.file_digest(content, 'sha256').hexdigest()}  {file.name}\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def example_batch(
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


def _largest_difference(
    exported: ExportedModel, metadata: Metadata, codec: Codec, path: Path
) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    largest = 0.0
    for count in (1, 64):  # other sizes than the one it was traced with
        inputs = example_batch(metadata, count)
        with torch.no_grad():
            expected = exported(*inputs).numpy()
        fed = {name: value.numpy() for name, value in zip(NAMES_IN, inputs, strict=True)}
        (found,) = session.run([NAME_OUT], fed)
        apart = codec.error_in_range(np.abs(codec.error(found, expected)))
        largest = max(largest, float(apart.max()))
    return largest


class ExportedModel(nn.Module):
    """Preparation, network and decoding in one.

    Args:
        model: loaded, with its preparation.
    """

    def __init__(self, model: MultiheadLitModule) -> None:
        super().__init__()
        self.preparation = model.required_preparation
        self.net = model.net
        self.head_list = model.head_list
        self.eval()

    def forward(
        self, images: UInt8[Tensor, "B C H W"], scale_factors: Float32[Tensor, "B 2"]
    ) -> Float32[Tensor, "B P"]:
        """Values in units of stored pixels; the scale factors are what 0 and 255 stand for, dB."""
        prepared, auxiliary = self.preparation(images, scale_factors)
        outputs = self.net(prepared) if auxiliary is None else self.net(prepared, auxiliary)
        values = []
        for head in cast(Iterable[ParameterHead], self.head_list):
            own = outputs if isinstance(outputs, Tensor) else outputs[head.parameter.name]
            values.append(head.decode(own).float())
        return torch.stack(values, dim=1)


def description(metadata: Metadata, model: MultiheadLitModule) -> dict[str, str]:
    """Describe a model to the users of its file, as texts by name; nested ones are JSON."""
    parameters: list[dict[str, object]] = [
        {"name": name, "unit": p.unit, **p.to_json()}
        for name, p in model.parameters_by_head.items()
    ]
    sound = {key: metadata.raw[key] for key in SOUND_KEYS if metadata.raw.get(key) is not None}
    return {
        "format": "avix-1",
        "parameters": strict_json(parameters),
        "image": strict_json(
            {
                "channels": metadata.channels,
                "height": metadata.height,
                "width": metadata.width,
                "channel_labels": list(metadata.channel_labels),
            }
        ),
        "sound": strict_json(sound),
        "dataset_name": metadata.dataset_name,
    }
