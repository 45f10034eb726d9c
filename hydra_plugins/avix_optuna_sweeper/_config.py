"""The settings of the sweeper, and its error.

They are not in ``sweeper.py``, because Hydra executes that before it is in ``sys.modules``, where
dataclasses look up their annotations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.errors import CompactHydraException

NO_PRUNER = "optuna.pruners.NopPruner"


class SweepError(CompactHydraException):
    """A setting or the study is wrong; Hydra prints the sentence and exits with code 1."""


@dataclass
class AvixOptunaConf:
    """The settings under ``hydra.sweeper``; docs/sweeps.md says what each does.

    Attributes:
        params: The search space: key -> a sweep of Hydra's override grammar.
        n_trials: How many trials the study has at the end, over all workers and resumes.
            Completed, pruned and failed ones count, killed ones do not.
        n_jobs: How many trials one worker launches at once; more than one at a time takes a
            parallel launcher.
        direction: minimize or maximize, or a list of these for several objectives.
        study_name: The study, and the name of its folder; null: the names of the search and the
            experiment.
        storage: A file for Optuna's journal, or the URL of a database; null: a journal in the
            study's folder.
        folder: The folder of all studies.
        sampler: The class under ``_target_`` and its arguments.
        pruner: Likewise; null prunes nothing.
        max_failure_rate: The share of ``n_trials`` that may fail before the sweep gives up.
    """

    _target_: str = "hydra_plugins.avix_optuna_sweeper.sweeper.AvixOptunaSweeper"
    _recursive_: bool = False  # sampler and pruner are made when Optuna is needed
    _convert_: str = "all"
    params: dict[str, Any] | None = None
    n_trials: int = 20
    n_jobs: int = 1
    direction: Any = "minimize"
    study_name: str | None = None
    storage: str | None = None
    folder: str = "${paths.log_dir}/${task_name}/sweeps"
    sampler: dict[str, Any] = field(
        default_factory=lambda: {"_target_": "optuna.samplers.TPESampler", "seed": 42}
    )
    pruner: dict[str, Any] | None = field(default_factory=lambda: {"_target_": NO_PRUNER})
    max_failure_rate: float = 0.5


ConfigStore.instance().store(
    group="hydra/sweeper", name="avix_optuna", node=AvixOptunaConf, provider="avix"
)
