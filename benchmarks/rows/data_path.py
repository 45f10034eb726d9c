"""The data path alone, bytes out, against memory and against a per-sample DataLoader."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.fit import compose_training
from benchmarks.measure import Budget, Row, interleaved, ratios
from src.build import build
from src.data.vimh_dataset import VIMHDataset

IN_MEMORY = Budget("at least", 0.7)
PER_SAMPLE = Budget("at least", 6.0)
EPOCHS = 10  # in one timing: an epoch alone takes a few milliseconds


def indexing(images: Tensor, batch_size: int) -> None:
    """An epoch of plain indexing in a random order, in whole batches."""
    order = torch.randperm(len(images))[: len(images) // batch_size * batch_size]
    for indices in order.split(batch_size):
        images[indices]


def exhaust(loader: DataLoader) -> None:
    """Every batch of a loader."""
    for _ in loader:
        pass


def repeat(epoch: Callable[[], None]) -> None:
    """EPOCHS epochs."""
    for _ in range(EPOCHS):
        epoch()


def measure(quick: bool, work: Path) -> list[Row]:
    """Two rows; the second per sample, since the two loaders see differently many."""
    cfg = compose_training(work, samples=16384)
    datamodule = build(cfg).datamodule
    datamodule.setup("fit")
    batched = datamodule.train_dataloader()
    images = torch.cat([batch.images for batch in batched])
    memory = interleaved(
        lambda: repeat(lambda: indexing(images, cfg.data.batch_size)),
        lambda: repeat(lambda: exhaust(batched)),
        pairs=10 if quick else 50,
    )
    single = VIMHDataset(datamodule.data_dir, train=True)
    plain = DataLoader(single, batch_size=cfg.data.batch_size, shuffle=True, drop_last=True)
    per_sample = interleaved(
        lambda: exhaust(plain), lambda: repeat(lambda: exhaust(batched)), pairs=4 if quick else 10
    )
    # The loaders see differently many samples, and one of them several times.
    fewer = len(images) * EPOCHS / (len(plain) * cfg.data.batch_size)
    rate = {"samples_per_second": len(images) * EPOCHS / min(memory[1])}
    return [
        Row("data path", "indexing a uint8 tensor", IN_MEMORY, ratios(*memory), rate),
        Row(
            "data path",
            "per-sample DataLoader",
            PER_SAMPLE,
            [ratio * fewer for ratio in ratios(*per_sample)],
            {"samples_per_second_plain": len(plain) * cfg.data.batch_size / min(per_sample[0])},
        ),
    ]
