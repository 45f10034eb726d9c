from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from src.data.stores import (
    BLOCK_BYTES,
    RAM_BYTES,
    DiskStore,
    MemoryStore,
    resolve_block_size,
    resolve_residency,
)
from src.vimh.records import open_dataset


@pytest.fixture
def disk(make_dataset: Callable[..., Path]) -> DiskStore:
    opened = open_dataset(make_dataset())
    return DiskStore((opened.train, opened.test))


@pytest.mark.parametrize(
    "indices",
    [[0, 39], [40, 49], [45, 3, 41, 3, 0, 49, 12], [], [7]],
    ids=["train", "test", "mixed", "none", "one"],
)
def test_both_files_are_one_array(disk: DiskStore, indices: list[int]) -> None:
    chosen = np.array(indices, dtype=np.int64)
    train, test = (records.gather(np.arange(len(records))) for records in disk.records)
    for part, ours in enumerate(disk.read(chosen)):
        np.testing.assert_array_equal(ours, np.concatenate([train[part], test[part]])[chosen])


def test_memory_gives_what_the_files_give(disk: DiskStore) -> None:
    memory = MemoryStore(disk)
    assert len(memory) == len(disk) == 50
    chosen = torch.tensor([45, 3, 41, 3, 0, 49, 12])
    ours, theirs = memory.gather(chosen), disk.gather(chosen)
    for own, other in zip(ours, theirs, strict=True):
        assert torch.equal(own, other)
        assert own.dtype == other.dtype


def test_auto_keeps_large_sets_in_their_files() -> None:
    cpu = torch.device("cpu")
    assert resolve_residency("auto", RAM_BYTES, cpu) == "ram"
    assert resolve_residency("auto", RAM_BYTES + 1, cpu) == "disk"
    assert resolve_residency("device", 2**40, cpu) == "device"


def test_only_what_is_too_large_for_memory_is_shuffled_in_blocks() -> None:
    assert resolve_block_size(None, num_samples=10**6, sample_bytes=3072) == 0
    assert resolve_block_size(None, num_samples=10**12, sample_bytes=4096) == BLOCK_BYTES // 4096
    assert resolve_block_size(None, num_samples=10**12, sample_bytes=10 * BLOCK_BYTES) == 1
    assert resolve_block_size(0, num_samples=10**12, sample_bytes=4096) == 0
    assert resolve_block_size(7, num_samples=10, sample_bytes=4096) == 7
