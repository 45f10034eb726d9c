"""The end of a sweep: results, the best trial's command, and plots."""

from __future__ import annotations

import logging
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import optuna
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization import matplotlib as pictures
from rich.console import Console

from hydra_plugins.avix_optuna_sweeper._space import SearchSpace
from hydra_plugins.avix_optuna_sweeper._study import Counts, SharedStudy

log = logging.getLogger(__name__)

RESULTS = "optimization_results.yaml"
MIN_TRIALS_TO_PLOT = 2  # completed ones


def report(shared: SharedStudy, space: SearchSpace) -> float | None:
    """Print the best trial and how to repeat it; write the results and the plots.

    Args:
        shared: The study.
        space: The search space.

    Returns:
        The best value; None where no trial completed or there are several objectives.

    Raises:
        SweepError: If all trials failed.
    """
    shared.check_any_succeeded()
    study, folder = shared.study, shared.settings.folder
    with shared.lock:  # another worker may be at its end as well
        counts = shared.counts()
        best = _best_trials(study)
        results = _results(shared, space, counts, best)
        _write(folder / RESULTS, OmegaConf.to_yaml(OmegaConf.create(results)))
        plotted = counts.completed >= MIN_TRIALS_TO_PLOT
        if plotted:
            write_plots(study, folder, metric_name(shared))
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"Study {study.study_name}: {counts}")
    if counts.running:
        console.print("Other workers still run; if they died, the same command goes on.")
    for trial in best:
        values = ", ".join(f"{value:.6g}" for value in trial.values)
        console.print(f"Best: {values} (trial {trial.number})")
        console.print(f"  {repeat_command(shared, space, trial)}", markup=False)
    console.print(f"Results{' and plots' if plotted else ''}: {folder}")
    reported = any(trial.intermediate_values for trial in study.get_trials(deepcopy=False))
    if shared.settings.prunes and not reported:
        log.warning(
            "No trial reported to the pruner: add the callback of configs/callbacks/pruning.yaml."
        )
    return best[0].value if best and len(study.directions) == 1 else None


def repeat_command(shared: SharedStudy, space: SearchSpace, trial: FrozenTrial) -> str:
    """Write the command line that runs a trial's settings once.

    Args:
        shared: The study.
        space: What was searched.
        trial: One of its trials.
    """
    overrides = space.overrides(trial.params)
    config = shared.settings.config
    assert config is not None
    # Without -m on the command line, a config made this a multirun and would again.
    if "hydra.mode=MULTIRUN" not in config.hydra.overrides.hydra:
        overrides.append("hydra.mode=RUN")
    return shlex.join(["python", sys.argv[0], *overrides])


def metric_name(shared: SharedStudy) -> str:
    """Return what a study optimises, for the axes of its plots."""
    config = shared.settings.config
    named = None if config is None else config.get("optimized_metric")
    return str(named or "objective value")


def write_plots(study: optuna.Study, folder: Path, metric: str) -> None:
    """Write history, importances and slices as PNG and as interactive HTML.

    Args:
        study: With at least two completed trials.
        folder: Of the files; ``plotly.min.js`` lies beside them, so that they need no network.
        metric: What a single objective is called.
    """
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it explains its categorical axes
    for name, arguments in _targets(study, metric):
        for kind, picture, page in _plots():
            with warnings.catch_warnings():
                # Optuna calls its plots experimental, and says so of studies with few trials.
                warnings.simplefilter("ignore")
                axes = picture(study, **arguments)
                page(study, **arguments).write_html(
                    folder / f"{kind}{name}.html", include_plotlyjs="directory"
                )
            figure = np.ravel(axes)[0].figure
            figure.savefig(folder / f"{kind}{name}.png", dpi=120, bbox_inches="tight")
            plt.close(figure)


def _plots() -> Iterator[tuple[str, Callable[..., Any], Callable[..., Any]]]:
    from optuna import visualization as pages  # plotly

    yield "history", pictures.plot_optimization_history, pages.plot_optimization_history
    yield "importances", pictures.plot_param_importances, pages.plot_param_importances
    yield "slice", pictures.plot_slice, pages.plot_slice


def _targets(study: optuna.Study, metric: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield a file name's ending and the plots' arguments for each objective."""
    if len(study.directions) == 1:
        yield "", {"target_name": metric}
        return
    for i in range(len(study.directions)):

        def value(trial: FrozenTrial, i: int = i) -> float:
            return trial.values[i]

        yield f"_{i}", {"target": value, "target_name": f"Objective {i}"}


def _best_trials(study: optuna.Study) -> list[FrozenTrial]:
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return []
    return [study.best_trial] if len(study.directions) == 1 else study.best_trials


def _results(
    shared: SharedStudy, space: SearchSpace, counts: Counts, best: list[FrozenTrial]
) -> dict[str, Any]:
    results: dict[str, Any] = {
        "name": "optuna",
        "study_name": shared.study.study_name,
        "storage": shared.settings.storage,
        "directions": shared.settings.directions,
        "trials": asdict(counts),
        # What the trials took, for comparing pruners: validations that were reported.
        "reported_values": sum(
            len(trial.intermediate_values) for trial in shared.study.get_trials(deepcopy=False)
        ),
    }
    if len(shared.settings.directions) > 1:
        results["solutions"] = [
            {
                "trial": trial.number,
                "values": list(trial.values),
                "params": trial.params,
                "command": repeat_command(shared, space, trial),
            }
            for trial in best
        ]
        return results
    for trial in best:  # one, or none
        results["best_value"] = trial.value
        results["best_params"] = trial.params
        results["best_trial"] = trial.number
        results["command"] = repeat_command(shared, space, trial)
    return results


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)
