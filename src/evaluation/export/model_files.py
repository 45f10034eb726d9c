"""A model as files for elsewhere: safetensors, ONNX, a `torch.export` program; checksums."""

from __future__ import annotations

import hashlib
import importlib.util
from functools import partial
from pathlib import Path

from src.checkpoint import load_model, read_checkpoint, write_safetensors
from src.evaluation.export.functions import AudioModel, ImageModel
from src.evaluation.export.programs import (
    OPSET,
    check_audio,
    check_images,
    example_images,
    example_sounds,
    write_program,
)
from src.models.intervals import CONFIDENCE
from src.models.multihead_module import MultiheadLitModule
from src.recordings.sounds import Listening
from src.synth.images import ImageMaker
from src.synth.settings import axes_of
from src.utils.errors import ConfigError
from src.utils.rich_utils import plain_console
from src.utils.strict_json import strict_json
from src.utils.words import path_word
from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
INSTALL = 'pip install -e ".[export]"'
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


def missing_packages() -> list[str]:
    """Return the packages of the extra `export` that are not installed here."""
    return [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]


def write_model_files(
    ckpt_path: str,
    path: Path,
    opset: int = OPSET,
    tolerance: float = TOLERANCE,
    confidence: float = CONFIDENCE,
) -> tuple[list[Path], float | None]:
    """Write a checkpoint's model files and say so; those of ONNX only where it is installed.

    Args:
        ckpt_path: The checkpoint.
        path: The ONNX file; the others are named after it.
        opset: The version of ONNX's operators.
        tolerance: The largest difference from PyTorch that passes, as a share of each range.
        confidence: The share of true values that intervals should hold.

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
        programs, difference, notes = write_programs(
            ImageModel(model, confidence), checkpoint.metadata, about, path, opset, tolerance
        )
        files += programs
        for note in notes:
            say(note)
    files.append(write_checksums(files, path.with_suffix(".sha256")))
    for file in files:
        say(f"{file.stat().st_size:>9,} bytes  {file}")
    return files, difference


def write_programs(
    images: ImageModel,
    metadata: Metadata,
    about: dict[str, str],
    path: Path,
    opset: int,
    tolerance: float,
    *,
    halves: bool = False,
) -> tuple[list[Path], float, list[str]]:
    """Write a model as ONNX and, beside it, as a `torch.export` program (.pt2).

    They take sounds, and a second ONNX file takes images. Where a model reads pictures, or its
    front end cannot be exported, the first two take images, and there is no second. `halves` is
    that of :func:`write_program`.

    Returns:
        The files; how far onnxruntime and PyTorch are apart at most, as a share of a parameter's
        range; and sentences on what was checked.

    Raises:
        ConfigError: If an ONNX file computes something else.
    """
    codec = metadata.parameters.codec
    if images.intervals is not None:
        about = {**about, "confidence": f"{images.intervals.confidence:g}"}
    hears, notes = _audio_model(images, metadata)
    program, of_images = path.with_suffix(".pt2"), path
    about_images, example = {"input": "images", **about}, example_images(metadata, 2)
    said = ""
    if hears is None:
        write_program(images, example, about_images, path, opset, program, halves=halves)
        difference = check_images(images, metadata, codec, path)
    else:
        of_images = path.with_name(f"{path.stem}_images.onnx")
        write_program(images, example, about_images, of_images, opset, halves=halves)
        sounds = (example_sounds(hears, 2, hears.image_maker.front_end.num_samples),)
        about_sounds = {"input": "audio", **about}
        write_program(hears, sounds, about_sounds, path, opset, program, halves=halves)
        checked = check_audio(hears, codec, path)
        said = f"{checked.pixels_off} of {checked.pixels:,} pixels a grey level off, values "
        difference = max(check_images(images, metadata, codec, of_images), checked.difference)
    if difference > tolerance:
        raise ConfigError(
            f"{path} computes something else than PyTorch: they differ by {difference:.2g} of a "
            f"parameter's range, expected at most {tolerance:g} (tolerance). Do not use it."
        )
    notes.append(
        f"Checked with onnxruntime: {said}at most {difference:.1g} of a parameter's range apart"
    )
    return list(dict.fromkeys([path, program, of_images])), difference, notes


def _audio_model(images: ImageModel, metadata: Metadata) -> tuple[AudioModel | None, list[str]]:
    """Return the function of sounds; None, and a sentence why, where there can be none."""
    if metadata.sample_rate is None:
        return None, []
    try:
        return AudioModel(images, ImageMaker.from_metadata(metadata)), []
    except VIMHError as error:
        return None, [f"ONNX:        of images, not of sounds: {error}"]


def write_checksums(files: list[Path], path: Path) -> Path:
    """Write the files' SHA-256 for ``sha256sum -c``."""
    lines = []
    for file in files:
        with file.open("rb") as content:
            lines.append(f"{hashlib.file_digest(content, 'sha256').hexdigest()}  {file.name}\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def description(metadata: Metadata, model: MultiheadLitModule) -> dict[str, str]:
    """Describe a model to the users of its file, as texts by name; nested ones are JSON."""
    parameters: list[dict[str, object]] = [
        {"name": name, "unit": p.unit, **p.to_json()}
        for name, p in model.parameters_by_head.items()
    ]
    sound = {key: metadata.raw[key] for key in SOUND_KEYS if metadata.raw.get(key) is not None}
    if sound:
        how = Listening.of(metadata) or Listening(start="onset")
        sound |= {"start": how.start, "lead_s": how.lead_s, "channels": how.channels}
    if axes := axes_of(metadata):
        sound["rows_hz"] = [float(axes.row_hz[0]), float(axes.row_hz[-1])]
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
