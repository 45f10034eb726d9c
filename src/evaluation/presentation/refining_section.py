"""What refining added to a network, for an evaluation's report, its JSON and a terminal."""

from collections.abc import Sequence
from dataclasses import asdict
from statistics import median

from rich.table import Table

from src.evaluation.presentation.comparison_table import comparison_table
from src.evaluation.presentation.figure_tables import figure_table
from src.evaluation.presentation.page import markdown_cell, markdown_table
from src.evaluation.scoring.figures import (
    figures_of,
    joint_figures,
    published_figures,
    sound_figures,
)
from src.evaluation.scoring.refinement import Refinement
from src.evaluation.scoring.rows import Row, row_of

ABOUT = (
    "The synthesiser is fitted to the sound of the true values: from the network's values, and "
    "from random starts with as many renders. A sound that does not converge keeps the network's "
    "values; without a network, the best that were found. docs/trust.md says more."
)
HEADINGS = ("method", "converged", "residual [dB]", "renders", "time [s]")


def refining_lines(refinement: Refinement) -> list[str]:
    """Return the section of a report, without its sounds."""
    evaluation = refinement.evaluation
    lines = ["## Refined", "", f"{len(evaluation.found)} of the sounds. {ABOUT}", ""]
    lines += [*markdown_table(HEADINGS, _search_rows(refinement)), ""]
    lines += ["Residual, renders and time are medians over the sounds.", ""]
    if joint := joint_figures(evaluation.parameters):
        lines += [*figure_table(evaluation, joint), ""]
    for p in evaluation.parameters:
        lines += [f"{markdown_cell(p.name)}:", "", *figure_table(evaluation, figures_of(p)), ""]
    lines += ["Sound:", "", *figure_table(evaluation, sound_figures()), ""]
    lines += ["Sound, as papers compare it:", ""]
    return [*lines, *figure_table(evaluation, published_figures()), ""]


def refining_tables(refinement: Refinement, classes: Sequence[bool]) -> list[Table]:
    """Return the tables for a terminal: errors by method, and what the searches took.

    Args:
        refinement: some sounds, refined.
        classes: of each head whether it is learnt as classes.
    """
    evaluation = refinement.evaluation
    rows = [
        row_of(method, predicted, evaluation.found.true, evaluation.parameters, classes)
        for method, predicted in evaluation.predicted.items()
    ]
    if not any(classes):  # a network that learns values has no accuracy
        rows = [
            Row(row.method, {k: v for k, v in row.metrics.items() if not k.endswith("acc")})
            for row in rows
        ]
    count = len(evaluation.found)
    errors = comparison_table(rows, evaluation.parameters, title=f"{count} of them, refined")
    search = Table(caption="medians over the sounds", caption_justify="left")
    for place, heading in enumerate(HEADINGS):
        search.add_column(heading, justify="right" if place else "left", no_wrap=place > 0)
    for cells in _search_rows(refinement):
        search.add_row(*cells)
    return [errors, search]


def _search_rows(refinement: Refinement) -> list[list[str]]:
    """Return what each way of refining took."""
    rows = []
    for method, results in refinement.refined.items():
        found = [one for one in results if one is not None]
        cells = [method, f"{refinement.converged(method)} of {len(results)}"]
        if found:
            residual_db = median(one.residual_db for one in found)
            cells += [
                f"{residual_db:.1f}",
                f"{median(one.renders for one in found):.0f}",
                f"{median(one.seconds for one in found):.2f}",
            ]
        rows.append(cells + [""] * (len(HEADINGS) - len(cells)))
    return rows


def refining_json(refinement: Refinement) -> dict[str, object]:
    """Return all of it as plain containers."""
    evaluation = refinement.evaluation
    return {
        "num_sounds": len(evaluation.found),
        "methods": {
            method: {
                figure.name: measured.estimate(figure.name)._asdict()
                for figure in evaluation.figures
            }
            for method, measured in evaluation.measured.items()
        },
        "converged": {method: refinement.converged(method) for method in refinement.refined},
        "sounds": {
            method: [None if one is None else asdict(one) for one in results]
            for method, results in refinement.refined.items()
        },
    }
