"""Runs side by side: what differs, their figures, intervals over seeds, curves in one picture."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Console
from rich.table import Table
from rich.text import Text

from src.evaluation.presentation.image_axes import plain_texts
from src.evaluation.presentation.page import markdown_cell, markdown_table, write_page
from src.evaluation.scoring.intervals import CONFIDENCE, Estimate
from src.evaluation.scoring.runs import OTHER_SAMPLES, Run, differences, groups_of, mean_interval
from src.utils.rich_utils import print_table
from src.utils.strict_json import strict_json
from src.utils.words import shown_path

PAGE, CURVES, CSV, JSON = "comparison.html", "curves.png", "comparison.csv", "comparison.json"
MAX_ROWS = 24  # of what differs, on a screen
MAX_LETTERS = 48  # of a setting, on a screen
MAX_COLUMNS = 8  # of runs, on a screen
CURVE_NAMES = ("train/loss", "val/loss", "val/jnd", "val/mae_jnd", "val/acc", "val/mae")
LABELS = {"jnd": "share within 1 JND", "acc": "accuracy", "mae_jnd": "mean error [JND]"}
JOINT = ("loss", "jnd", "mae_jnd", "acc")  # of all heads: first in a table
STAGES = ("test", "val", "train")
COLOURS = 10
FEW_POINTS = 8  # of a curve: each is marked
Rows = dict[str, list[str]]


class Comparison:
    """Some runs, compared.

    Args:
        runs: Two or more.
        names: The metrics to show on a screen; None: those of the test, or where no run has any
            the last of the validation.
    """

    def __init__(self, runs: Sequence[Run], names: Sequence[str] | None = None) -> None:
        self.runs = list(runs)
        logged = dict.fromkeys(name for run in runs for name in run.metrics)
        self.logged = sorted(logged, key=_place)
        stage = "test/" if any(name.startswith("test/") for name in self.logged) else "val/"
        self.names = [n for n in self.logged if n.startswith(stage)] if names is None else names
        self.differences = differences(runs)
        self.groups = groups_of(runs)

    @property
    def labels(self) -> list[str]:
        """A line for each run: its number, and its folder."""
        return [f"{k}  {shown_path(run.folder)}" for k, run in enumerate(self.runs, start=1)]

    @property
    def has_seeds(self) -> bool:
        """Whether some runs differ in their seed only."""
        return any(len(group) > 1 for group in self.groups)

    def remarks(self) -> list[str]:
        """Return sentences on what is not to be compared."""
        found = []
        if other := [key for key in OTHER_SAMPLES if key in self.differences]:
            found.append(f"The figures are of different samples: see {', '.join(other)}.")
        if without := [str(k) for k, run in enumerate(self.runs, start=1) if not run.metrics]:
            found.append(f"Not ended, so without figures: {', '.join(without)}.")
        if self.has_seeds:
            found.append(
                f"Brackets: the {100 * CONFIDENCE:.0f} % interval of the mean over seeds "
                "(Student's t)."
            )
        return found

    def figures(self, names: Sequence[str]) -> Rows:
        """Return the metrics of each run as text, by their names with units."""
        return {
            self.with_unit(name): [_number(run.metrics.get(name)) for run in self.runs]
            for name in names
        }

    def over_seeds(self, names: Sequence[str]) -> Rows:
        """Return the mean of each group with its interval as text, by the names of metrics."""
        estimates = self.estimates(names)
        return {
            self.with_unit(name): [_estimate(own) for own in row] for name, row in estimates.items()
        }

    def estimates(self, names: Sequence[str]) -> dict[str, list[Estimate | None]]:
        """Return the mean of each group of runs with its interval; None where no run has it."""
        found: dict[str, list[Estimate | None]] = {}
        for name in names:
            logged = [
                [self.runs[k].metrics[name] for k in group if name in self.runs[k].metrics]
                for group in self.groups
            ]
            found[name] = [mean_interval(values) if values else None for values in logged]
        return found

    def group_titles(self) -> list[str]:
        """Return a heading for each group: the numbers of its runs."""
        return [_numbers([k + 1 for k in group]) for group in self.groups]

    def with_unit(self, name: str) -> str:
        """Return a metric's name with the unit that the data set gives its parameter."""
        kind = name.rpartition("_")[2]
        if name.endswith("mae_jnd"):
            return f"{name} [JND]"
        if kind == "percent":
            return f"{name} [%]"
        for run in self.runs:
            parameters = run.result.get("parameters")
            own = name.partition("/")[2].removesuffix("_mae")
            if kind == "mae" and isinstance(parameters, Mapping) and own in parameters:
                return f"{name} [{parameters[own]['unit']}]".replace(" []", "")
        return name


