"""Value <-> 0…1 <-> class: the only code that knows how a parameter's values are spaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

# A number, a numpy array or a tensor: plain arithmetic takes each of them.
Numbers: TypeAlias = Any
# Steps are differences of values, or ratios of them.
Spacing = Literal["linear", "log"]
_LEAST = 1e-37  # 0 and below have no logarithm, and count as this


class Codec(NamedTuple):
    """The arithmetic of one parameter, or of several columns at once.

    Values are evenly spaced on an axis: the values themselves, or with `log` their natural
    logarithms. The other fields lie on that axis. They are numbers for one parameter. For the
    columns of arrays (…, P) they are arrays (P,) or tensors (P,), on the same device and in the
    same precision as the coded values.

    Example:
        >>> decay = Codec.between(-2.0, 0.0)
        >>> decay.denormalise(0.25), decay.normalise(-1.0)
        (-1.5, 0.5)
        >>> round(float(Codec.between(100.0, 10000.0, "log").denormalise(0.5)), 6)
        1000.0
    """

    low: Numbers  # where 0 lies
    high: Numbers  # where 1 lies; more than `low`
    first: Numbers  # centre of the first class
    last: Numbers  # centre of the last class
    width: Numbers  # of a class
    steps: Numbers  # just-noticeable ones between `low` and `high`
    log: Numbers = False  # whether the axis is logarithmic; of columns that differ, 1 or 0 each

    @classmethod
    def between(cls, low: float, high: float, spacing: Spacing = "linear") -> Codec:
        """Make the codec of a range without a step: 256 classes, one for each byte."""
        if spacing == "log":
            low, high = float(np.log(low)), float(np.log(high))
        return cls(low, high, low, high, (high - low) / 255, 255.0, spacing == "log")

    @classmethod
    def stack(cls, codecs: Sequence[Codec]) -> Codec:
        """Join the codecs of parameters to one of columns (P,), float64."""
        rows = np.array(codecs, dtype=np.float64).reshape(len(codecs), len(cls._fields))
        kinds = {codec.log for codec in codecs}
        joined = cls(*rows.T)
        return joined if len(kinds) > 1 else joined._replace(log=any(kinds))

    def each(self, convert: Callable[[Numbers], Numbers]) -> Codec:
        """Convert the fields, for example to tensors; what all columns share stays."""
        return Codec(*(x if isinstance(x, bool) else convert(x) for x in self))

    @property
    def span(self) -> Numbers:
        """`high − low`, on the axis."""
        return self.high - self.low

    def to_axis(self, values: Numbers) -> Numbers:
        """Take values in units to the axis: themselves, or their logarithms."""
        if isinstance(self.log, bool):
            return _log(values) if self.log else values
        is_log = self.log > 0
        # Logarithms of the others are not wanted, nor their gradients, which may be no number.
        return _where(is_log, _log(_where(is_log, values, 1.0)), values)

    def from_axis(self, points: Numbers) -> Numbers:
        """Take points of the axis to values in units."""
        if isinstance(self.log, bool):
            return _exp(points) if self.log else points
        is_log = self.log > 0
        return _where(is_log, _exp(_where(is_log, points, 0.0)), points)

    def normalise(self, values: Numbers) -> Numbers:
        """Take values in units to 0…1, not clipped."""
        return (self.to_axis(values) - self.low) / self.span

    def denormalise(self, x: Numbers) -> Numbers:
        """Take 0…1 to values in units, not clipped."""
        return self.from_axis(self.low + x * self.span)

    def class_of(self, values: Numbers) -> Numbers:
        """Return the class of values in units, as whole floats; NaN for NaN."""
        return self._nearest(self.to_axis(values))

    def class_at(self, x: Numbers) -> Numbers:
        """Return the class of 0…1, as whole floats, to the same bits of arrays and of tensors."""
        return self._nearest(self.low + x * self.span)

    def _nearest(self, points: Numbers) -> Numbers:
        return ((points.clip(self.first, self.last) - self.first) / self.width).round()

    def value_of_class(self, index: Numbers) -> Numbers:
        """Return the value in units at the centre of a class, clipped to the range.

        An index between two classes gives a value between their centres.
        """
        return self.from_axis((self.first + index * self.width).clip(self.low, self.high))

    def error(self, predicted: Numbers, true: Numbers) -> Numbers:
        """Return the error on the axis: the difference, or the logarithm of the ratio."""
        return self.to_axis(predicted) - self.to_axis(true)

    def error_in_range(self, error: Numbers) -> Numbers:
        """Convert a distance on the axis to a share of the range."""
        return error / self.span

    def error_on_axis(self, share: Numbers) -> Numbers:
        """Convert a share of the range to a distance on the axis."""
        return share * self.span

    def error_in_steps(self, error: Numbers) -> Numbers:
        """Convert a distance on the axis to a number of just-noticeable steps."""
        return error * (self.steps / self.span)


def _is_numpy(x: Numbers) -> bool:
    return isinstance(x, np.ndarray | np.generic | float | int)


def _log(x: Numbers) -> Numbers:
    return np.log(np.maximum(x, _LEAST)) if _is_numpy(x) else x.clip(min=_LEAST).log()


def _exp(x: Numbers) -> Numbers:
    return np.exp(x) if _is_numpy(x) else x.exp()


def _where(condition: Numbers, x: Numbers, otherwise: Numbers) -> Numbers:
    return np.where(condition, x, otherwise) if _is_numpy(x) else x.where(condition, otherwise)
