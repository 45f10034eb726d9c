"""Parameters of a sound (or a picture): value <-> 0..1 <-> stored byte <-> class index.

A value is stored as one byte, `q = round(255 (value - min) / (max - min))`; the class index of a
head follows from the nominal just-noticeable difference (JND), the parameter's `step`. All
arithmetic is in :class:`src.vimh.codec.Codec`.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from src.vimh.codec import Codec
from src.vimh.errors import ParameterError, VIMHError
from src.vimh.fields import check_name, parameter_number, parameter_value
from src.vimh.plain import shown

Kind = Literal["continuous", "categorical"]
# A number, an array of any shape, or a (nested) list.
Values: TypeAlias = np.ndarray | np.generic | float | int | Sequence[object]

MAX_BYTE = 255
MAX_NUMBER = 1e200  # of a range or a step: their products and squares are finite
# A class index must be exact in float32, and a hostile step must not make a huge table.
MAX_CLASSES = 2**24
_KNOWN_KEYS = ("min", "max", "step", "description", "unit", "scale", "kind", "class_names")


def _numbers(values: Values) -> Float64[np.ndarray, "..."]:
    return np.asarray(values, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One labelled quantity: its range, its just-noticeable difference and its encoding.

    Attributes:
        name: Name of the parameter, and of its head.
        min: Smallest value, in `unit`.
        max: Largest value, in `unit`. Equal to `min`: the parameter is fixed and has no head.
            Values of a categorical parameter are class indices: always 0 to 255, unless fixed.
        step: Nominal just-noticeable difference (JND) in `unit`; None (or 0): there is none.
        description: A sentence for people.
        unit: Unit of the value, for example "s" or "Hz"; empty: a plain number.
        scale: The spacing of values that older synthesisers wrote; kept, not used.
        kind: "continuous", or "categorical" (no order, class index = stored byte).
        class_names: Names of the classes of a categorical parameter.
        extra: Keys of the JSON that this class does not know, kept for writing.
        exact: Whether the data set holds exact values beside the bytes; not part of its entry.

    Raises:
        VIMHError: A number is not finite, `min > max`, `step < 0`, or the classes do not fit.

    Example:
        >>> decay = Parameter("log10_decay_time", min=-2.0, max=0.3, step=0.1)
        >>> decay.num_classes, int(decay.quantise(0.3)), float(decay.dequantise(0))
        (24, 255, -2.0)
    """

    name: str
    min: float | int
    max: float | int
    step: float | int | None = None
    description: str = ""
    unit: str = ""
    scale: str | None = None
    kind: Kind = "continuous"
    class_names: tuple[str, ...] = ()
    extra: Mapping[str, object] = field(default_factory=dict, hash=False)
    exact: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        check_name(self.name, "a parameter's name")
        for text in filter(None, (*self.class_names, self.unit)):
            check_name(text, f"parameter {self.name!r}: its unit and its classes' names")
        for key in ("min", "max"):
            object.__setattr__(self, key, parameter_number(self.name, key, getattr(self, key)))
        step = None if self.step is None else parameter_number(self.name, "step", self.step)
        object.__setattr__(self, "step", step or None)
        self._check_range()
        if self.step is not None:
            self._check_step(self.step)
        self._check_classes()

    def _check_range(self) -> None:
        if self.min > self.max:
            raise self._error("min", f"must not exceed 'max' ({self.max:g})", self.min)
        largest = max(abs(self.min), abs(self.max))
        if largest > MAX_NUMBER:
            too_far = f"is too far from 'min', or either beyond {MAX_NUMBER:g}"
            raise self._error("max", too_far, self.max)
        # 255 steps of the range must be different numbers, or a stored byte says nothing
        if not self.is_fixed and self.range < max(2048 * math.ulp(largest), 1 / MAX_NUMBER):
            raise self._error("max", "is too close to 'min' for 255 values between them", self.max)

    def _check_step(self, step: float) -> None:
        if step < 0:
            raise self._error("step", "must not be negative", step)
        largest = max(abs(self.min), abs(self.max)) / step
        if not math.isfinite(largest) or self.range / step >= MAX_CLASSES:
            raise self._error("step", f"is too small, it makes more than {MAX_CLASSES} steps", step)

    def _check_classes(self) -> None:
        names = self.class_names
        if self.kind == "categorical" and not 1 <= len(names) <= MAX_BYTE + 1:
            raise self._error(
                "class_names", "of a categorical parameter must hold 1 to 256 names", len(names)
            )
        if self.kind == "continuous" and names:
            raise self._error("class_names", "needs kind 'categorical'", names)
        if self.kind == "categorical" and not self.is_fixed:
            object.__setattr__(self, "min", 0.0)
            object.__setattr__(self, "max", float(MAX_BYTE))

    def _error(self, key: str, what: str, found: object) -> VIMHError:
        return ParameterError(self.name, key, what, shown(found))

    def _required_step(self) -> float:
        if self.step is None or self.is_categorical:
            raise self._error("step", "is needed here and must be positive", self.step)
        return self.step

    @property
    def is_categorical(self) -> bool:
        """Whether the classes have no order."""
        return self.kind == "categorical"

    @property
    def has_jnd(self) -> bool:
        """Whether errors can be counted in just-noticeable differences."""
        return self.step is not None and not self.is_categorical

    @property
    def is_fixed(self) -> bool:
        """Whether there is nothing to learn: `min == max`."""
        return self.min == self.max

    @property
    def range(self) -> float:
        """`max - min`, in units."""
        return self.max - self.min

    @property
    def lo(self) -> float:
        """Centre of the first class: `round(min/step)*step`, or `min` without a step."""
        return self._centre_near(self.min)

    @property
    def hi(self) -> float:
        """Centre of the last class: `round(max/step)*step`, or `max` without a step."""
        return self._centre_near(self.max)

    def _centre_near(self, value: float) -> float:
        return value if self.step is None else float(np.round(value / self.step) * self.step)

    @property
    def num_classes(self) -> int:
        """Classes of the head: from the step; 256 without one; `class_names` if categorical."""
        if self.is_categorical:
            return len(self.class_names)
        if self.step is None:
            return MAX_BYTE + 1
        return int(np.round((self.hi - self.lo) / self.step)) + 1

    @property
    def num_steps(self) -> float:
        """Just-noticeable steps in the range, `(max - min)/step`.

        Without a step, and for categorical parameters, `num_classes - 1`.
        """
        return self.range / self.step if self.step and self.has_jnd else self.num_classes - 1.0

    @property
    def codec(self) -> Codec:
        """The codec of a parameter that varies."""
        if not self.has_jnd:
            return Codec.between(self.min, self.max)._replace(steps=self.num_steps)
        return Codec(self.min, self.max, self.lo, self.hi, self.step, self.num_steps)

    def quantise(self, values: Values) -> UInt8[np.ndarray, "..."]:
        """Encode values as bytes: `round(255 (value - min)/(max - min))`, clipped to 0..255.

        Args:
            values: Values in units, any shape. Those of a fixed parameter become 0.

        Raises:
            VIMHError: A value is not finite.
        """
        normalised = self.normalise(values)
        if not np.isfinite(normalised).all():
            raise VIMHError(f"parameter {self.name!r}: cannot store a value that is not finite")
        return np.asarray(np.round(normalised.clip(0.0, 1.0) * MAX_BYTE)).astype(np.uint8)

    def dequantise(self, q: Values) -> Float64[np.ndarray, "..."]:
        """Decode bytes (any shape) to values in units: `min + q/255 (max - min)`."""
        return self.denormalise(_numbers(q) / MAX_BYTE)

    def normalise(self, values: Values) -> Float64[np.ndarray, "..."]:
        """Take values in units to 0..1: `(value - min)/(max - min)`, not clipped; 0 if fixed."""
        numbers = _numbers(values)
        return np.asarray(numbers * 0.0 if self.is_fixed else self.codec.normalise(numbers))

    def denormalise(self, x: Values) -> Float64[np.ndarray, "..."]:
        """Take 0..1 to values in units: `min + x (max - min)`, not clipped."""
        return np.asarray(self.codec.denormalise(_numbers(x)))

    def class_of(self, values: Values) -> Int64[np.ndarray, "..."]:
        """Class index of values in units: `round((clip(value, lo, hi) - lo)/step)`, or the byte.

        Raises:
            VIMHError: A value is NaN.
        """
        if not self.has_jnd:
            return self.quantise(values).astype(np.int64)
        index = np.asarray(self.codec.class_of(_numbers(values)))
        if np.isnan(index).any():
            raise VIMHError(f"parameter {self.name!r}: a NaN has no class")
        return np.asarray(index.astype(np.int64).clip(0, self.num_classes - 1))

    def value_of_class(self, index: Values) -> Float64[np.ndarray, "..."]:
        """Value in units at the centre of a class, kept within min..max."""
        return np.asarray(self.codec.value_of_class(_numbers(index)))

    def class_table(self) -> Int64[np.ndarray, "256"]:
        """Class index of each of the 256 possible bytes, so that labels are one look-up."""
        return self.class_of(self.dequantise(np.arange(MAX_BYTE + 1)))

    def tolerance(self, jnd: float | int = 1.0) -> float:
        """Largest error, in units, that still counts as within `jnd` just-noticeable differences.

        `jnd*step + range/(2*255) + 1e-6*step`: without half a byte step, the rounding of the
        stored byte would decide on an error of one step. `exact` values have float32's instead.

        Raises:
            VIMHError: The parameter has no step, or is categorical.
        """
        step = self._required_step()
        largest = max(abs(self.min), abs(self.max))
        rounding = 2.0**-22 * largest if self.exact else 0.5 * self.range / MAX_BYTE
        return float(jnd) * step + rounding + 1e-6 * step

    def grid(self) -> Float64[np.ndarray, "K"]:
        """List every step value from min to max, as a complete grid data set holds them.

        Raises:
            VIMHError: The range is not made of whole steps.
        """
        self.check_generatable()
        if self.is_fixed:
            return np.array([self.min])
        if self.is_categorical:
            return np.asarray(self.dequantise(np.arange(self.num_classes)))
        return np.linspace(self.min, self.max, self.num_classes)

    def check_generatable(self) -> None:
        """Check that a generator can make this parameter.

        `min` and `max - min` must be whole multiples of `step` (to 1e-6 of it), so that classes sit
        on the values. `step` must be at least 2 of the 255 byte steps, so that storing does not
        move a value into another class. A fixed categorical parameter must name a class.

        Raises:
            VIMHError: One of these does not hold.
        """
        if self.is_fixed or self.is_categorical:
            if self.is_categorical and self.is_fixed and self.min not in range(self.num_classes):
                raise self._error("min", f"must be a class, 0 to {self.num_classes - 1}", self.min)
            return
        step = self._required_step()
        if step > self.range * (1 + 1e-6):
            raise self._error("step", f"must be at most max - min, {self.range:g}", step)
        for key, what, value in (("min", "", self.min), ("max", "minus 'min' ", self.range)):
            if abs(value / step - round(value / step)) > 1e-6:
                raise self._error(key, f"{what}must be a whole multiple of step {step:g}", value)
        if step < 2 * self.range / MAX_BYTE * (1 - 1e-9):
            raise self._error("step", f"must be at least {2 * self.range / MAX_BYTE:g}", step)

    @classmethod
    def from_json(cls, name: str, mapping: object) -> "Parameter":
        """Build a parameter from its entry in the metadata's `parameter_mappings`.

        Raises:
            VIMHError: The entry is no object, lacks `min` or `max`, or holds a wrong value.
        """
        check_name(name, "a parameter's name")
        if not isinstance(mapping, Mapping):
            raise VIMHError(f"parameter {name!r}: expected an object, found {shown(mapping)}")
        for key in ("min", "max"):
            if key not in mapping:
                raise VIMHError(f"parameter {name!r}: key '{key}' is missing")
        known = {k: parameter_value(name, k, mapping[k]) for k in _KNOWN_KEYS if k in mapping}
        return cls(name, **known, extra={k: v for k, v in mapping.items() if k not in _KNOWN_KEYS})

    def to_json(self) -> dict[str, Any]:
        """Return the entry for `parameter_mappings`; a missing step is written as 0."""
        entry: dict[str, Any] = {"min": self.min, "max": self.max, "step": self.step or 0.0}
        entry["description"] = self.description
        if self.unit:
            entry["unit"] = self.unit
        if self.scale is not None:
            entry["scale"] = self.scale
        if self.is_categorical:
            entry.update(kind=self.kind, class_names=list(self.class_names))
        return {**entry, **self.extra}


