"""A loader whose place in an epoch can be saved, over a reproducible order.

Lightning saves the state of loaders that have ``state_dict``, never of samplers, and creates the
iterator of a resumed epoch before it sets the sampler's epoch. Therefore the order of samples is a
function of (seed, epoch, rank), the state is the training loop's place in it, and the loader reads
both when the first batch is requested. It draws nothing from torch's global random state.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from src.data.stores import Store
from src.inputs.batch import IndexBatch, RawBatch
from src.utils.errors import ConfigError

Transform = Callable[[Tensor], Tensor]
WINDOW_BLOCKS = 64  # of a block shuffle: batches are drawn from so many blocks at a time


@runtime_checkable
class BatchDataset(Protocol):
    """A data set that gives whole batches at once."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitems__(self, indices: Int64[np.ndarray, "B"]) -> RawBatch | IndexBatch:
        """Read the batch of these samples."""
        ...


class SplitBatches:
    """A split: some samples of a store, numbered from 0.

    Args:
        store: holds the samples.
        indices: the split's samples in the store.
        transform: changes uint8 images (B, C, H, W); None: nothing.
        on_device: whether the training device keeps the samples, so that only numbers travel.
    """

    def __init__(
        self,
        store: Store,
        indices: Int64[np.ndarray, "N"],
        transform: Transform | None = None,
        on_device: bool = False,
    ) -> None:
        self.store = store
        self.indices = torch.from_numpy(indices)
        self.transform = transform
        self.on_device = on_device

    def __len__(self) -> int:
        return len(self.indices)

    def __getitems__(self, places: Int64[np.ndarray, "B"]) -> RawBatch | IndexBatch:
        indices = self.indices.index_select(0, torch.from_numpy(places))
        if self.on_device:
            return IndexBatch(indices)
        batch = self.store.gather(indices)
        if self.transform is None:
            return batch
        # The samples seed the random numbers of a transform, in any process or resumed run.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(zlib.crc32(indices.numpy().tobytes()))
            return batch._replace(images=self.transform(batch.images))


@dataclass(eq=False)
class EpochOrder(Sampler[int]):
    """The order of one rank's samples in an epoch: a function of (seed, epoch, rank).

    While training, every rank gets the same number of samples, and each epoch leaves out up to
    `world_size - 1` others; otherwise every sample is in exactly one rank.

    With a block size, blocks of so many samples are shuffled, then the samples within each
    :data:`WINDOW_BLOCKS` blocks.

    Raises:
        ConfigError: There are fewer samples than processes.

    Example:
        >>> order = EpochOrder(5, training=False, rank=1, world_size=2)
        >>> list(order), len(order)
        ([1, 3], 2)
    """

    num_samples: int  # of the split, over all ranks
    _: KW_ONLY
    training: bool  # shuffle, and give every rank the same number
    shuffle: bool = True  # False: the split's own order in training too (deliberate overfitting)
    seed: int = 0
    rank: int = 0  # this process
    world_size: int = 1  # number of processes
    block_size: int = 0  # 0: all samples at once
    epoch: int = 0

    def __post_init__(self) -> None:
        assert 0 <= self.rank < self.world_size
        if self.num_samples < self.world_size:
            raise ConfigError(
                f"trainer.devices: {self.num_samples} samples are too few for {self.world_size} "
                "processes; use fewer devices or a larger share in data.train_val_test_split"
            )

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; Lightning does so before each one."""
        self.epoch = epoch

    def indices(self) -> Int64[np.ndarray, "N"]:
        """Return this rank's samples in this epoch's order."""
        if self.training and self.shuffle:
            random = np.random.Generator(np.random.Philox(key=[self.seed, self.epoch]))
            order = self._shuffled(random)
        else:
            order = np.arange(self.num_samples)
        if self.training:
            order = order[: self.num_samples // self.world_size * self.world_size]
        return np.ascontiguousarray(order[self.rank :: self.world_size], dtype=np.int64)

    def _shuffled(self, random: np.random.Generator) -> Int64[np.ndarray, "N"]:
        if not self.block_size:
            return random.permutation(self.num_samples)
        starts = random.permutation(-(-self.num_samples // self.block_size)) * self.block_size
        order = (starts[:, None] + np.arange(self.block_size)).ravel()
        order = order[order < self.num_samples]
        window = WINDOW_BLOCKS * self.block_size
        for start in range(0, len(order), window):
            random.shuffle(order[start : start + window])
        return order

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices().tolist())

    def __len__(self) -> int:
        each, rest = divmod(self.num_samples, self.world_size)
        return each if self.training else each + (self.rank < rest)


@dataclass(eq=False)
class OrderedBatches(Sampler[np.ndarray]):
    """An epoch's batches as arrays of indices.

    Every rank has the same number of batches, even if one has a sample more: modules that
    synchronise buffers in each forward pass would otherwise wait forever.
    """

    sampler: EpochOrder  # Lightning sets the epoch on it
    batch_size: int
    drop_last: bool  # a last batch that is not full
    start: int = 0  # batches that the next iterator skips

    def __len__(self) -> int:
        most = -(-self.sampler.num_samples // self.sampler.world_size)
        length = len(self.sampler) if self.sampler.training else most
        return length // self.batch_size if self.drop_last else -(-length // self.batch_size)

    def arrays(self) -> list[Int64[np.ndarray, "B"]]:
        """Return all batches of the sampler's epoch."""
        indices, count = self.sampler.indices(), len(self)
        cuts = np.arange(1, count) * self.batch_size
        # A rank with a sample less keeps one for its last batch.
        cuts = np.minimum(cuts, len(indices) - (count - np.arange(1, count)))
        last = count * self.batch_size if self.drop_last else len(indices)
        return np.split(indices[:last], cuts)[:count]

    def __iter__(self) -> Iterator[np.ndarray]:
        return islice(iter(self.arrays()), self.start, None)


