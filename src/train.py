"""Trains a model and tests its best checkpoint: ``python src/train.py experiment=...``.

compose → build → run → report; docs/configuration.md says how the config composes.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import hydra
import rootutils
from omegaconf import DictConfig

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from src.checkpoints.resume import run_folder  # noqa: E402
from src.cli import entry_point, start  # noqa: E402
from src.command_line import RIGHT, is_check, prepare  # noqa: E402
from src.config_check import TrainConfig, check_config  # noqa: E402
from src.loggers.hyperparameters import log_hyperparameters  # noqa: E402
from src.training.instantiators import (  # noqa: E402
    instantiate_callbacks,
    instantiate_loggers,
    instantiate_trainer,
    refuse_subprocesses,
)
from src.utils import extras, get_metric_value, task_wrapper  # noqa: E402
from src.utils.utils import seed_everything  # noqa: E402


@task_wrapper
def train(cfg: DictConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train, and test the best checkpoint; return all metrics by name, and all objects."""
    # Here, so that --help, --cfg job and a config with a mistake do not wait for Lightning.
    from src.build import build
    from src.calibrating import calibrate_run
    from src.callbacks.last_checkpoint import saved_last
    from src.callbacks.lost_folder import LostFolder
    from src.checkpoint import warn_of_untrusted
    from src.ending import Ending, why_ended
    from src.evaluation.export.model_files import write_model_files
    from src.evaluation.presentation.run_summary import report_run, report_start
    from src.fine_tuning import begin
    from src.going_on import check_going_on
    from src.monitor import plan_without_validation, resolve_monitor
    from src.new_settings import new_settings

    seed_everything(cfg.seed)
    built = build(cfg)
    warn_of_untrusted(built.model)
    resolve_monitor(cfg, built.model)
    former = check_going_on(cfg, built) if cfg.train else None
    frozen = begin(cfg, built.model) if cfg.train else []
    callbacks = instantiate_callbacks(cfg.get("callbacks"))
    # Ours stand beside the config's: `callbacks=none` leaves none of those.
    lost_folder = LostFolder(cfg.paths.output_dir)
    ours = [Ending(), lost_folder, *frozen, *new_settings(cfg, former)]
    loggers = instantiate_loggers(cfg.get("logger"))
    trainer: Any = instantiate_trainer(cfg.trainer, [*callbacks, *ours], loggers)
    refuse_subprocesses(trainer)
    report_start(cfg, built, trainer)
    objects: dict[str, Any] = {"cfg": cfg, "datamodule": built.datamodule, "model": built.model}
    objects |= {"callbacks": callbacks, "logger": loggers, "trainer": trainer}
    if loggers:
        log_hyperparameters(objects, built.model.logged_names)

    metrics: dict[str, Any] = {}
    if cfg.train:
        plan_without_validation(cfg, trainer, built.datamodule, former)
        with lost_folder.explained():
            trainer.fit(
                built.model, datamodule=built.datamodule, ckpt_path=cfg.ckpt_path, weights_only=True
            )
        objects["ended"] = why_ended(trainer)
        metrics |= trainer.callback_metrics
    best = trainer.checkpoint_callback.best_model_path if trainer.checkpoint_callback else ""
    last = saved_last(trainer) if cfg.train else ""
    if cfg.train and cfg.get("calibrate", True) and trainer.is_global_zero:
        calibrate_run((best, last), built.datamodule, trainer.strategy.root_device)
    if cfg.test:
        # The best of this run, never the one that it went on from.
        trainer.test(
            built.model,
            datamodule=built.datamodule,
            ckpt_path=(best or None) if cfg.train else cfg.ckpt_path,
            verbose=False,
        )
        metrics |= trainer.callback_metrics
    if cfg.export and best and trainer.is_global_zero:
        write_model_files(best, Path(cfg.paths.output_dir) / "model.onnx")
    ended = asdict(objects["ended"]) if cfg.train else None
    report_run(cfg, built, metrics, best, loggers, last=last, ended=ended)
    return metrics, objects


@hydra.main(version_base="1.3", config_path="../configs", config_name="train.yaml")
@entry_point
def main(cfg: DictConfig) -> float | None:
    """Run the command with the config that Hydra composed; return what a sweep optimises."""
    if is_check():
        check_config(cfg, TrainConfig)
        print(RIGHT)
        return None
    with run_folder(cfg) as cfg:
        check_config(cfg, TrainConfig)
        extras(cfg)
        metrics, objects = train(cfg)
        if "ended" in objects:
            objects["ended"].raise_if_diverged()
        return get_metric_value(metrics, cfg.get("optimized_metric"))


if __name__ == "__main__":
    prepare()
    start(main)
