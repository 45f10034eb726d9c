"""Intervals and p-values on a split: how often they hold, and how wide they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.stats import binomtest
from torch import Tensor

from src.calibration.unlike import P_UNLIKE
from src.evaluation.scoring.intervals import CONFIDENCE, Estimate
from src.inputs.targets import widened, widest_float
from src.models.intervals import Intervals, outputs_and_features
from src.vimh.parameters import Parameter

if TYPE_CHECKING:
    from src.data.vimh_datamodule import VIMHDataModule
    from src.models.multihead_module import MultiheadLitModule


CONFIDENCES = (0.8, 0.9, 0.95)  # at which docs/trust.md and the cards of the zoo measure


class Seen(NamedTuple):
    """A batch as the network saw it, and what it said."""

    images: Tensor  # prepared
    features: Tensor  # the network's last ones, float32
    auxiliary: Tensor | None
    outputs: dict[str, Tensor]  # by head
    true: Tensor  # (B, P), in units, in the widest floats of the device


@dataclass(frozen=True)
class Held:
    """How the intervals of one head did."""

    parameter: Parameter
    count: int  # samples whose true value lies in its interval, or its class in the set
    samples: int
    width: float  # mean width in the unit; of classes the mean number in a set
    # In just-noticeable steps; where the spacing is log the ratio of the ends in them. None: none
    width_steps: float | None

    @property
    def share(self) -> Estimate:
        """The share, with the exact interval of 95 % of a binomial one.

        C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in the
        case of the binomial", Biometrika 26 (1934).
        """
        found = binomtest(self.count, self.samples).proportion_ci(CONFIDENCE, method="exact")
        return Estimate(self.count / self.samples, float(found.low), float(found.high))


@dataclass(frozen=True)
class Coverage:
    """How intervals and p-values did on a split."""

    confidence: float
    heads: list[Held]
    num_unlike: int | None  # samples that were called unlike; None: the model cannot tell
    calibrated_on: int  # validation samples

    def to_json(self) -> dict[str, object]:
        """Return it for ``metrics.json``."""
        heads = {
            held.parameter.name: {
                "coverage": held.share._asdict(),
                "width": held.width,
                "width_steps": held.width_steps,
            }
            for held in self.heads
        }
        samples = self.heads[0].samples
        unlike = None if self.num_unlike is None else self.num_unlike / samples
        return {
            "confidence": self.confidence,
            "calibrated_on": self.calibrated_on,
            "heads": heads,
            f"share_unlike_below_{P_UNLIKE:g}": unlike,
        }


def seen_batches(
    model: MultiheadLitModule, datamodule: VIMHDataModule, split: str, limit: int | None = None
) -> Iterator[Seen]:
    """Yield the batches of a split as they are predicted, without augmentation.

    Args:
        model: On any device, in eval mode.
        datamodule: Has the model's heads, in their order.
        split: "train", "val" or "test".
        limit: The most samples, chosen by the data's seed; None: all, in the split's order.
    """
    preparation, parameters = model.required_preparation, datamodule.metadata.parameters
    for raw in datamodule.raw_batches(split, limit=limit):
        device = model.device
        with torch.no_grad():
            images, auxiliary = preparation(raw.images.to(device), raw.scale_factors.to(device))
            outputs, features = outputs_and_features(model, images, auxiliary)
        values = widened(raw.values.to(device), parameters.values()).cpu().numpy()
        true = torch.from_numpy(parameters.codec.denormalise(values))
        true = true.to(widest_float(device)).to(device)
        yield Seen(images, features.float(), auxiliary, outputs, true)


def coverage_of(
    model: MultiheadLitModule,
    datamodule: VIMHDataModule,
    split: str,
    confidence: float,
    count: int | None = None,
) -> Coverage | None:
    """Measure a calibrated model's intervals on a split; None where it is not calibrated.

    Args:
        model: On any device, in eval mode.
        datamodule: Has the model's heads, in their order.
        split: "val" or "test"; there are samples in it.
        confidence: Of the intervals.
        count: How many of the first samples; None: all.

    Raises:
        ConfigError: If the confidence is not between 0 and 1.
    """
    calibration, parameters = model.calibration, list(model.parameters_by_head.values())
    if calibration is None:
        return None
    intervals = Intervals(list(model.heads.values()), calibration, confidence)
    unlike = calibration.unlike(model.required_preparation.image_shape)
    unlike = None if unlike is None else unlike.to(model.device)
    held, widths, p_values = [], [], []
    for seen in seen_batches(model, datamodule, split):
        low, high = (ends.to(seen.true.dtype) for ends in intervals(seen.outputs))
        inside, wide = (low <= seen.true) & (seen.true <= high), high - low
        for name, chosen in intervals.sets(seen.outputs).items():
            column = list(model.heads).index(name)
            inside[:, column] = _in_set(parameters[column], chosen, seen.true[:, column])
            wide[:, column] = chosen.sum(dim=1)
        held.append(inside.cpu().numpy())
        widths.append(np.stack([low.cpu(), high.cpu(), wide.cpu()]))
        if unlike is not None:
            p_values.append(unlike(seen.images, seen.features, seen.auxiliary).cpu().numpy())
    inside_all = np.concatenate(held)[:count]
    low_all, high_all, wide_all = np.concatenate(widths, axis=1)[:, :count]
    return Coverage(
        confidence,
        [
            Held(
                p,
                int(inside_all[:, k].sum()),
                len(inside_all),
                float(wide_all[:, k].mean()),
                _steps(p, low_all[:, k], high_all[:, k]),
            )
            for k, p in enumerate(parameters)
        ],
        int((np.concatenate(p_values)[:count] < P_UNLIKE).sum()) if p_values else None,
        calibration.count,
    )


def coverages_of(
    model: MultiheadLitModule, datamodule: VIMHDataModule, split: str
) -> list[Coverage]:
    """Measure a calibrated model's intervals at :data:`CONFIDENCES`; see :func:`coverage_of`."""
    found = [coverage_of(model, datamodule, split, confidence) for confidence in CONFIDENCES]
    return [coverage for coverage in found if coverage is not None]


def _in_set(
    parameter: Parameter, chosen: Bool[Tensor, "B K"], true: Float[Tensor, " B"]
) -> Bool[Tensor, " B"]:
    classes = parameter.codec.class_of(true).long()
    return chosen.gather(1, classes[:, None])[:, 0]


def _steps(
    parameter: Parameter, low: Float[np.ndarray, "N"], high: Float[np.ndarray, "N"]
) -> float | None:
    if not parameter.has_jnd:
        return None
    codec = parameter.codec
    return float(codec.error_in_steps(codec.error(high, low)).mean())