def print_comparison_of_runs(console: Console, found: Comparison) -> None:
    """Print what differs, the figures and the means over seeds."""
    for line in found.labels:
        console.print(line, soft_wrap=True)
    numbers = [str(k) for k in range(1, len(found.runs) + 1)]
    few = dict(list(found.differences.items())[:MAX_ROWS])
    short = {key: [_shortened(key, value) for value in row] for key, row in few.items()}
    _print(console, "What differs", "setting", numbers, short)
    if (more := len(found.differences) - len(few)) > 0:
        console.print(f"and {more} more settings, in {PAGE}")
    if not found.differences:
        console.print("The runs differ in no setting.")
    _print(console, "Figures", "metric", numbers, found.figures(found.names))
    if found.has_seeds:
        rows = found.over_seeds(found.names)
        _print(console, "Mean over seeds", "metric", found.group_titles(), rows)
    for sentence in found.remarks():
        console.print(sentence, soft_wrap=True)


def write_comparison(folder: Path, found: Comparison) -> list[Path]:
    """Write the comparison into a folder: an HTML page, a CSV table, JSON, and the curves.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    picture = curves_picture(found)
    if picture is not None:
        picture.savefig(folder / CURVES, dpi=100)
    files = [CURVES] if picture is not None else []
    lines = _page_lines(found, files)
    write_page(folder / PAGE, f"{len(found.runs)} runs", lines, files)
    numbers = [str(k) for k in range(1, len(found.runs) + 1)]
    with (folder / CSV).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["", *numbers])
        writer.writerow(["folder", *(str(run.folder) for run in found.runs)])
        writer.writerows([key, *row] for key, row in found.differences.items())
        for name in found.logged:
            writer.writerow([name, *(run.metrics.get(name, "") for run in found.runs)])
    text = strict_json(_as_json(found), indent=2)
    (folder / JSON).write_text(f"{text}\n", encoding="utf-8")
    return [folder / name for name in (PAGE, *files, CSV, JSON)]


def _page_lines(found: Comparison, files: Sequence[str]) -> list[str]:
    numbers = [str(k) for k in range(1, len(found.runs) + 1)]
    runs = [f"{k}. {markdown_cell(shown_path(run.folder))}" for k, run in enumerate(found.runs, 1)]
    lines = ["# Comparison of runs", "", *runs, ""]
    lines += [f"{sentence}\n" for sentence in found.remarks()]
    lines += ["## What differs", "", *_lines_of("setting", numbers, found.differences), ""]
    if found.has_seeds:
        titles, rows = found.group_titles(), found.over_seeds(found.logged)
        lines += ["## Mean over seeds", "", *_lines_of("metric", titles, rows), ""]
    lines += [f"![curves]({name})\n" for name in files]
    return [*lines, "## Figures", "", *_lines_of("metric", numbers, found.figures(found.logged))]


def _lines_of(what: str, headings: Sequence[str], rows: Rows) -> list[str]:
    return markdown_table([what, *headings], [[key, *row] for key, row in rows.items()])


def _as_json(found: Comparison) -> dict[str, object]:
    groups = found.estimates(found.logged)
    return {
        "runs": [
            {
                "folder": str(run.folder),
                "experiment": run.experiment,
                "metrics": run.metrics,
                "settings": {key: row[k] for key, row in found.differences.items()},
            }
            for k, run in enumerate(found.runs)
        ],
        "confidence": CONFIDENCE,
        "groups": [
            {
                "runs": group,
                "metrics": {
                    name: own._asdict()
                    for name, row in groups.items()
                    if (own := row[place]) is not None
                },
            }
            for place, group in enumerate(found.groups)
        ],
    }


def curves_picture(found: Comparison) -> Figure | None:
    """Draw the curves of all runs, a panel a metric; runs that differ in the seed have one colour.

    Returns:
        The picture; None where no run has logged one of the metrics to TensorBoard or a CSV file.
    """
    logged = {name for run in found.runs for name in run.curves}
    names = [name for name in CURVE_NAMES if name in logged]
    if not names:
        return None
    columns = min(3, len(names))
    height = -(-len(names) // columns)
    size = (4.4 * columns, 3.4 * height + 0.25 * len(found.groups) + 0.2)
    figure = Figure(figsize=size, layout="constrained")
    for number, name in enumerate(names, start=1):
        _draw_curves(figure.add_subplot(height, columns, number), found, name)
    lines = {text: line for axes in figure.axes for line, text in _legend(axes)}
    figure.legend(list(lines.values()), list(lines), loc="outside upper left", fontsize=8)
    return plain_texts(figure)


def _legend(axes: Axes) -> Iterator[tuple[Artist, str]]:
    lines, texts = axes.get_legend_handles_labels()
    yield from zip(lines, map(str, texts), strict=True)


def _draw_curves(panel: Axes, found: Comparison, name: str) -> None:
    for place, group in enumerate(found.groups):
        curves = [np.array(found.runs[k].curves.get(name, [])).reshape(-1, 2) for k in group]
        label: str | None = _group_label(found, place)
        for curve in curves:
            if not len(curve):
                continue
            panel.plot(
                *curve.T,
                color=f"C{place % COLOURS}",
                linewidth=1.2,
                marker="o" if len(curve) < FEW_POINTS else None,
                markersize=3,
                label=label,
            )
            label = None  # one entry of the legend for all of a group
    stage, _, metric = name.partition("/")
    panel.set_title(name, fontsize=10)
    panel.set_xlabel("optimiser step", fontsize=8)
    panel.set_ylabel(LABELS.get(metric, f"{stage} {metric}"), fontsize=8)
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    panel.tick_params(labelsize=8)
    panel.grid(alpha=0.3)


def _group_label(found: Comparison, place: int) -> str:
    """Return the numbers of a group's runs, and the settings in which groups differ."""
    first = found.groups[place][0]
    rows = {k: row for k, row in found.differences.items() if not k.startswith("(")}
    said = [
        f"{key.rpartition('.')[2]} {_shortened(key, row[first])}"
        for key, row in rows.items()
        if key != "seed"
    ]
    more = f", and {len(said) - 3} more" if len(said) > 3 else ""
    experiment = found.runs[first].experiment
    words = [experiment, *said[:3]] if experiment else said[:3]
    return f"{found.group_titles()[place]}: {', '.join(words)}{more}".removesuffix(": ")


