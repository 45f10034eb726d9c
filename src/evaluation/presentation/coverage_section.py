"""How intervals did on a split: a table for a terminal, and a section of the report."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from src.calibration.calibration import percent
from src.calibration.unlike import P_UNLIKE
from src.evaluation.presentation.page import markdown_table
from src.evaluation.scoring.coverage import Coverage, Held
from src.evaluation.scoring.figures import shown_unit


def coverage_rows(coverage: Coverage) -> list[list[str]]:
    """Return the heads' lines: name, coverage with its interval, mean width, and in steps."""
    return [
        [held.parameter.name, _share(held), _width(held), _steps(held)] for held in coverage.heads
    ]


def headings(coverage: Coverage) -> list[str]:
    """Return the columns' heads."""
    return ["parameter", f"true value inside, of {percent(coverage.confidence)}", "mean width", ""]


def confidences_table(coverages: Sequence[Coverage]) -> list[str]:
    """Return a Markdown table of the same intervals at several confidences.

    The widths are those of the middle one. A star: the nominal confidence lies outside of the
    binomial interval.
    """
    middle = coverages[len(coverages) // 2]
    columns = [percent(coverage.confidence) for coverage in coverages]
    heads = ["parameter", *columns, f"mean width at {percent(middle.confidence)}", ""]
    rows = [
        [middle.heads[k].parameter.name, *(_starred(own, k) for own in coverages), *widths]
        for k, (_, _, *widths) in enumerate(coverage_rows(middle))
    ]
    return markdown_table(heads, rows)


def _starred(coverage: Coverage, head: int) -> str:
    held = coverage.heads[head]
    _, low, high = held.share
    return _share(held) + ("" if low <= coverage.confidence <= high else " *")


def _share(held: Held) -> str:
    value, low, high = (100 * number for number in held.share)
    return f"{value:.1f} % [{low:.1f}, {high:.1f}]"


def _width(held: Held) -> str:
    if held.parameter.is_categorical:
        return f"{held.width:.2f} of {held.parameter.num_classes} classes"
    return f"{held.width:.3g} {shown_unit(held.parameter)}".strip()


def _steps(held: Held) -> str:
    if held.width_steps is None:
        return ""
    return f"{held.width_steps:.2f} {held.parameter.step_name}"


def coverage_table(coverage: Coverage) -> Table:
    """Return the figures for a terminal."""
    table = Table(title=_title(coverage), title_justify="left")
    first, *others = headings(coverage)
    table.add_column(first, overflow="fold")
    for heading in others:
        table.add_column(heading, justify="right")
    for row in coverage_rows(coverage):
        table.add_row(*map(Text, row))
    return table


def _title(coverage: Coverage) -> str:
    samples = f"{coverage.calibrated_on} validation samples"
    return f"Intervals at {percent(coverage.confidence)}, measured on {samples}"


def unlike_sentences(coverage: Coverage) -> list[str]:
    """Say how many samples were called unlike; nothing where the model cannot tell."""
    if coverage.num_unlike is None:
        return []
    samples = coverage.heads[0].samples
    return [
        f"{coverage.num_unlike} of {samples} samples ({100 * coverage.num_unlike / samples:.1f} %) "
        f"are called unlike the training sounds (p < {P_UNLIKE:g})."
    ]


def coverage_lines(coverage: Coverage) -> list[str]:
    """Return the section of the report, in Markdown."""
    return [
        "## Intervals",
        "",
        f"{_title(coverage)}; brackets hold the exact binomial interval of 95 %. docs/trust.md "
        "says how they are made, and where they hold.",
        "",
        *markdown_table(headings(coverage), coverage_rows(coverage)),
        "",
        *(line for sentence in unlike_sentences(coverage) for line in (sentence, "")),
    ]
