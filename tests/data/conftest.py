"""Small data sets, written by the format's own writer."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.vimh.parameters import Parameter
from src.vimh.records import DatasetWriter

PARAMETERS: dict[str, dict[str, Any]] = {
    "note_velocity": {"min": 126.0, "max": 127.0, "step": 0.5},
    "log10_decay_time": {"min": -2.0, "max": 0.3, "step": 0.1},
}
SOUND: dict[str, Any] = {
    "sample_rate": 8000,
    "duration": 1.0,
    "synth_type": "simple",
    "spectrogram_config": {"hop_length": 80, "n_fft": 80},
}
MakeDataset = Callable[..., Path]


@dataclass
class FolderSource:
    """A source as data modules see it, which counts what it was asked for."""

    dataset_dir: Path
    write: Callable[[Path], object]
    made: int = 0

    def make(self) -> None:
        if not self.dataset_dir.exists():
            self.made += 1
            self.write(self.dataset_dir)


def write_dataset(
    path: Path,
    num_train: int = 40,
    num_test: int = 10,
    shape: tuple[int, int, int] = (1, 4, 6),
    parameters: dict[str, dict[str, Any]] = PARAMETERS,
    images: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    scale_factors: np.ndarray | None = None,
    output_format: str = "binary",
    values: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    **keys: Any,
) -> Path:
    """A data set of random samples; the train file's come first in `images` and the rest.

    Exact `values` in units are in the place of `labels`.
    """
    rng, total = np.random.default_rng(7), num_train + num_test
    if images is None:
        images = rng.integers(0, 256, (total, *shape), dtype=np.uint8)
    if values is not None:
        space = [Parameter.from_json(name, mapping) for name, mapping in parameters.items()]
        labels = np.stack([p.quantise(values[:, k]) for k, p in enumerate(space)], axis=1)
    if labels is None:
        labels = rng.integers(0, 256, (total, len(parameters)), dtype=np.uint8)
    if scale_factors is None:
        scale_factors = np.sort(rng.normal(-60, 30, (total, 2)), axis=1).astype(np.float32)
    metadata = {
        "dataset_name": path.name,
        "channels": shape[0],
        "height": shape[1],
        "width": shape[2],
        "parameter_names": list(parameters),
        "parameter_mappings": parameters,
        **SOUND,
        **keys,
    }
    given = {"values": values, "groups": groups}
    beside = {kind: rows for kind, rows in given.items() if rows is not None}
    options = dict.fromkeys(beside, True)
    with DatasetWriter(path, metadata, output_format=output_format, **options) as writer:
        for split, part in (("train", slice(num_train)), ("test", slice(num_train, None))):
            own = {kind: rows[part] for kind, rows in beside.items()}
            writer.write(split, images[part], labels[part], scale_factors[part], **own)
    return path


@pytest.fixture
def make_dataset(tmp_path: Path) -> MakeDataset:
    """`make_dataset("name", …)` writes a data set below tmp_path and returns its directory."""

    def make(name: str = "small", **arguments: Any) -> Path:
        return write_dataset(tmp_path / name, **arguments)

    return make


@pytest.fixture
def make_source() -> Callable[[Path], FolderSource]:
    """A source whose `make` writes a random data set to the given directory."""
    return lambda path: FolderSource(path, write_dataset)
