"""Samples whose sounds an engine did not make, and what stands in their place."""

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Integer

from src.schema.arguments import section
from src.schema.bounds import Whole
from src.synth.errors import described
from src.vimh.errors import VIMHError

LOST_KEY = "lost_samples"  # of the metadata
# Beyond the numbers that samples of a data set have: the draws of a sample that stands in for
# another depend on the number of that one alone.
RESERVE = 2**32
MOST_DRAWS = 8  # for one sample
_MOST_KEPT = 1000  # of them, in the metadata
_NAMED = 10  # in a report


@dataclass(frozen=True)
class LostSample:
    """A sample that was not made.

    Attributes:
        number: Which; beyond 2^32 one that was to stand in for that number modulo 2^32.
        values: Of its parameters, in units.
        reason: Why it was not made.
    """

    number: int
    values: dict[str, float]
    reason: str


@dataclass(frozen=True)
class LostReport:
    """The metadata's `lost_samples`.

    Attributes:
        count: How many there are.
        samples: The first of them, by number.
    """

    count: int = 0
    samples: list[LostSample] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        """Return what the metadata say; empty: nothing was lost."""
        return {LOST_KEY: asdict(self)} if self.count else {}

    def __str__(self) -> str:
        lines = [f"{self.count} sounds were not made; others stand in their place:"]
        for lost in self.samples[:_NAMED]:
            values = ", ".join(f"{name}={value:.6g}" for name, value in lost.values.items())
            lines.append(f"  sample {lost.number % RESERVE} ({values}): {lost.reason}")
        if self.count > _NAMED:
            lines.append(f"  … and {self.count - _NAMED} more")
        return "\n".join(lines)


def lost_report(raw: Mapping[str, object], where: Path) -> LostReport:
    """Read what a data set's metadata say of the samples that were not made.

    Raises:
        VIMHError: if that is not well-formed.
    """
    entry = raw.get(LOST_KEY)
    if entry is None:
        return LostReport()
    try:
        given = section(_Entry, entry, LOST_KEY)
        return LostReport(given.count, [section(LostSample, e, LOST_KEY) for e in given.samples])
    except ValueError as error:
        raise VIMHError(f"{where}: {error}") from error


@dataclass(frozen=True)
class _Entry:
    count: Whole
    samples: list[dict[str, object]]


class LostSamples:
    """Remembers them. Any number of threads may use it.

    In the place of sample i stand the values that sample i + 2^32 would have, then i + 2 · 2^32,
    and so on, until one is made. So the others stay what they are, whatever is lost.

    Args:
        is_grid: whether each combination of values belongs to the data set, so that none can stand
            in for another.
    """

    def __init__(self, is_grid: bool) -> None:
        self._is_grid = is_grid
        self._lock = threading.Lock()
        self._lost: dict[int, LostSample] = {}
        self._unnamed = 0

    def current(self, indices: Integer[np.ndarray, "B"]) -> Integer[np.ndarray, "B"]:
        """Return the numbers of samples, or of those that stand in for them, as far as known."""
        numbers = indices.copy()
        with self._lock:
            while (is_lost := np.isin(numbers, list(self._lost))).any():
                numbers[is_lost] += RESERVE
        return numbers

    def replace(
        self,
        numbers: Integer[np.ndarray, "B"],
        values: Mapping[str, Float64[np.ndarray, "N"]],
        reasons: Mapping[int, str],
    ) -> Integer[np.ndarray, "B"]:
        """Note lost samples, and return the numbers of those that stand in for them.

        Args:
            numbers: of the lost ones, in the order of their rows.
            values: of all samples of the batch.
            reasons: by the row of each lost one.

        Raises:
            VIMHError: of a grid, and where too many that stand in for one sample are lost too.
        """
        found = [
            LostSample(number, {name: float(column[row]) for name, column in values.items()}, why)
            for number, (row, why) in zip(numbers.tolist(), sorted(reasons.items()), strict=True)
        ]
        first = min(reasons)
        if self._is_grid:
            raise VIMHError(
                f"synth: the sound of {described(values, first)} was not made, since "
                f"{reasons[first]}. A complete grid has each combination: narrow the range of a "
                "parameter, or say dataset.size without avix for random samples"
            )
        if numbers.max() >= MOST_DRAWS * RESERVE:
            raise VIMHError(
                f"synth: none of {MOST_DRAWS + 1} draws for one sample made a sound, the last "
                f"since {reasons[first]}; narrow the ranges of the parameters"
            )
        with self._lock:
            self._lost |= {lost.number: lost for lost in found}
        return numbers + RESERVE

    def add(self, report: LostReport) -> None:
        """Note those that another process lost."""
        self._lost |= {lost.number: lost for lost in report.samples}
        self._unnamed += report.count - len(report.samples)

    def report(self) -> LostReport:
        """Return all of them."""
        lost = [self._lost[number] for number in sorted(self._lost)]
        return LostReport(len(lost) + self._unnamed, lost[:_MOST_KEPT])
