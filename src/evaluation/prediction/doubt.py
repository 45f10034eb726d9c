"""How far a prediction can be relied on: intervals, sets of classes, a p-value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from src.calibration.calibration import Calibration
from src.calibration.unlike import P_UNLIKE
from src.models.intervals import Intervals
from src.models.multihead_module import MultiheadLitModule
from src.vimh.parameters import Parameter

UNLIKE = f"unlike the training sounds (p < {P_UNLIKE:g})"


@dataclass(frozen=True)
class Doubt:
    """Of one image, by parameter."""

    confidence: float
    ends: Mapping[str, tuple[float, float]]  # the interval, in the unit; not of classes
    classes: Mapping[str, tuple[str, ...]]  # of categorical parameters: what may be true
    unlike: float | None  # the p-value of being like the training sounds; None: not known

    @property
    def is_unlike(self) -> bool:
        """Whether the image is unlike the training sounds."""
        return self.unlike is not None and self.unlike < P_UNLIKE

    def to_json(self) -> dict[str, object]:
        """Return its entries of a line of `predictions.jsonl`."""
        line: dict[str, object] = {
            "confidence": self.confidence,
            "low": {name: low for name, (low, _) in self.ends.items()},
            "high": {name: high for name, (_, high) in self.ends.items()},
        }
        if self.classes:
            line["sets"] = {name: list(own) for name, own in self.classes.items()}
        return line if self.unlike is None else {**line, "unlike": self.unlike}


class Doubting:
    """Says how far a model's predictions can be relied on.

    Args:
        model: On the CPU, in eval mode.
        calibration: Of the model.
        confidence: Of the intervals.

    Raises:
        ConfigError: If the confidence is not between 0 and 1.
    """

    def __init__(
        self, model: MultiheadLitModule, calibration: Calibration, confidence: float
    ) -> None:
        self.parameters = model.parameters_by_head
        self.intervals = Intervals(list(model.heads.values()), calibration, confidence)
        self.unlike = calibration.unlike(model.required_preparation.image_shape)

    @torch.no_grad()
    def __call__(
        self,
        outputs: Mapping[str, Tensor],
        images: Float[Tensor, "B C H W"],
        features: Float[Tensor, "B F"],
        auxiliary: Float[Tensor, "B A"] | None,
    ) -> list[Doubt]:
        """Return one for each image of a batch, which the network saw and put out."""
        low, high = (ends.tolist() for ends in self.intervals(outputs))
        sets = {name: own.tolist() for name, own in self.intervals.sets(outputs).items()}
        p = [None] * len(low)
        if self.unlike is not None:
            p = self.unlike(images, features, auxiliary).tolist()
        ordered = [(k, n) for k, (n, p) in enumerate(self.parameters.items()) if n not in sets]
        return [
            Doubt(
                self.intervals.confidence,
                {name: (low[row][k], high[row][k]) for k, name in ordered},
                {name: _chosen(self.parameters[name], own[row]) for name, own in sets.items()},
                p[row],
            )
            for row in range(len(low))
        ]


def _chosen(parameter: Parameter, chosen: list[bool]) -> tuple[str, ...]:
    named = zip(parameter.class_names, chosen, strict=True)
    return tuple(dict.fromkeys(name for name, is_chosen in named if is_chosen))
