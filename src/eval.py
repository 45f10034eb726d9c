"""Evaluates a checkpoint: ``python src/eval.py ckpt_path=...``; no other argument is needed."""

from __future__ import annotations

from typing import Any

import hydra
import rootutils
from omegaconf import DictConfig

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from src.cli import entry_point, start  # noqa: E402
from src.command_line import RIGHT, is_check, prepare  # noqa: E402
from src.config_check import EvalConfig, check_config, check_given  # noqa: E402
from src.training.instantiators import instantiate_loggers, instantiate_trainer  # noqa: E402
from src.utils import extras, task_wrapper  # noqa: E402
from src.utils.errors import ConfigError  # noqa: E402
from src.utils.utils import seed_everything  # noqa: E402
from src.utils.words import shown_path  # noqa: E402


@task_wrapper
def evaluate(cfg: DictConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measure a checkpoint on the validation or test split of its data set, or of another.

    Returns all metrics by name, and all objects.
    """
    # Here, so that --help, --cfg job and a config with a mistake do not wait for Lightning.
    from src.build import Built, build_evaluation_data, training_data
    from src.checkpoint import load_model, read_checkpoint
    from src.evaluation.presentation.evaluation_page import report_evaluation
    from src.evaluation.scoring.refiners import check_method, make_refiner
    from src.synth.resynthesis import synthesizer_of

    check_method(cfg.refine)
    seed_everything(cfg.seed)
    checkpoint = read_checkpoint(cfg.ckpt_path)
    model = load_model(checkpoint)
    datamodule = build_evaluation_data(cfg, checkpoint.data, model)
    if len(datamodule.splits[cfg.split]) == 0:
        raise ConfigError(
            f"split={cfg.split} has no samples: give it a share in data.train_val_test_split, "
            "or name the other split."
        )
    # Refused before anything is measured
    synthesizer = synthesizer_of(datamodule.metadata) if cfg.report.sounds or cfg.refine else None
    refiner = None
    if cfg.refine:
        refiner = make_refiner(
            synthesizer, datamodule.metadata, model.calibration, cfg.refine, cfg.seed
        )
    trained_on = training_data(cfg, checkpoint.data, model)
    loggers = instantiate_loggers(cfg.get("logger"))
    trainer = instantiate_trainer(cfg.trainer, loggers=loggers)
    run = trainer.validate if cfg.split == "val" else trainer.test
    run(model, datamodule=datamodule, verbose=False)
    metrics = dict(trainer.callback_metrics)
    model.to(trainer.strategy.root_device)
    built = Built(datamodule, model)
    report = report_evaluation(cfg, built, metrics, loggers, trained_on, refiner)
    objects = {"cfg": cfg, "datamodule": datamodule, "model": model}
    return metrics, {**objects, "trainer": trainer, "report": report}


@hydra.main(version_base="1.3", config_path="../configs", config_name="eval.yaml")
@entry_point
def main(cfg: DictConfig) -> None:
    """Run the command with the config that Hydra composed."""
    check_given(cfg, "src/eval.py ckpt_path=CHECKPOINT", "ckpt_path")
    check_config(cfg, EvalConfig)
    if is_check():
        print(RIGHT)
        return
    extras(cfg)
    _, objects = evaluate(cfg)
    if objects["report"] is not None:
        print(f"Report:      {shown_path(objects['report'])}")


if __name__ == "__main__":
    prepare()
    start(main)