class ParameterSpace(Mapping[str, Parameter]):
    """An ordered, immutable set of parameters, by name.

    Example:
        >>> space = ParameterSpace([Parameter("a", 0.0, 1.0), Parameter("b", 2.0, 2.0)])
        >>> space.names, space.heads.names, space.fixed.names, space.index("b")
        (('a', 'b'), ('a',), ('b',), 1)
    """

    __slots__ = ("_parameters",)

    def __init__(self, parameters: Iterable[Parameter] = ()) -> None:
        """Keep `parameters` in their order.

        Raises:
            VIMHError: A name occurs twice.
        """
        by_name: dict[str, Parameter] = {}
        for parameter in parameters:
            if parameter.name in by_name:
                raise VIMHError(f"parameter {parameter.name!r} occurs twice")
            by_name[parameter.name] = parameter
        self._parameters = by_name

    def __getitem__(self, name: str) -> Parameter:
        return self._parameters[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)

    def __repr__(self) -> str:
        return f"ParameterSpace({list(self.values())!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ParameterSpace):
            return NotImplemented
        return tuple(self.values()) == tuple(other.values())

    def __hash__(self) -> int:
        return hash(tuple(self.values()))

    @property
    def names(self) -> tuple[str, ...]:
        """The names in order."""
        return tuple(self._parameters)

    @property
    def heads(self) -> "ParameterSpace":
        """The parameters that vary, in order."""
        return ParameterSpace(p for p in self.values() if not p.is_fixed)

    @property
    def fixed(self) -> "ParameterSpace":
        """The parameters with `min == max`, in order."""
        return ParameterSpace(p for p in self.values() if p.is_fixed)

    @property
    def codec(self) -> Codec:
        """The codec of all parameters at once, which all vary: arrays (P,) of float64."""
        columns = zip(*(p.codec for p in self.values()), strict=True)
        return Codec._make(np.array(column, dtype=np.float64) for column in columns)

    def index(self, name: str) -> int:
        """Return the position of `name`, which is its id in a record of this space.

        Raises:
            VIMHError: There is no such parameter.
        """
        if name not in self:
            raise VIMHError(f"no parameter {name!r}; there are {', '.join(self.names) or 'none'}")
        return self.names.index(name)

    @classmethod
    def from_json(cls, names: Sequence[str], mappings: Mapping[str, object]) -> "ParameterSpace":
        """Build the parameters `names`, in this order, from `parameter_mappings`.

        Raises:
            VIMHError: A name has no entry, or an entry is wrong; the key is named.
        """
        for name in names:
            if name not in mappings:
                raise VIMHError(f"key 'parameter_mappings' has no entry for parameter {name!r}")
        return cls(Parameter.from_json(name, mappings[name]) for name in names)

    def to_json(self) -> dict[str, Any]:
        """Return `parameter_mappings` for these parameters."""
        return {name: parameter.to_json() for name, parameter in self.items()}
