"""Tables of an evaluation's figures, for a report and for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.table import Table
from rich.text import Text

from src.evaluation.presentation.page import markdown_cell
from src.evaluation.scoring.evaluation import Evaluation
from src.evaluation.scoring.figures import Figure
from src.evaluation.scoring.intervals import Estimate


def figure_table(evaluation: Evaluation, figures: Sequence[Figure]) -> list[str]:
    """Return the lines of a Markdown table of methods (rows) and figures (columns)."""
    heads = []
    for figure in figures:
        unit = "%" if figure.kind in ("share", "percent") else figure.unit
        heads.append(markdown_cell(f"{figure.label} [{unit}]" if unit else figure.label))
    lines = [f"| method | {' | '.join(heads)} |", f"|---|{'---:|' * len(figures)}"]
    for method, measured in evaluation.measured.items():
        cells = [estimate_text(figure, measured.estimate(figure.name)) for figure in figures]
        lines.append(f"| {markdown_cell(method)} | {' | '.join(cells)} |")
    return lines


def estimate_text(figure: Figure, estimate: Estimate) -> str:
    """Return a figure with its interval; shares in %.

    Example:
        >>> share = Figure("jnd", "all parameters", "within 1 JND", "", "share", "higher")
        >>> estimate_text(share, Estimate(0.98, 0.95, 1.0))
        '98.0 [95.0, 100.0]'
    """
    value, low, high = (figure_text(figure, number) for number in estimate)
    return f"{value} [{low}, {high}]"


def figure_text(figure: Figure, number: float) -> str:
    """A value of a figure: a share in %, a cosine to five digits, else three significant ones."""
    if figure.kind == "share":
        return f"{100 * number:.1f}"
    return f"{number:.5f}" if figure.kind == "cosine" else number_text(number)


def number_text(number: float) -> str:
    """Three significant digits.

    Example:
        >>> [number_text(n) for n in (0.0, 0.01, 12.345, 2345.6, -1e-7, float("nan"))]
        ['0', '0.0100', '12.3', '2346', '-1.00e-07', 'nan']
    """
    if number == 0.0 or not np.isfinite(number):
        return f"{number:g}"
    return f"{number:.0f}" if abs(number) >= 1000 else f"{number:#.3g}".removesuffix(".")


def sound_table(evaluation: Evaluation, title: str, figures: Sequence[Figure]) -> Table:
    """Return distances of sounds for a terminal."""
    table = Table(title=title, title_justify="left")
    table.add_column("method", overflow="fold")
    for figure in figures:
        words = [*figure.label.split(), f"[{figure.unit}]" if figure.unit else ""]
        table.add_column(Text("\n".join(words)), justify="right", no_wrap=True)
    for method, measured in evaluation.measured.items():
        cells = [figure_text(figure, measured.values[figure.name]) for figure in figures]
        table.add_row(method, *cells)
    return table
