"""Parameters of a sound (or a picture): value <-> 0..1 <-> stored byte <-> class index.

A value is stored as one byte, `q = round(255 u)` with `u = (value - min) / (max - min)`, or where
the spacing is log `u = ln(value/min) / ln(max/min)`; the class index of a head follows from the
nominal just-noticeable difference (JND), the parameter's `step`. All arithmetic is in
:class:`src.vimh.codec.Codec`.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from src.vimh.codec import Codec, Numbers, Spacing
from src.vimh.errors import VIMHError
from src.vimh.fields import Kind, StepKind, check_name, parameter_number, parameter_value
from src.vimh.parameter_checks import (
    MAX_BYTE,
    check_classes,
    check_generatable,
    check_grid,
    check_range,
    check_step,
    check_storable,
    required_step,
)
from src.vimh.plain import shown

# A number, an array of any shape, or a (nested) list.
Values: TypeAlias = np.ndarray | np.generic | float | int | Sequence[object]

_KNOWN_KEYS = (
    "min", "max", "step", "description", "unit", "scale", "kind", "class_names", "spacing",
    "step_kind",
)  # fmt: skip


def _numbers(values: Values) -> Float64[np.ndarray, "..."]:
    return np.asarray(values, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One labelled quantity: its range, its just-noticeable difference and its encoding.

    Raises:
        VIMHError: A number is not finite, `min > max`, `step < 0`, the classes do not fit, or
            `min` is not positive where the spacing is log.

    Example:
        >>> decay = Parameter("log10_decay_time", min=-2.0, max=0.3, step=0.1)
        >>> decay.num_classes, int(decay.quantise(0.3)), float(decay.dequantise(0))
        (24, 255, -2.0)
    """

    name: str  # also of its head
    min: float | int  # smallest value, in `unit`; a categorical parameter's is a class index
    max: float | int  # largest value; equal to `min`: the parameter is fixed and has no head
    # Nominal just-noticeable difference (JND) in `unit`, or where the spacing is log a ratio minus
    # one (0.03: 3 %); None (or 0): there is none.
    step: float | int | None = None
    description: str = ""  # a sentence for people
    unit: str = ""  # for example "s" or "Hz"; empty: a plain number
    scale: str | None = None  # the spacing that older synthesisers wrote; kept, not used
    kind: Kind = "continuous"  # "categorical": no order, class index = stored byte, 0 to 255
    class_names: tuple[str, ...] = ()  # of a categorical parameter
    spacing: Spacing = "linear"  # equal steps are differences; "log": ratios, which needs min > 0
    step_kind: StepKind = "jnd"  # "tolerance": no source says that the step is just noticeable
    extra: Mapping[str, object] = field(default_factory=dict, hash=False)  # other keys of the JSON
    exact: bool = field(default=False, compare=False)  # whether exact values lie beside the bytes

    def __post_init__(self) -> None:
        check_name(self.name, "a parameter's name")
        for text in filter(None, (*self.class_names, self.unit)):
            check_name(text, f"parameter {self.name!r}: its unit and its classes' names")
        for key in ("min", "max"):
            object.__setattr__(self, key, parameter_number(self.name, key, getattr(self, key)))
        step = None if self.step is None else parameter_number(self.name, "step", self.step)
        object.__setattr__(self, "step", step or None)
        check_classes(self)
        check_range(self)
        if self.step is not None:
            check_step(self, self.step)
        if self.is_categorical and not self.is_fixed:
            object.__setattr__(self, "min", 0.0)
            object.__setattr__(self, "max", float(MAX_BYTE))

    @property
    def is_categorical(self) -> bool:
        """Whether the classes have no order."""
        return self.kind == "categorical"

    @property
    def has_jnd(self) -> bool:
        """Whether errors can be counted in steps."""
        return self.step is not None and not self.is_categorical

    @property
    def step_name(self) -> str:
        """What a table calls the step: "JND", or "tolerance"."""
        return "JND" if self.step_kind == "jnd" else "tolerance"

    @property
    def is_log(self) -> bool:
        """Whether equal steps are equal ratios; False for one that is fixed."""
        return self.spacing == "log" and not self.is_fixed

    @property
    def is_fixed(self) -> bool:
        """Whether there is nothing to learn: `min == max`."""
        return self.min == self.max

    @property
    def range(self) -> float:
        """`max - min`, in units."""
        return self.max - self.min

    @property
    def num_classes(self) -> int:
        """Classes of the head: from the step; 256 without one; `class_names` if categorical."""
        if self.is_categorical:
            return len(self.class_names)
        if self.step is None:
            return MAX_BYTE + 1
        first, last = self._centres
        return round((last - first) / self._step_on_axis) + 1

    @property
    def num_steps(self) -> float:
        """Steps in the range; of those without a step or an order, `num_classes - 1`."""
        if not self.has_jnd:
            return self.num_classes - 1.0
        return self._without_step.span / self._step_on_axis

    @property
    def codec(self) -> Codec:
        """The codec of a parameter that varies."""
        return _codec(self)

    @property
    def _without_step(self) -> Codec:
        return Codec.between(self.min, self.max, "log" if self.is_log else "linear")

    @property
    def _step_on_axis(self) -> float:
        step = required_step(self, "here")
        return math.log1p(step) if self.is_log else step

    @property
    def _centres(self) -> tuple[float, float]:
        """Centres of the first and the last class, on the codec's axis."""
        low, high, step = *self._without_step[:2], self._step_on_axis
        if self.is_log:
            return low, low + round((high - low) / step) * step
        return float(np.round(low / step) * step), float(np.round(high / step) * step)

    def quantise(self, values: Values) -> UInt8[np.ndarray, "..."]:
        """Encode values in units as bytes: `round(255 u)` of the normalised u, clipped to 0..255.

        Raises:
            VIMHError: A value is not finite.
        """
        normalised = self.normalise(values)
        if not np.isfinite(normalised).all():
            raise VIMHError(f"parameter {self.name!r}: cannot store a value that is not finite")
        return np.asarray(np.round(normalised.clip(0.0, 1.0) * MAX_BYTE)).astype(np.uint8)

    def dequantise(self, q: Values) -> Float64[np.ndarray, "..."]:
        """Decode bytes (any shape) to values in units, those of `u = q/255`."""
        return self.denormalise(_numbers(q) / MAX_BYTE)

    def normalise(self, values: Values) -> Float64[np.ndarray, "..."]:
        """Take values in units to u in 0..1, not clipped; 0 if fixed."""
        numbers = _numbers(values)
        return np.asarray(numbers * 0.0 if self.is_fixed else self.codec.normalise(numbers))

    def denormalise(self, x: Values) -> Float64[np.ndarray, "..."]:
        """Take 0..1 to values in units, `min + x (max - min)` or `min (max/min)^x`, not clipped."""
        return np.asarray(self.codec.denormalise(_numbers(x)))

    def class_of(self, values: Values) -> Int64[np.ndarray, "..."]:
        """Class index of values in units, the nearest centre's; the byte where there is no step.

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
        return np.asarray(self.codec.value_of_class(_numbers(index)).clip(self.min, self.max))

    def share_of_range(self, error: Numbers) -> Numbers:
        """Return an error in the unit as a share of max - min, whatever the spacing."""
        return error / self.range

    def class_table(self) -> Int64[np.ndarray, "256"]:
        """Class index of each of the 256 possible bytes, so that labels are one look-up."""
        q = np.arange(MAX_BYTE + 1)
        return self.codec.class_at(q / MAX_BYTE).astype(np.int64) if self.has_jnd else q

    def tolerance(self, jnd: float | int = 1.0) -> float:
        """Largest error on the codec's axis that still counts as within `jnd` steps.

        `(jnd + 1e-6)*step + range/(2*255)`, all in the unit, or if log as logarithms of ratios:
        without half a byte step, the rounding of the stored byte would decide on an error of
        exactly one step. `exact` values have float32's instead. :meth:`Codec.error` gives errors.

        Raises:
            VIMHError: The parameter has no step, or is categorical.
        """
        step, span = self._step_on_axis, self._without_step.span
        largest = max(1.0, span) if self.is_log else max(abs(self.min), abs(self.max))
        rounding = 2.0**-22 * largest if self.exact else 0.5 * span / MAX_BYTE
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
        check_grid(self)
        evenly = np.geomspace if self.is_log else np.linspace
        return evenly(self.min, self.max, self.num_classes)

    def check_generatable(self) -> None:
        """Check that a generator can make this parameter.

        `min` and `max - min` must be whole multiples of a step (to 1e-6 of it), so that classes sit
        on the values; if log, they do in any case. A fixed categorical parameter must name a class.

        Raises:
            VIMHError: One of these does not hold.
        """
        check_generatable(self)

    def check_storable(self) -> None:
        """Check that a byte alone keeps a value's class: VIMHError for a step below 2 of 255."""
        check_storable(self)

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

    def to_json(self) -> dict[str, object]:
        """Return the entry for `parameter_mappings`; a missing step is written as 0."""
        entry: dict[str, object] = {"min": self.min, "max": self.max, "step": self.step or 0.0}
        entry["description"] = self.description
        if self.unit:
            entry["unit"] = self.unit
        if self.scale is not None:
            entry["scale"] = self.scale
        if self.spacing != "linear":
            entry["spacing"] = self.spacing
        if self.step_kind != "jnd":
            entry["step_kind"] = self.step_kind
        if self.is_categorical:
            entry.update(kind=self.kind, class_names=list(self.class_names))
        return {**entry, **self.extra}


@lru_cache(maxsize=1024)  # predicting asks for it head by head
def _codec(parameter: Parameter) -> Codec:
    codec = parameter._without_step._replace(steps=parameter.num_steps)
    if not parameter.has_jnd:
        return codec
    first, last = parameter._centres
    return codec._replace(first=first, last=last, width=parameter._step_on_axis)


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
        return Codec.stack([p.codec for p in self.values()])

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

    def to_json(self) -> dict[str, dict[str, object]]:
        """Return `parameter_mappings` for these parameters."""
        return {name: parameter.to_json() for name, parameter in self.items()}
