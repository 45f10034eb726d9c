"""The samples of a split as arrays, and what a network predicts of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8

from src.inputs.targets import widened

if TYPE_CHECKING:
    from src.data.vimh_datamodule import VIMHDataModule
    from src.models.multihead_module import MultiheadLitModule


@dataclass(frozen=True)
class SplitArrays:
    """The samples of a split, the values' columns in the heads' order."""

    inputs: Float[np.ndarray, "N D"]  # pixels as the network sees them, one row a sample, float32
    true: Float64[np.ndarray, "N P"]  # true values in the parameters' units
    auxiliary: Float[np.ndarray, "N A"] | None = None  # standardised auxiliary features, or None

    def __len__(self) -> int:
        return len(self.true)


@dataclass(frozen=True, kw_only=True)
class SplitPredictions(SplitArrays):
    """Samples and what a network predicts of them."""

    images: UInt8[np.ndarray, "N C H W"]  # stored pixels
    predicted: Float64[np.ndarray, "N P"]  # predicted values in the parameters' units


Arrays = TypeVar("Arrays", bound=SplitArrays)


def first(samples: Arrays, count: int) -> Arrays:
    """Return the first samples."""
    return rows_of(samples, slice(count))


def rows_of(samples: Arrays, rows: slice | np.ndarray) -> Arrays:
    """Return some of the samples."""
    columns = {field.name: getattr(samples, field.name) for field in fields(samples)}
    return replace(samples, **{k: v[rows] for k, v in columns.items() if v is not None})


def predict_split(
    model: MultiheadLitModule, datamodule: VIMHDataModule, split: str, limit: int | None = None
) -> SplitPredictions | None:
    """Predict the samples of a split in its own order, without transforms; None where it is empty.

    Args:
        model: On any device, in eval mode.
        datamodule: Has the model's heads, in their order.
        split: "train", "val" or "test".
        limit: The most samples, chosen by the data's seed; None: all.
    """
    batches = list(_batches(model, datamodule, split, limit, predict=True))
    return SplitPredictions(**_joined(batches)) if batches else None


def split_arrays(
    model: MultiheadLitModule, datamodule: VIMHDataModule, split: str, limit: int | None = None
) -> SplitArrays:
    """Read the samples of a split, which is not empty, as :func:`predict_split` does."""
    return SplitArrays(**_joined(list(_batches(model, datamodule, split, limit, predict=False))))


@torch.no_grad()
def _batches(
    model: MultiheadLitModule,
    datamodule: VIMHDataModule,
    split: str,
    limit: int | None,
    *,
    predict: bool,
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the batches of a split, by the attributes of the classes above."""
    preparation = model.required_preparation
    preparation.eval()  # in eval mode images are not augmented
    parameters = datamodule.metadata.parameters  # the heads', with the data's exactness
    for raw in datamodule.raw_batches(split, limit=limit):
        inputs, auxiliary = preparation(
            raw.images.to(model.device), raw.scale_factors.to(model.device)
        )
        arrays = {
            "inputs": inputs.flatten(1).cpu().numpy(),
            "true": parameters.codec.denormalise(
                widened(raw.values.cpu(), parameters.values()).numpy()
            ),
        }
        if auxiliary is not None:
            arrays["auxiliary"] = auxiliary.cpu().numpy()
        if predict:
            values = model.predict(inputs, auxiliary)
            arrays["images"] = raw.images.cpu().numpy()
            arrays["predicted"] = torch.stack(list(values.values()), dim=1).cpu().double().numpy()
        yield arrays


def _joined(batches: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return all batches in one."""
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