def _print(
    console: Console, title: str, what: str, headings: Sequence[str], rows: Mapping[str, list[str]]
) -> None:
    if not rows:
        return
    table = Table(title=Text(title), title_justify="left")
    table.add_column(what, overflow="fold")
    for heading in headings[:MAX_COLUMNS]:
        table.add_column(heading, justify="right", no_wrap=True)
    for key, row in rows.items():
        table.add_row(Text(key), *map(Text, row[:MAX_COLUMNS]))
    print_table(console, table)
    if (more := len(headings) - MAX_COLUMNS) > 0:
        console.print(f"and {more} more columns, in {PAGE}")


def _place(name: str) -> tuple[int, bool]:
    """Return where a metric stands in a table: those of the test first, of all heads first."""
    stage, _, metric = name.partition("/")
    return STAGES.index(stage) if stage in STAGES else len(STAGES), metric not in JOINT


def _numbers(places: Sequence[int]) -> str:
    """Write numbers in short.

    Example:
        >>> _numbers([1, 2, 3, 5])
        '1–3, 5'
    """
    parts = [list(places[:1])]
    for before, place in pairwise(places):
        parts.append([place]) if place != before + 1 else parts[-1].append(place)
    return ", ".join(f"{p[0]}–{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)


def _shortened(key: str, value: str) -> str:
    """Return a setting for a screen: of a class its name, of a long text the beginning."""
    text = value.rpartition(".")[2] if key.endswith("_target_") else value
    return text if len(text) <= MAX_LETTERS else f"{text[:MAX_LETTERS]}…"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _estimate(found: Estimate | None) -> str:
    """Return a mean with its interval, where it has one."""
    if found is None:
        return ""
    if math.isnan(found.low):
        return _number(found.value)
    return f"{_number(found.value)} [{_number(found.low)}, {_number(found.high)}]"
