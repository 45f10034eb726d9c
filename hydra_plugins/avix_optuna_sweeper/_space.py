"""The search space: Hydra's override grammar on one side, Optuna's distributions on the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    IntervalSweep,
    Override,
    RangeSweep,
    Sweep,
    Transformer,
)
from hydra.errors import HydraException
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hydra_plugins.avix_optuna_sweeper._config import SweepError

LOG = "log"


@dataclass(frozen=True)
class Dimension:
    """One searched key.

    Attributes:
        key: As it is written on the command line, with its ``+`` or package.
        distribution: The values that Optuna suggests.
        texts: How each choice is written in an override; empty for numbers.
    """

    key: str
    distribution: BaseDistribution
    texts: tuple[str, ...] = ()

    def override(self, value: Any) -> str:
        """Write a suggested value as an override, ``key=value``."""
        if self.texts:
            return f"{self.key}={self.texts[int(self.distribution.to_internal_repr(value))]}"
        number = int(value) if isinstance(self.distribution, IntDistribution) else float(value)
        return f"{self.key}={number!r}"

    def extremes(self) -> list[Any]:
        """Return every choice, or both ends of a range."""
        if isinstance(self.distribution, CategoricalDistribution):
            return list(self.distribution.choices)
        assert isinstance(self.distribution, IntDistribution | FloatDistribution)
        return [self.distribution.low, self.distribution.high]


@dataclass(frozen=True)
class SearchSpace:
    """The keys that a sweep searches, and the overrides that all trials share.

    Attributes:
        dimensions: The searched keys by their names in the study.
        fixed: Overrides that every trial has.
    """

    dimensions: Mapping[str, Dimension]
    fixed: tuple[str, ...]

    @classmethod
    def parse(
        cls, parser: OverridesParser, params: Mapping[str, Any], arguments: Sequence[str]
    ) -> SearchSpace:
        """Read ``hydra.sweeper.params`` and the command line; the command line comes first.

        Args:
            parser: Hydra's parser, which knows the groups for ``glob``.
            params: Key -> sweep, or a value that every trial has.
            arguments: Overrides of the command line, sweeps or not.

        Raises:
            SweepError: If a sweep cannot be searched.
        """
        try:
            given = parser.parse_overrides(list(arguments))
            searched = parser.parse_overrides([f"{key}={value}" for key, value in params.items()])
        except HydraException as error:
            raise SweepError(f"hydra.sweeper.params: {error}") from error
        named = {_name(override) for override in given}
        overrides = [*given, *(o for o in searched if _name(o) not in named)]
        dimensions = {_name(o): _dimension(o) for o in overrides if o.is_sweep_override()}
        fixed = [str(o.input_line) for o in overrides if not o.is_sweep_override()]
        return cls(dimensions, tuple(fixed))

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The distributions by name, as Optuna takes them."""
        return {name: dimension.distribution for name, dimension in self.dimensions.items()}

    def overrides(self, values: Mapping[str, Any]) -> list[str]:
        """Write the overrides of a trial: the fixed and the suggested ones."""
        suggested = (self.dimensions[name].override(value) for name, value in values.items())
        return [*self.fixed, *suggested]

    def samples(self) -> Iterator[list[str]]:
        """Yield the fewest trials in which every choice and every end of a range occurs."""
        extremes = {name: d.extremes() for name, d in self.dimensions.items()}
        for i in range(max(map(len, extremes.values()))):
            yield self.overrides({n: values[i % len(values)] for n, values in extremes.items()})


def _name(override: Override) -> str:
    if override.package is None:
        return override.key_or_group
    return f"{override.key_or_group}@{override.package}"


def _dimension(override: Override) -> Dimension:
    key = override.get_key_element()
    sweep = override.value()
    if isinstance(sweep, IntervalSweep):
        return Dimension(key, _interval(override, sweep))
    if isinstance(sweep, RangeSweep):
        return Dimension(key, _range(override, sweep))
    _check_tags(override, allowed=set())
    # Lists and dicts are encoded as text; Optuna takes no such choices.
    encoded = override.sweep_iterator(transformer=Transformer.encode)
    values = cast(tuple[str | int | float | bool, ...], tuple(encoded))
    texts = tuple(override.sweep_string_iterator())
    if not values or len(set(texts)) < len(texts):
        raise SweepError(f"{override.input_line}: expected different choices, at least one.")
    return Dimension(key, CategoricalDistribution(values), texts)


def _interval(override: Override, sweep: IntervalSweep) -> BaseDistribution:
    assert sweep.start is not None
    assert sweep.end is not None
    log = _check_tags(override, allowed={LOG})
    start, end = sweep.start, sweep.end
    if start >= end or (log and start <= 0):
        raise SweepError(
            f"{override.input_line}: expected interval(start, end) with start < end"
            f"{' and start > 0 for log' if log else ''}."
        )
    if isinstance(start, int) and isinstance(end, int):
        # Hydra documents an interval as start <= value < end.
        return IntDistribution(start, end - 1, log=log)
    return FloatDistribution(float(start), float(end), log=log)


def _range(override: Override, sweep: RangeSweep) -> BaseDistribution:
    log = _check_tags(override, allowed={LOG})
    # Hydra's own enumeration decides what belongs to the range: its stop does not.
    values = list(sweep.range())
    if not values:
        raise SweepError(f"{override.input_line}: this range is empty.")
    low, high, step = min(values), max(values), abs(sweep.step)
    if log and (low <= 0 or step != 1 or not isinstance(low, int)):
        raise SweepError(
            f"{override.input_line}: log takes ranges of positive integers with step 1; write "
            "tag(log, interval(start, end)) for real numbers."
        )
    if isinstance(low, int) and isinstance(step, int):
        return IntDistribution(low, high, log=log, step=step)
    return FloatDistribution(low, high, step=step)


def _check_tags(override: Override, allowed: set[str]) -> bool:
    """Whether the sweep is tagged ``log``."""
    sweep = override.value()
    tags = sweep.tags if isinstance(sweep, Sweep) else set()  # a glob is a sweep without tags
    if unknown := tags - allowed:
        raise SweepError(
            f"{override.input_line}: the tag {', '.join(sorted(unknown))} is unknown here. "
            f"{'The only tag is log.' if allowed else 'Choices take no tags.'}"
        )
    return LOG in tags
