"""Interleaved timing, and the rows of the table."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Budget:
    """A bound on the figure of a row.

    Attributes:
        kind: "at least" or "at most".
        value: The bound.
        unit: What the figure is; "" is a plain ratio.
    """

    kind: Literal["at least", "at most"]
    value: float
    unit: str = ""

    def holds(self, figure: float) -> bool:
        """Whether a figure keeps the budget."""
        return figure >= self.value if self.kind == "at least" else figure <= self.value

    def __str__(self) -> str:
        sign = "≥" if self.kind == "at least" else "≤"
        return f"{sign} {self.value:g}{' ' + self.unit if self.unit else ''}"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: What was measured.
        against: What it was compared with.
        budget: What the figure should be.
        figures: One figure for each interleaved pair; empty where the row failed.
        detail: Whatever else is worth keeping (rates, sizes).
        failure: Why there are no figures.
    """

    name: str
    against: str
    budget: Budget
    figures: list[float] = field(default_factory=list)
    detail: dict[str, Any] = field(default_factory=dict)
    failure: str | None = None

    @property
    def ratio(self) -> float | None:
        """The median of the figures."""
        return statistics.median(self.figures) if self.figures else None

    @property
    def spread(self) -> tuple[float, float] | None:
        """The quartiles of the figures (the extremes of fewer than four)."""
        if not self.figures:
            return None
        if len(self.figures) < 4:
            return min(self.figures), max(self.figures)
        low, _, high = statistics.quantiles(self.figures, n=4, method="inclusive")
        return low, high

    @property
    def within_budget(self) -> bool | None:
        """Whether the median keeps the budget; None where there is no figure."""
        return None if self.ratio is None else self.budget.holds(self.ratio)

    def to_json(self) -> dict[str, Any]:
        """The row as benchmarks/results.json keeps it."""
        return {
            "name": self.name,
            "against": self.against,
            "ratio": self.ratio,
            "spread": self.spread,
            "unit": self.budget.unit,
            "budget": str(self.budget),
            "within_budget": self.within_budget,
            "pairs": len(self.figures),
            "figures": self.figures,
            "detail": self.detail,
            "failure": self.failure,
        }

    def to_dict(self) -> dict[str, Any]:
        """All fields, for the way from a row's process to the one that prints."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Row":
        """The inverse of `to_dict`."""
        return cls(**{**fields, "budget": Budget(**fields["budget"])})


def timed(action: Callable[[], object]) -> float:
    """Seconds that a call takes, with the garbage of earlier ones collected before."""
    gc.collect()
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def interleaved(
    first: Callable[[], object], second: Callable[[], object], pairs: int, warmups: int = 1
) -> tuple[list[float], list[float]]:
    """Time two calls in turns, each of them first by turns, so that drift hits both.

    Args:
        first: One side.
        second: The other.
        pairs: How many pairs are timed.
        warmups: How many are run before and not counted.

    Returns:
        The seconds of each call of `first`, and of `second`.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(-warmups, pairs):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        for side in order:
            elapsed = timed((first, second)[side])
            if number >= 0:
                seconds[side].append(elapsed)
    return seconds


def ratios(numerator: list[float], denominator: list[float]) -> list[float]:
    """Pairwise quotients."""
    return [a / b for a, b in zip(numerator, denominator, strict=True)]
