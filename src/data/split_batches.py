"""A split for the loader: whole batches by `__getitems__`."""

import zlib
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from src.data.stores import Store
from src.inputs.batch import IndexBatch, RawBatch

Transform = Callable[[Tensor], Tensor]


class SplitBatches:
    """Some samples of a store, numbered from 0.

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
        return batch if self.transform is None else self._transformed(batch, indices)

    def _transformed(self, batch: RawBatch, indices: Tensor) -> RawBatch:
        """Transform a batch; its samples seed the random numbers, in any process or resumed run."""
        assert self.transform is not None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(zlib.crc32(indices.numpy().tobytes()))
            return batch._replace(images=self.transform(batch.images))
