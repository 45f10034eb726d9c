"""The batches and samples that pass from the data set to the network.

Shapes: B batch, C channels, H frequency, W time, P parameters (heads), A auxiliary features.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data._utils.collate import default_collate_fn_map


class RawBatch(NamedTuple):
    """A stored batch, before :class:`~src.inputs.preparation.Preparation`."""

    images: Tensor  # uint8 (B, C, H, W), the stored pixels
    values: Tensor  # float32 (B, P), each parameter normalised to 0…1, in the heads' order
    scale_factors: Tensor  # float32 (B, 2), spec_min and spec_max in dB


class Batch(NamedTuple):
    """A batch as the network sees it."""

    images: Tensor  # float32 (B, C, H, W) in 0…1
    values: Tensor  # as in RawBatch; the heads' targets are made of them
    auxiliary: Tensor | None  # float32 (B, A), standardised; None: there are no such features


class IndexBatch(NamedTuple):
    """The numbers of a batch's samples, int64 (B,), in the store that the training device keeps."""

    indices: Tensor


class Sample(NamedTuple):
    """One finished sample of :class:`~src.data.vimh_dataset.VIMHDataset`."""

    image: object  # float32 (C, H, W) in 0…1, or the result of `transform`
    # Parameter name -> class index (int), distribution (float32 (K,)) or normalised value (float);
    # or the result of `target_transform`.
    labels: Any
    auxiliary: Tensor | None  # float32 (A,), standardised


def _collate_samples(
    batch: Sequence[Sample], *, collate_fn_map: Mapping[Any, Any] | None = None
) -> Sample:
    """Collate samples for a plain `DataLoader`; missing auxiliary features stay None.

    `default_collate` refuses None and makes float64 of Python floats.
    """
    from torch.utils.data._utils.collate import collate

    def stack(values: list[Any]) -> Any:
        stacked = collate(values, collate_fn_map=dict(collate_fn_map or {}))
        return stacked.float() if isinstance(values[0], float) else stacked

    labels = [sample.labels for sample in batch]
    collated = (
        {name: stack([label[name] for label in labels]) for name in labels[0]}
        if isinstance(labels[0], Mapping)
        else stack(labels)
    )
    features = [sample.auxiliary for sample in batch if sample.auxiliary is not None]
    return Sample(
        stack([sample.image for sample in batch]),
        collated,
        torch.stack(features) if features else None,
    )


# torch's way to register a type with its collate function; other types are not affected.
default_collate_fn_map[Sample] = _collate_samples
