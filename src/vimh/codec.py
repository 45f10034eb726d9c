"""Value <-> 0…1 <-> class: the only code that knows how a parameter's values are spaced."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

# A number, a numpy array or a tensor: plain arithmetic takes each of them.
Numbers: TypeAlias = Any


class Codec(NamedTuple):
    """The arithmetic of one parameter, or of several columns at once.

    The fields are numbers for one parameter. For the columns of arrays (…, P) they are arrays (P,)
    or tensors (P,), on the same device and in the same precision as the coded values.

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
        """Make the codec of a range without a step: 256 classes, one for each byte."""
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
        """Return the class of values in units, as whole floats; NaN for NaN."""
        return ((values.clip(self.first, self.last) - self.first) / self.width).round()

    def value_of_class(self, index: Numbers) -> Numbers:
        """Return the value in units at the centre of a class, clipped to the range.

        An index between two classes gives a value between their centres.
        """
        return self.clip(self.first + index * self.width)

    def error_in_units(self, error: Numbers) -> Numbers:
        """Convert a distance in 0…1 to units."""
        return error * self.span

    def error_in_range(self, error: Numbers) -> Numbers:
        """Convert a distance in units to a share of the range."""
        return error / self.span

    def error_in_steps(self, error: Numbers) -> Numbers:
        """Convert a distance in units to a number of just-noticeable steps."""
        return error * (self.steps / self.span)
