"""The metrics of a network and its baselines, and what the baselines say of the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from numpy import ndarray

from src.evaluation.scoring.baselines import baseline_predictions
from src.evaluation.scoring.split_predictions import first, split_arrays
from src.models.metrics import ParameterMetrics
from src.vimh.parameters import Parameter

if TYPE_CHECKING:
    from src.build import Built

SOLVED = 0.99  # share of samples right in all heads, from which on a set tells nothing


@dataclass(frozen=True)
class Row:
    """One line of the report: a method and its metrics by name, without the stage."""

    method: str
    metrics: Mapping[str, float]


def row_of(
    method: str,
    predicted: Float[ndarray, "N P"],
    true: Float[ndarray, "N P"],
    parameters: Sequence[Parameter],
    learnt_as_classes: Sequence[bool] = (),
) -> Row:
    """The metrics of predictions (N, P) in parameter units, by the metric that training uses.

    Where some of the network's heads are learnt as classes, only they have an accuracy, as the
    network's figures do: the mean over the heads is then of the same ones.
    """
    with_accuracy = list(learnt_as_classes) if any(learnt_as_classes) else True
    # Not over the ranks of a distributed run: only the first one writes a report.
    metrics = ParameterMetrics(parameters, with_accuracy, sync_on_compute=False)
    metrics.update(
        torch.as_tensor(predicted, dtype=torch.float64),
        torch.as_tensor(true, dtype=torch.float64),
    )
    return Row(method, {name: float(value) for name, value in metrics.compute().items()})


def network_row(values: Mapping[str, float], stage: str) -> Row:
    """Return the network's figures on "val" or "test", out of all metrics by their logged names."""
    own = {n.removeprefix(f"{stage}/"): v for n, v in values.items() if n.startswith(f"{stage}/")}
    return Row("network", own)


def baseline_rows(built: Built, stage: str, count: int) -> list[Row]:
    """Return the baselines on "val" or "test", by the metrics that the network is measured with.

    They are tried on so many of the first samples: those that the network was measured on.
    """
    parameters = list(built.model.parameters_by_head.values())
    # Every rank of a distributed run measures each n-th sample, so together they have the first.
    tried = first(split_arrays(built.model, built.datamodule, stage), count)
    return [
        row_of(name, predicted, tried.true, parameters, built.model.learnt_as_classes)
        for name, predicted in baseline_predictions(built.model, built.datamodule, tried).items()
    ]


def remarks(network: Row, others: Sequence[Row]) -> list[str]:
    """Compare a result with the baselines, in sentences.

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
    if any(percent_text(share) != percent_text(0.0) for share in shares):
        return shares[0] > shares[1]
    errors = [row.metrics.get("mae_jnd") for row in (network, other)]
    # Classes have no error: a tie at nothing is then no defeat.
    return errors[0] is None or errors[1] is None or errors[0] < errors[1]


def no_yardstick(baselines: Sequence[Row]) -> list[str]:
    """Return a sentence where the auxiliary features alone solve the data set."""
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
        f"{percent_text(best.metrics[key])}): a smoke test, no yardstick."
    ]


def _joint_key(row: Row) -> str | None:
    """Return the share of samples that are right in all heads."""
    return next((key for key in ("jnd", "acc") if key in row.metrics), None)


def percent_text(value: float | None, factor: float = 100.0, digits: int = 1) -> str:
    """Return a share in %; nothing where there is none."""
    return "" if value is None else f"{factor * value:.{digits}f} %"
