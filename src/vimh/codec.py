"""Value <-> 0…1 <-> class, the only place that knows how a parameter's values are spaced."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

# A number, a numpy array or a tensor: all is plain arithmetic, so that each passes.
Numbers: TypeAlias = Any


class Codec(NamedTuple):
    """The arithmetic of one parameter, or of several columns at once.

    The fields are numbers for one parameter. For the columns of arrays (…, P) they are arrays (P,)
    or tensors (P,), on the device and in the precision of what is coded.

    Attributes:
        low: Value at 0, in the parameter's unit.
        high: Value at 1; more than `low`.
        first: Value at the centre of the first class.
        last: Value at the centre of the last class.
        width: Width of a class.
        steps: Just-noticeable steps between `low` and `high`.

    Example:
        >>> decay = Codec.between(-2.0, 0.0)
        >>> decay.denormalise(0.25), decay.normalise(-1.0)
        (-1.5, 0.5)
    """

    low: Numbers
    high: Numbers
    first: Numbers
    last: Numbers
    width: Numbers
    steps: Numbers

    @classmethod
    def between(cls, low: float, high: float) -> Codec:
        """The codec of a range that nothing else is known of: 256 classes, as bytes are."""
        return cls(low, high, low, high, (high - low) / 255, 255.0)

    @property
    def span(self) -> Numbers:
        """`high − low`, in units."""
        return self.high - self.low

    def normalise(self, values: Numbers) -> Numbers:
        """Take values in units to 0…1, not clipped."""
        return (values - self.low) / self.span

    def denormalise(self, x: Numbers) -> Numbers:
        """Take 0…1 to values in units, not clipped."""
        return self.low + x * self.span

    def clip(self, values: Numbers) -> Numbers:
        """Keep values in units within the range."""
        return values.clip(self.low, self.high)

    def class_of(self, values: Numbers) -> Numbers:
        """The class of values in units, as whole floats; those of NaN are NaN."""
        return ((values.clip(self.first, self.last) - self.first) / self.width).round()

    def value_of_class(self, index: Numbers) -> Numbers:
        """The value in units at the centre of a class, or between two; kept within the range."""
        return self.clip(self.first + index * self.width)

    def error_in_units(self, error: Numbers) -> Numbers:
        """A distance in 0…1 as one in units."""
        return error * self.span

    def error_in_range(self, error: Numbers) -> Numbers:
        """A distance in units as a share of the range."""
        return error / self.span

    def error_in_steps(self, error: Numbers) -> Numbers:
        """A distance in units as a number of just-noticeable steps."""
        return error * (self.steps / self.span)