def _same(batch: Any) -> Any:
    return batch


class StatefulLoader(DataLoader):
    """A `DataLoader` of whole batches that knows its place in the epoch.

    Without worker processes a batch is one call of the data set. After a complete pass the next
    one takes the next epoch's order, so that a plain loop needs no `set_epoch`.

    Args:
        dataset: gives batches by `__getitems__`.
        batches: the epoch's batches.
        trained: returns the number of this epoch's batches that the training loop has finished;
            None: the number of batches that were given out.
        num_workers, pin_memory, persistent_workers: as of `DataLoader`.
    """

    batch_sampler: OrderedBatches  # type: ignore[assignment]

    def __init__(
        self,
        dataset: BatchDataset,
        batches: OrderedBatches,
        *,
        trained: Callable[[], int] | None = None,
        num_workers: int = 0,
        pin_memory: bool = False,
        persistent_workers: bool = False,
    ) -> None:
        super().__init__(
            dataset,  # type: ignore[arg-type]
            batch_sampler=batches,  # type: ignore[arg-type]
            num_workers=num_workers,
            pin_memory=pin_memory,
            persistent_workers=persistent_workers,
            collate_fn=_same,
            generator=torch.Generator(),
        )
        self.trained = trained
        self._read = dataset.__getitems__
        self._epoch = batches.sampler.epoch
        self._given = 0  # batches of `_epoch` that were given out
        self._resume: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[RawBatch | IndexBatch]:  # type: ignore[override]
        # A generator, since Lightning creates the iterator before it sets the epoch: nothing is
        # drawn and no epoch read before the first batch is requested.
        order = self.batch_sampler.sampler
        epoch = order.epoch
        saved, self._resume = self._resume, None
        # Batches are skipped only in the saved epoch, and only if it has more.
        start = saved[1] if saved and saved[0] == epoch and saved[1] < len(self) else 0
        self._epoch, self._given = epoch, start
        for batch in self._from_workers(start) if self.num_workers else self._here(start):
            self._given += 1
            yield batch
        order.set_epoch(epoch + 1)

    def _here(self, start: int) -> Iterator[RawBatch | IndexBatch]:
        pin = self.pin_memory and torch.accelerator.is_available()
        for indices in self.batch_sampler.arrays()[start:]:
            batch = self._read(indices)
            if pin and isinstance(batch, RawBatch):
                batch = RawBatch(*(part.pin_memory() for part in batch))
            yield batch

    def _from_workers(self, start: int) -> Iterator[RawBatch | IndexBatch]:
        order = self.batch_sampler.sampler
        assert self.generator is not None
        # The workers' base seed does not come from the global state, which a resumed run restores.
        seeds = np.random.SeedSequence([order.seed, order.epoch, order.rank])
        self.generator.manual_seed(int(seeds.generate_state(1)[0]))
        self.batch_sampler.start = start
        iterator = super().__iter__()
        self.batch_sampler.start = 0
        return iterator

    def state_dict(self) -> dict[str, int]:
        """Return the place in the epoch as plain numbers.

        A batch that was given out but not trained on does not count: it comes again.
        """
        if self._resume is not None:
            epoch, batches = self._resume
        else:
            finished = self._given if self.trained is None else self.trained()
            epoch, batches = self._epoch, min(self._given, finished)
        return {"epoch": epoch, "batches": batches, **self._geometry()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from a place that :meth:`state_dict` returned.

        Raises:
            ConfigError: The epoch began with other batches, so that its rest is unknown, or a key
                is missing.
        """
        now = self._geometry()
        state = {"block_size": 0, **state}  # older checkpoints have none
        if missing := [key for key in ("epoch", "batches", *now) if key not in state]:
            raise ConfigError(f"ckpt_path: the checkpoint's place in an epoch has no {missing[0]}")
        changed = [key for key in now if state[key] != now[key]]
        if changed and 0 < state["batches"] < state["num_batches"]:
            told = ", ".join(f"{key} {state[key]} (now {now[key]})" for key in changed)
            raise ConfigError(
                f"ckpt_path: the checkpoint was saved within an epoch with {told}, so the rest of "
                "that epoch is unknown; resume with the same values, or from the end of an epoch"
            )
        self._resume = (state["epoch"], state["batches"])
        complete = state["batches"] >= state["num_batches"]
        self.batch_sampler.sampler.set_epoch(state["epoch"] + complete)

    def _geometry(self) -> dict[str, int]:
        order = self.batch_sampler.sampler
        return {
            "seed": order.seed,
            "num_samples": order.num_samples,
            "world_size": order.world_size,
            "batch_size": self.batch_sampler.batch_size,
            "num_batches": len(self),
            "block_size": order.block_size,
        }
