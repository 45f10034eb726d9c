"""What travels from the data set to the network.

Shapes: B batch, C channels, H frequency, W time, P parameters (heads), A auxiliary features.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data._utils.collate import default_collate_fn_map


class RawBatch(NamedTuple):
    """A batch as it is stored, before :class:`~src.inputs.preparation.Preparation`.

    Attributes:
        images: uint8 (B, C, H, W), the stored pixels.
        values: float32 (B, P), each parameter normalised to 0…1, in the heads' order.
        scale_factors: float32 (B, 2), spec_min and spec_max in dB.
    """

    images: Tensor
    values: Tensor
    scale_factors: Tensor


class Batch(NamedTuple):
    """A batch as the network sees it.

    Attributes:
        images: float32 (B, C, H, W) in 0…1.
        values: as in :class:`RawBatch`; each head makes what its loss wants of them.
        auxiliary: float32 (B, A), standardised, or None where there are no auxiliary features.
    """

    images: Tensor
    values: Tensor
    auxiliary: Tensor | None


class IndexBatch(NamedTuple):
    """A batch whose bytes are on the training device already: only the samples' numbers travel.

    Attributes:
        indices: int64 (B,), positions in the data module's store.
    """

    indices: Tensor


class Sample(NamedTuple):
    """One finished sample of :class:`~src.data.vimh_dataset.VIMHDataset`.

    Attributes:
        image: float32 (C, H, W) in 0…1, or what `transform` made of it.
        labels: parameter name -> class index (int), distribution (float32 (K,)) or normalised
            value (float), or what `target_transform` made of it.
        auxiliary: float32 (A,), standardised, or None.
    """

    image: Any
    labels: Any
    auxiliary: Tensor | None


def _collate_samples(
    batch: Sequence[Sample], *, collate_fn_map: Mapping[Any, Any] | None = None
) -> Sample:
    """A batch of samples for a plain `DataLoader`: no auxiliary features stay None.

    `default_collate` knows no None, and makes float64 of Python floats.
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


# torch's own way to teach its collate function a type; it touches no other type than ours.
default_collate_fn_map[Sample] = _collate_samples
