"""One training of the comparison, in a process of its own; writes result.json at its end."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import lightning.pytorch as pl
import numpy as np
import rootutils
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from benchmarks.suite_plan import Job  # noqa: E402
from src.build import Built, build  # noqa: E402
from src.evaluation.scoring.baselines import MAX_TRAINING_SAMPLES, baselines  # noqa: E402
from src.evaluation.scoring.split_predictions import predict_split, split_arrays  # noqa: E402
from src.monitor import resolve_monitor  # noqa: E402
from src.training.instantiators import instantiate_callbacks, instantiate_loggers  # noqa: E402
from src.vimh.parameters import Parameter, ParameterSpace  # noqa: E402

RESULT = "result.json"
SPLITS = ("val", "test")
JND_SHARES = (0.5, 1.0)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line, which only the suite types.

    Args:
        arguments: Its words; None: those of this process.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the run")
    parser.add_argument("vimh_dir", type=Path, help="of the data sets")
    parser.add_argument("job", help="the job as JSON")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    run(Job(**json.loads(given.job)), given.folder, given.vimh_dir)


def run(job: Job, folder: Path, vimh_dir: Path) -> dict[str, Any]:
    """Run a job and write its result.

    Args:
        job: What to train; without a network, the baselines are computed.
        folder: Where everything of it goes.
        vimh_dir: The folder of the data sets; a missing one is made.

    Returns:
        What was written.
    """
    started = time.perf_counter()
    cfg = _compose(job, folder, vimh_dir)
    pl.seed_everything(cfg.seed, verbose=False)
    built = build(cfg)
    found = _baselines(built) if job.network is None else _train(cfg, built)
    info = built.datamodule.get_dataset_info()
    result = {
        "job": vars(job),
        "num_samples": {split: info[f"num_{split}_samples"] for split in ("train", "val", "test")},
        "seconds": round(time.perf_counter() - started, 1),
        **found,
    }
    temporary = folder / f"{RESULT}.tmp"
    temporary.write_text(json.dumps(result, indent=2) + "\n")
    temporary.replace(folder / RESULT)
    return result


def figures(
    predicted: np.ndarray, true: np.ndarray, parameters: Sequence[Parameter]
) -> dict[str, Any]:
    """Errors in JND and shares within some JND, overall and by head.

    Args:
        predicted: (N, P) in the parameters' units.
        true: (N, P), the same.
        parameters: In the order of the columns; each has a step.

    Returns:
        ``mae_jnd`` (the mean over the heads), ``within_0.5`` and ``within_1.0`` (all heads at
        once), and the same for each head under ``heads``.
    """
    codec = ParameterSpace(parameters).codec
    error = np.abs(codec.error(predicted.astype(np.float64), true.astype(np.float64)))
    in_jnd = error / codec.width
    within = {
        jnd: error <= np.array([parameter.tolerance(jnd) for parameter in parameters])
        for jnd in JND_SHARES
    }
    heads = {
        parameter.name: {
            "mae_jnd": float(in_jnd[:, column].mean()),
            **{f"within_{jnd}": float(good[:, column].mean()) for jnd, good in within.items()},
        }
        for column, parameter in enumerate(parameters)
    }
    return {
        "mae_jnd": float(in_jnd.mean()),
        **{f"within_{jnd}": float(good.all(axis=1).mean()) for jnd, good in within.items()},
        "heads": heads,
    }


class EpochTimes(pl.Callback):
    """CPU seconds of each training epoch, without its validation.

    On one thread they are what the epoch takes where nothing else runs, whatever else did run.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._started = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._started = time.process_time()
        self._validating = 0.0

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock: validation comes within the training epoch."""
        self._validation_started = time.process_time()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let the clock go on."""
        if not trainer.sanity_checking:
            self._validating += time.process_time() - self._validation_started

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the epoch."""
        self.seconds.append(time.process_time() - self._started - self._validating)


def _compose(job: Job, folder: Path, vimh_dir: Path) -> DictConfig:
    with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "configs")):
        return compose(
            "train",
            [
                *job.overrides,
                f"paths.root_dir={ROOT}",
                f"paths.work_dir={ROOT}",
                f"paths.vimh_dir={vimh_dir}",
                f"paths.output_dir={folder}",
                f"paths.log_dir={folder}",
            ],
        )


def _train(cfg: DictConfig, built: Built) -> dict[str, Any]:
    resolve_monitor(cfg, built.model)
    times = EpochTimes()
    trainer = hydra.utils.instantiate(
        cfg.trainer,
        callbacks=[times, *instantiate_callbacks(cfg.callbacks)],
        logger=instantiate_loggers(cfg.logger),
    )
    trainer.fit(built.model, datamodule=built.datamodule)
    best = trainer.checkpoint_callback.best_model_path
    weights = torch.load(best, map_location="cpu", weights_only=True)["state_dict"]
    built.model.load_state_dict(weights)
    parameters = list(built.model.parameters_by_head.values())
    built.model.cpu().eval()
    tried = {split: predict_split(built.model, built.datamodule, split) for split in SPLITS}
    return {
        **{
            split: figures(found.predicted, found.true, parameters)
            for split, found in tried.items()
            if found is not None
        },
        "steps": trainer.global_step,
        "epoch_seconds": statistics.median(times.seconds),
        "num_weights": sum(weight.numel() for weight in built.model.net.parameters()),
        "checkpoint": Path(best).name,
    }


def _baselines(built: Built) -> dict[str, Any]:
    parameters = list(built.model.parameters_by_head.values())
    train = split_arrays(built.model, built.datamodule, "train", limit=MAX_TRAINING_SAMPLES)
    test = split_arrays(built.model, built.datamodule, "test")
    return {
        "baselines": {
            name: figures(predicted, test.true, parameters)
            for name, predicted in baselines(train, test, [p.is_categorical for p in parameters])
        }
    }


if __name__ == "__main__":
    main()
