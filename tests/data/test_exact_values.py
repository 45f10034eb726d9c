"""What learns and is measured from a data set of version 2.2: the exact values, not the bytes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from src.data.stores import DiskStore, MemoryStore
from src.data.vimh_datamodule import VIMHDataModule
from src.data.vimh_dataset import VIMHDataset
from src.vimh.records import open_dataset
from tests.data.conftest import PARAMETERS

MakeDataset = Callable[..., Path]
# Of 126…127 in steps of 0.5: below the border of the classes 0 and 1, but its byte, 64, is above.
BELOW = 126.2499
VALUES = np.column_stack(
    [[BELOW, 126.0, 127.0, 126.75, BELOW, 126.3], [-2.0, 0.3, -1.7, -0.123456, 0.0, -1.0]]
)


@pytest.fixture
def folder(make_dataset: MakeDataset) -> Path:
    return make_dataset("exact", num_train=4, num_test=2, values=VALUES)


def normalised(values: np.ndarray) -> np.ndarray:
    low, high = np.array([(p["min"], p["max"]) for p in PARAMETERS.values()]).T
    return ((values.astype(np.float32).astype(np.float64) - low) / (high - low)).clip(0, 1)


@pytest.mark.parametrize("indices", [[0, 1, 2, 3], [5, 0, 4, 0], [4], []])
def test_batches_hold_the_exact_values(folder: Path, indices: list[int]) -> None:
    opened, chosen = open_dataset(folder), torch.tensor(indices, dtype=torch.int64)
    disk = DiskStore((opened.train, opened.test))
    expected = normalised(VALUES)[indices].astype(np.float32).reshape(-1, 2)
    for store in (disk, MemoryStore(disk)):
        found = store.gather(chosen).values
        assert found.dtype == torch.float32
        np.testing.assert_array_equal(found, expected)


def test_classes_come_from_the_exact_values(folder: Path) -> None:
    dataset = VIMHDataset(folder)
    stored = dataset.parameters["note_velocity"].class_table()[dataset.records.labels[0, 0]]
    assert (dataset[0].labels["note_velocity"], stored) == (0, 1)
    assert dataset.get_class_distribution()["note_velocity"] == {0: 2, 2: 2}
    assert [dataset[k].labels["log10_decay_time"] for k in range(4)] == [0, 23, 3, 19]
    statistics = dataset.get_dataset_statistics()
    assert statistics["parameters"]["log10_decay_time"]["mean"] == pytest.approx(
        VALUES[:4, 1].mean(), abs=1e-7
    )
    assert statistics["parameter_statistics"]["note_velocity"]["max_quantized"] == 255


def test_values_are_not_rounded_to_bytes(folder: Path) -> None:
    kinds = dict.fromkeys(PARAMETERS, "value")
    for split, part in ((True, VALUES[:4]), (False, VALUES[4:])):
        dataset = VIMHDataset(folder, train=split, target_kinds=kinds)
        found = [list(dataset[k].labels.values()) for k in range(len(dataset))]
        np.testing.assert_allclose(found, normalised(part), rtol=0, atol=1e-7)


def test_a_target_transform_gets_bytes_and_leaves_exact_values(folder: Path) -> None:
    got = []

    def change_velocity(labels: dict[str, int]) -> dict[str, int]:
        got.append(labels)
        return {**labels, "note_velocity": 255}

    dataset = VIMHDataset(folder, target_transform=change_velocity)
    assert dataset[3].labels == {"note_velocity": 2, "log10_decay_time": 19}
    assert got == [{"note_velocity": 191, "log10_decay_time": 208}]
    kept = VIMHDataset(folder, target_transform=dict)
    assert [kept[k].labels for k in range(4)] == [VIMHDataset(folder)[k].labels for k in range(4)]
    assert kept[0].labels["note_velocity"] == 0  # its byte alone says 1


def test_the_data_module_gives_exact_values(folder: Path) -> None:
    data = VIMHDataModule(folder, batch_size=2, train_val_test_split=(1, 0, 0))
    found = torch.cat([batch.values for batch in data.raw_batches("train")]).numpy()
    expected = normalised(VALUES)[data.splits.train]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)
    assert all(p.exact for p in data.metadata.parameters.values())
