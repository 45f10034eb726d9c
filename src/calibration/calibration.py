"""What was measured of a model on its validation split, kept with its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from src.calibration.conformal import MOST, needed, quantile
from src.calibration.unlike import BLOCKS, COMPONENTS, P_UNLIKE, PARTS, SAMPLES, Unlike, cell
from src.schema.arguments import shown
from src.utils.errors import ConfigError

NUMBERS, TENSORS = "numbers", "tensors"  # the parts of its entry in a checkpoint
FORMAT = 1
MAX_COUNT = 2**31
MAX_SCORE = 1e12  # of a head whose spread is nearly nothing
UNLIKE_TENSORS = (*(f"{block}_{part}" for block in BLOCKS for part in PARTS), "bank", "distances")
NOT_CALIBRATED = (
    "No intervals, and no sign of unlike sounds: the model was trained before there were any, or "
    "without validation samples. python src/calibrate.py ckpt_path=... adds them, where its data "
    "set is"
)


@dataclass(frozen=True)
class Calibration:
    """Errors and distances of a model's validation samples: plain numbers and tensors.

    Intervals are made of it by :class:`src.models.intervals.Intervals`, and p-values by
    :meth:`unlike`.
    """

    count: int  # samples of the validation split
    # By head the root mean square error, as a share of the range on the head's own scale (0…1)
    spread: Mapping[str, float]
    # Of each head sorted scores, in the order of `spread`; see `kept_scores`
    scores: Float[Tensor, "M P"] = field(repr=False)
    # Of `Unlike`; empty: the model cannot tell
    unlike_tensors: Mapping[str, Tensor] = field(default_factory=dict, repr=False)

    def quantiles(self, confidence: float) -> list[float]:
        """Return each head's quantile of the scores; infinite where there are too few.

        Raises:
            ConfigError: If the confidence is not between 0 and 1.
        """
        check_confidence(confidence)
        return [quantile(column, self.count, confidence) for column in self.scores.unbind(1)]

    def unlike(self, image_shape: tuple[int, int, int]) -> Unlike | None:
        """Make the module that gives p-values, for prepared images (C, H, W)."""
        if not self.unlike_tensors:
            return None
        return Unlike(self.unlike_tensors, image_shape, self.count)

    def remarks(self, confidence: float) -> list[str]:
        """Say what the validation split was too small for."""
        found, samples = [], f"{self.count} validation samples"
        if self.count < needed(confidence):
            found.append(
                f"{samples} are too few for intervals at {percent(confidence)}: it takes "
                f"{needed(confidence)}, so each interval is the whole range."
            )
        least = math.floor(1.0 / P_UNLIKE)
        if self.unlike_tensors and self.count < least:
            found.append(
                f"{samples} are too few to call a sound unlike the training sounds at p < "
                f"{P_UNLIKE:g}: it takes {least}."
            )
        return found

    def to_parts(self) -> dict[str, Any]:
        """Return it as plain numbers and tensors by name, as a checkpoint has it."""
        numbers = {"format": FORMAT, "count": self.count, "spread": dict(self.spread)}
        return {NUMBERS: numbers, TENSORS: {"scores": self.scores, **self.unlike_tensors}}

    @classmethod
    def from_parts(cls, parts: object, heads: Sequence[str], where: str) -> Calibration:
        """Read what a file from elsewhere says.

        Args:
            parts: Plain data, and tensors that are stored whole.
            heads: The model's heads, in their order.
            where: What errors begin with.

        Raises:
            ConfigError: If it is not what :meth:`to_parts` gives for a model of these heads.
        """
        try:
            numbers, tensors = _mapping(parts, "it", (NUMBERS, TENSORS)).values()
            numbers = _mapping(numbers, NUMBERS, ("format", "count", "spread"))
            _, count, spread = numbers.values()
            if numbers["format"] != FORMAT:
                raise ConfigError(f"format is {shown(numbers['format'])}; expected {FORMAT}")
            if type(count) is not int or not 1 <= count < MAX_COUNT:
                raise ConfigError(f"count is {shown(count)}; expected the number of samples")
            spread = _mapping(spread, "spread", heads)
            for name, number in spread.items():
                if type(number) is not float or not 0.0 <= number <= 1.0:
                    raise ConfigError(f"spread.{name} is {shown(number)}; expected 0 to 1")
            is_alone = isinstance(tensors, Mapping) and set(tensors) == {"scores"}
            others = () if is_alone else UNLIKE_TENSORS
            found = _mapping(tensors, TENSORS, ("scores", *others))
            scores = found.pop("scores")
            _check_sorted("scores", scores, count, (len(heads),))
            if found:
                _check_unlike(found, count)
        except ConfigError as error:
            raise ConfigError(
                f"{where}: its calibration is not what src/calibrate.py writes: {error}"
            ) from error
        return cls(count, spread, scores, found)

    def check_fits(
        self, image_shape: tuple[int, int, int], num_features: int, num_auxiliary: int
    ) -> None:
        """Refuse tensors of another network's shapes.

        Raises:
            ConfigError: Naming the first that does not fit.
        """
        if not self.unlike_tensors:
            return
        (channels, height, width), (rows, columns) = image_shape, cell(image_shape)
        num_pixels = channels * (height // rows) * (width // columns)
        described = num_auxiliary
        for block, size in (("features", num_features), ("image", num_pixels)):
            basis = self.unlike_tensors[f"{block}_basis"]
            described += basis.shape[1] + 1
            _check_shape(f"{block}_basis", basis, (size, basis.shape[1]))
            _check_shape(f"{block}_mean", self.unlike_tensors[f"{block}_mean"], (size,))
        bank = self.unlike_tensors["bank"]
        _check_shape("bank", bank, (len(bank), described))


def remarks(calibration: Calibration | None, confidence: float) -> list[str]:
    """Say what a model has no intervals for, and what to do."""
    return [f"{NOT_CALIBRATED}."] if calibration is None else calibration.remarks(confidence)


def percent(confidence: float) -> str:
    """Return a confidence as people write it.

    Example:
        >>> percent(0.9), percent(0.995)
        ('90 %', '99.5 %')
    """
    return f"{100 * confidence:.6g} %"


def check_confidence(confidence: float) -> None:
    """Refuse what is no confidence.

    Raises:
        ConfigError: If it is not between 0 and 1.
    """
    if not 0.0 < confidence < 1.0:
        raise ConfigError(f"confidence is {confidence}; it has to be between 0 and 1, as 0.9 is.")


def _mapping(value: object, what: str, keys: Sequence[str]) -> dict[str, Any]:
    """Return a mapping with exactly these keys, in their order."""
    if not isinstance(value, Mapping) or set(value) != set(keys):
        found = ", ".join(map(str, value))[:200] if isinstance(value, Mapping) else shown(value)
        raise ConfigError(f"{what} has {found or 'nothing'}; expected {', '.join(keys)}")
    return {key: value[key] for key in keys}


def _check_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise ConfigError(f"{name} has the shape {tuple(tensor.shape)}; expected {shape}")


def _check_numbers(name: str, tensor: object, dimensions: int, most: float = 65504.0) -> Tensor:
    """Refuse all but finite numbers of a size that a model has."""
    if not isinstance(tensor, Tensor) or tensor.dtype not in (torch.float16, torch.float32):
        raise ConfigError(f"{name} is {shown(tensor)}; expected a tensor of float16 or float32")
    if tensor.ndim != dimensions or 0 in tensor.shape:
        raise ConfigError(f"{name} has the shape {tuple(tensor.shape)}; expected {dimensions} axes")
    if not bool((tensor.abs() <= most).all()):
        raise ConfigError(f"{name} has a number that is NaN or larger than {most:g}")
    return tensor


def _check_sorted(name: str, tensor: object, count: int, columns: tuple[int, ...] = ()) -> None:
    tensor = _check_numbers(name, tensor, 1 + len(columns), MAX_SCORE)
    _check_shape(name, tensor, (min(count, MOST), *columns))
    if bool((tensor < 0.0).any()) or bool((tensor.diff(dim=0) < 0.0).any()):
        raise ConfigError(f"{name} are negative or not sorted")


def _check_unlike(tensors: Mapping[str, Tensor], count: int) -> None:
    for block in BLOCKS:
        mean, basis, scales = (f"{block}_{part}" for part in PARTS)
        _check_numbers(mean, tensors[mean], 1, MAX_SCORE)
        if _check_numbers(basis, tensors[basis], 2).shape[1] > COMPONENTS:
            raise ConfigError(f"{basis} has more than {COMPONENTS} columns")
        _check_numbers(scales, tensors[scales], 1, MAX_SCORE)
        _check_shape(scales, tensors[scales], (2,))
        if not bool((tensors[scales] > 0.0).all()):
            raise ConfigError(f"{scales} are not positive")
    if len(_check_numbers("bank", tensors["bank"], 2)) > SAMPLES:
        raise ConfigError(f"bank has more than {SAMPLES} rows")
    _check_sorted("distances", tensors["distances"], count)
