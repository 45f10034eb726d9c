"""Small data sets, made by hand and by the writer."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.vimh.records import DatasetWriter

ROOT = Path(__file__).parents[2]  # child processes run from the root, wherever pytest does
MAPPINGS = {
    "note_velocity": {"min": 126.0, "max": 127.0, "step": 0.5, "description": "level"},
    "log10_decay_time": {"min": -2.0, "max": 0.3, "step": 0.1, "description": "decay"},
}


def make_json(channels: int = 1, height: int = 4, width: int = 5, **more: Any) -> dict[str, Any]:
    """The metadata that is needed to read, and `more`."""
    return {
        "height": height,
        "width": width,
        "channels": channels,
        "parameter_names": list(MAPPINGS),
        "parameter_mappings": {name: dict(mapping) for name, mapping in MAPPINGS.items()},
        **more,
    }


def make_samples(
    count: int, channels: int = 1, height: int = 4, width: int = 5, num_parameters: int = 2
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random images, labels and scale factors."""
    rng = np.random.default_rng(count + 100 * channels)
    images = rng.integers(0, 256, (count, channels, height, width), dtype=np.uint8)
    labels = rng.integers(0, 256, (count, num_parameters), dtype=np.uint8)
    scale_factors = rng.normal(-60.0, 20.0, (count, 2)).astype(np.float32)
    return images, labels, scale_factors


def pack_records(
    images: np.ndarray,
    labels: np.ndarray,
    scale_factors: np.ndarray | None,
    ids: tuple[int, ...] = (0, 1),
) -> bytes:
    """Binary records, byte by byte as the table in the specification says, without our dtype."""
    out = bytearray()
    for i, image in enumerate(images):
        channels, height, width = image.shape
        out += struct.pack("<HHH", height, width, channels)
        if scale_factors is not None:
            out += struct.pack("<ff", *scale_factors[i].tolist())
        out.append(len(ids))
        for parameter_id, value in zip(ids, labels[i].tolist(), strict=True):
            out += bytes([parameter_id, value])
        for channel in image.tolist():
            for row in channel:
                out += bytes(row)
    return bytes(out)


@pytest.fixture
def write_by_hand(tmp_path: Path) -> Callable[..., Path]:
    """`write_by_hand(json, train=bytes, test=bytes)`: a directory with exactly these files."""

    def write(info: Any, name: str = "by_hand", **files: bytes) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        text = info if isinstance(info, str) else json.dumps(info)
        (folder / "vimh_dataset_info.json").write_text(text)
        for file, content in files.items():
            (folder / file).write_bytes(content)
        return folder

    return write


@pytest.fixture
def small_dataset(tmp_path: Path) -> Path:
    """A written data set of 8 + 3 samples, as binary and as pickle."""
    folder = tmp_path / "small"
    with DatasetWriter(folder, make_json(), output_format="both") as writer:
        writer.write("train", *make_samples(8))
        writer.write("test", *make_samples(3))
    return folder
