"""What a run ends with: a table for people, ``metrics.json`` for scripts."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from jaxtyping import Float
from rich.table import Table
from rich.text import Text

from src.models.metrics import ParameterMetrics
from src.utils.strict_json import strict_json
from src.vimh.atomic import whole_file
from src.vimh.parameters import Parameter

HEADINGS = ("MAE", "of range", "within 1 JND", "accuracy")
SOLVED = 0.99  # share of samples right in all heads, from which on a set tells nothing


@dataclass(frozen=True)
class Row:
    """One line of the report: a method and its metrics by name, without the stage."""

    method: str
    metrics: Mapping[str, float]


def row_of(
    method: str,
    predicted: Float[np.ndarray, "N P"],
    true: Float[np.ndarray, "N P"],
    parameters: Sequence[Parameter],
) -> Row:
    """The metrics of predictions (N, P) in parameter units, by the metric that training uses."""
    # Not over the ranks of a distributed run: only the first one writes a report.
    metrics = ParameterMetrics(parameters, sync_on_compute=False)
    metrics.update(
        torch.as_tensor(predicted, dtype=torch.float64),
        torch.as_tensor(true, dtype=torch.float64),
    )
    return Row(method, {name: float(value) for name, value in metrics.compute().items()})


def comparison_table(
    rows: Iterable[Row], parameters: Sequence[Parameter], title: str, caption: str | None = None
) -> Table:
    """Rows of methods against, for each parameter, its errors and the share within one JND.

    Args:
        rows: The network first, then the baselines.
        parameters: The parameters in the heads' order.
        title: What the table shows, with the number of samples.
        caption: A sentence below it.
    """
    rows = list(rows)
    # With one parameter, all at once is the same again.
    heads = [*(p.name for p in parameters), *([None] if len(parameters) > 1 else [])]
    cells = {head: [_cells(row.metrics, head) for row in rows] for head in heads}
    # Classes have no errors in units, and values no accuracy: what the network lacks is left out.
    shown = [h for h in HEADINGS if any(lines[0][h] for lines in cells.values())]
    table = Table(title=Text(title), caption=caption, title_justify="left", caption_justify="left")
    for heading in ("parameter", "method"):
        table.add_column(heading, no_wrap=True)
    for heading in shown:
        table.add_column(heading, justify="right", no_wrap=True)

    for head, lines in cells.items():
        unit = next((p.unit for p in parameters if p.name == head), "JND" if "MAE" in shown else "")
        labels = [head or "all at once", f"[{unit}]" if unit else ""]
        for position, (row, line) in enumerate(zip(rows, lines, strict=True)):
            table.add_row(
                Text(labels[position]) if position < len(labels) else "",
                row.method,
                *(line[heading] for heading in shown),
                end_section=position == len(rows) - 1,
            )
    return table


def _cells(metrics: Mapping[str, float], head: str | None) -> dict[str, str]:
    """A method's figures for one parameter, or None: for all at once; by heading."""
    prefix = "" if head is None else f"{head}_"
    mae = metrics.get(f"{prefix}mae" if head else "mae_jnd")
    return {
        "MAE": "" if mae is None else f"{mae:.3g}",
        "of range": _percent(metrics.get(f"{prefix}mae_percent"), factor=1.0, digits=2),
        "within 1 JND": _percent(metrics.get(f"{prefix}jnd")),
        "accuracy": _percent(metrics.get(f"{prefix}acc")),
    }


def remarks(network: Row, others: Sequence[Row]) -> list[str]:
    """What the baselines say of the result, in sentences.

    Args:
        network: The network's figures.
        others: The baselines'.

    Returns:
        A sentence for each baseline that is no worse in the share of samples that are right in
        all heads (in the error where neither has any right), and one where the auxiliary features
        alone solve the data set.
    """
    key = _joint_key(network)
    if key is None:
        return []
    sentences = [
        f"Not better than: {row.method}." for row in others if not _beats(network, row, key)
    ]
    return sentences + no_yardstick(others)


def _beats(network: Row, other: Row, key: str) -> bool:
    """Whether the network is better in the share ``key``; see :func:`remarks`."""
    shares = [row.metrics[key] for row in (network, other)]
    if any(_percent(share) != _percent(0.0) for share in shares):
        return shares[0] > shares[1]
    errors = [row.metrics.get("mae_jnd") for row in (network, other)]
    # Classes have no error: a tie at nothing is then no defeat.
    return errors[0] is None or errors[1] is None or errors[0] < errors[1]


def no_yardstick(baselines: Sequence[Row]) -> list[str]:
    """A sentence where the auxiliary features alone solve the data set."""
    key = _joint_key(baselines[0]) if baselines else None
    solved = [
        row
        for row in baselines
        if key and row.method.endswith("(aux)") and row.metrics[key] >= SOLVED
    ]
    if not key or not solved:
        return []
    best = max(solved, key=lambda row: row.metrics[key])
    return [
        f"The auxiliary features alone solve this set ({best.method}: "
        f"{_percent(best.metrics[key])}): a smoke test, no yardstick."
    ]


def _joint_key(row: Row) -> str | None:
    """The share of samples that are right in all heads."""
    return next((key for key in ("jnd", "acc") if key in row.metrics), None)


def write_metrics(
    path: Path,
    metrics: Mapping[str, float],
    parameters: Sequence[Parameter],
    num_samples: Mapping[str, int],
    seed: int,
    **more: Any,
) -> None:
    """Writes ``metrics.json``: every final metric by its logged name, and what it was made with.

    Args:
        path: The file; replaced if it is there.
        metrics: Values by logged name; null in the file where one is NaN or infinite.
        parameters: Their units, ranges and steps are noted.
        num_samples: Samples in each split.
        seed: The seed of weights and order.
        more: Further entries (the baselines, the checkpoint).
    """
    content = {
        "metrics": {name: float(value) for name, value in sorted(metrics.items())},
        "parameters": {
            p.name: {"unit": p.unit, "min": p.min, "max": p.max, "step": p.step} for p in parameters
        },
        "num_samples": dict(num_samples),
        "seed": seed,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "lightning": lightning.__version__,
        },
        "commit": _commit(),
        **more,
    }
    with whole_file(path) as temporary:
        temporary.write_text(strict_json(content, indent=2) + "\n", encoding="utf-8")


def rows_as_json(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The rows as plain containers."""
    return [asdict(row) for row in rows]


def _percent(value: float | None, factor: float = 100.0, digits: int = 1) -> str:
    return "" if value is None else f"{factor * value:.{digits}f} %"


def _commit() -> str | None:
    """The commit of the code, with ``-dirty`` where files differ; None outside git."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return None
    return found.stdout.strip() or None
