"""Report a metric of a sweep's trial, and stop the trial where the pruner gives it up."""

from __future__ import annotations

import math
from typing import Any

import hydra
import optuna
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import OmegaConf

from src.schema.bounds import Text
from src.sweeps.storage import PRUNED_AT, open_storage
from src.utils.errors import ConfigError
from src.utils.pylogger import RankedLogger

log = RankedLogger(__name__, rank_zero_only=True)

SWEEPER = "hydra_plugins.avix_optuna_sweeper.sweeper.AvixOptunaSweeper"


def running_trial(
    storage: str, study_name: str, number: int, pruner: dict[str, Any] | None
) -> optuna.Trial:
    """Reach the trial that this process runs, whose number is the job's, by the study's storage.

    Args:
        storage: Of the study; a journal file or a URL.
        study_name: The study.
        number: The trial's.
        pruner: ``_target_`` and arguments of the pruner; None: nothing is pruned.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    opened = open_storage(storage)
    judge = hydra.utils.instantiate(pruner) if pruner else optuna.pruners.NopPruner()
    study = optuna.load_study(study_name=study_name, storage=opened, pruner=judge)
    study_id = opened.get_study_id_from_name(study_name)
    return optuna.Trial(study, opened.get_trial_id_from_study_id_trial_number(study_id, number))


class TrialPruning(Callback):
    """Report a metric after each validation; raise ``optuna.TrialPruned`` when the pruner says so.

    The callback does nothing outside of a sweep with ``hydra/sweeper: avix_optuna``, so a config
    with it trains alone as well. Hydra's config of the job, which all launchers bring to the job's
    process, names the trial. With several processes (``trainer=ddp_sim``) the first one reports and
    decides for all.

    Args:
        monitor: The metric to report, best the one that the trial returns at its end: pruners that
            look at one epoch (successive halving) then see the best so far and no outlier. None
            only outside of a sweep.
    """

    def __init__(self, monitor: Text | None) -> None:
        self.monitor = monitor
        self._arguments = _arguments_of_trial()
        self._trial: optuna.Trial | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the trial."""
        if self._arguments is not None and stage == "fit" and trainer.is_global_zero:
            self._trial = running_trial(**self._arguments)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the metric and ask the pruner.

        Raises:
            ConfigError: If the validation did not log the metric.
            optuna.TrialPruned: If the pruner gives the trial up.
        """
        if self._arguments is None or trainer.sanity_checking:
            return
        epoch = trainer.current_epoch
        prune = False
        if self._trial is not None:
            if self.monitor not in trainer.callback_metrics:
                logged = ", ".join(sorted(trainer.callback_metrics))
                raise ConfigError(
                    f"callbacks.pruning.monitor={self.monitor}: a validation logs no such metric. "
                    f"It logs: {logged}"
                )
            value = float(trainer.callback_metrics[self.monitor])
            # Pruners stop at NaN, but NaN is a failure and no weak trial.
            if math.isfinite(value):
                self._trial.report(value, epoch)
                prune = self._trial.should_prune()
            if prune:  # for a sweeper that sees another exception
                self._trial.set_user_attr(PRUNED_AT, epoch)
        if trainer.strategy.broadcast(prune):
            log.info("Pruned after epoch %d.", epoch)
            raise optuna.TrialPruned(f"pruned after epoch {epoch}")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Drop the storage, which cannot be sent to another process."""
        self._trial = None


def _arguments_of_trial() -> dict[str, Any] | None:
    """Return the arguments of this job's :func:`running_trial`; None for a job without a trial."""
    if not HydraConfig.initialized():
        return None
    job = HydraConfig.get()
    if job.mode is not RunMode.MULTIRUN or job.sweeper.get("_target_") != SWEEPER:
        return None
    sweeper = OmegaConf.to_container(job.sweeper, resolve=True)
    assert isinstance(sweeper, dict)
    names = ("storage", "study_name", "pruner")
    return {"number": job.job.num, **{name: sweeper[name] for name in names}}
