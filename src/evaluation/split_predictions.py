"""What a network makes of a split, beside the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float64, UInt8

from src.inputs.targets import exact
from src.vimh.parameters import ParameterSpace

if TYPE_CHECKING:
    from src.data.vimh_datamodule import VIMHDataModule
    from src.models.multihead_module import MultiheadLitModule


@dataclass(frozen=True)
class SplitPredictions:
    """Samples, their values and what was predicted, the columns in the heads' order.

    Attributes:
        images: stored pixels.
        true: ``min + q/255 · (max − min)`` in the parameters' units.
        predicted: the same, of the network.
    """

    images: UInt8[np.ndarray, "N C H W"]
    true: Float64[np.ndarray, "N P"]
    predicted: Float64[np.ndarray, "N P"]

    def __len__(self) -> int:
        return len(self.true)

    def first(self, count: int) -> SplitPredictions:
        """The first samples."""
        return SplitPredictions(self.images[:count], self.true[:count], self.predicted[:count])


@torch.no_grad()
def predict_split(
    model: MultiheadLitModule, datamodule: VIMHDataModule, split: str, limit: int | None = None
) -> SplitPredictions | None:
    """Predicts the samples of a split in its own order, without transforms.

    Args:
        model: On any device, in eval mode.
        datamodule: Has the model's heads, in their order.
        split: "train", "val" or "test".
        limit: The most samples, chosen by the data's seed; None: all.

    Returns:
        The predictions; None where the split is empty.
    """
    preparation = model.required_preparation
    codec = ParameterSpace(model.parameters_by_head.values()).codec
    images, true, predicted = [], [], []
    for raw in datamodule.raw_batches(split, limit=limit):
        pixels, scale = raw.images.to(model.device), raw.scale_factors.to(model.device)
        values = model.predict(*preparation(pixels, scale))
        images.append(raw.images.cpu().numpy())
        true.append(codec.denormalise(exact(raw.values.cpu()).numpy()))
        predicted.append(torch.stack(list(values.values()), dim=1).cpu().double().numpy())
    if not images:
        return None
    return SplitPredictions(
        np.concatenate(images),
        np.concatenate(true),
        np.concatenate(predicted),
    )
