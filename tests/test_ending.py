"""Why a training ended, in the log and in metrics.json."""

import json
import logging
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import OmegaConf, open_dict

from src.cli import JobError
from src.ending import Ended, Ending
from src.train import main, train
from src.utils.errors import ConfigError, DivergedError
from tests.helpers import shrink

Run = Callable[..., tuple[dict[str, Any], dict[str, Any]]]
# The largest values that the config check admits: decay alone makes weights infinite soon.
DIVERGES = ("model.optimizer.lr=1e6", "model.optimizer.weight_decay=1e6")


@pytest.fixture
def run(compose_config, data_root: Path, tmp_path: Path) -> Run:
    def trained(*overrides: str) -> tuple[dict[str, Any], dict[str, Any]]:
        base = ("experiment=avix_cnn_72dss_jnd_dg_hybrid", "trainer.max_epochs=3")
        cfg = shrink(compose_config("train", *base, *overrides), data_root)
        with open_dict(cfg):
            cfg.logger = None
        return train(cfg)

    return trained


@pytest.mark.parametrize(
    ("overrides", "reason", "message"),
    [
        ([], "max_epochs", "trainer.max_epochs=3 reached"),
        (["trainer.max_steps=2"], "max_steps", "trainer.max_steps=2 reached"),
        (["trainer.max_time=00:00:00:00"], "max_time", "trainer.max_time is over"),
        (
            # The error is never below -1: the first epoch is the best.
            ["callbacks.early_stopping.patience=1", "callbacks.early_stopping.min_delta=1e9"],
            "early_stopping",
            "did not improve in the last 1 records",
        ),
        (["trainer.fast_dev_run=true"], "fast_dev_run", "trainer.fast_dev_run"),
    ],
)
@pytest.mark.sampled(2)
def test_the_reason_is_in_the_log_and_in_metrics_json(
    run: Run,
    overrides: list[str],
    reason: str,
    message: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, logger="src.ending"):
        _, objects = run(*overrides)
    assert objects["ended"].reason == reason
    assert message in objects["ended"].message
    said = [record.getMessage() for record in caplog.records if record.name == "src.ending"]
    assert any("Training ended after" in text and message in text for text in said)
    written = json.loads((tmp_path / "metrics.json").read_text())["ended"]
    assert written == asdict(objects["ended"])
    objects["ended"].raise_if_diverged()


@pytest.mark.filterwarnings("ignore:Encountered `nan` values in tensor")
# With the monitored metric finite (what is read from NaN counts as wrong), and not.
@pytest.mark.parametrize("monitor", ["val/jnd", "val/loss"])
def test_a_loss_that_is_none_ends_the_training(run: Run, monitor: str, tmp_path: Path) -> None:
    _, objects = run(*DIVERGES, f"monitor.metric={monitor}")
    ended = objects["ended"]
    assert ended.reason == "diverged"
    assert ended.epochs < 3
    with pytest.raises(DivergedError, match=r"training has diverged.*Lower model.optimizer.lr"):
        ended.raise_if_diverged()
    assert issubclass(DivergedError, ConfigError)  # one sentence, and exit code 1
    assert json.loads((tmp_path / "metrics.json").read_text())["ended"]["reason"] == "diverged"


@pytest.mark.filterwarnings("ignore:Encountered `nan` values in tensor")
def test_a_divergence_without_any_validation(run: Run) -> None:
    _, objects = run(*DIVERGES, "trainer.limit_val_batches=0")
    assert objects["ended"].reason == "diverged"
    assert "at the end of epoch" in objects["ended"].message


@pytest.mark.parametrize(
    ("mode", "raised"), [(RunMode.RUN, SystemExit), (RunMode.MULTIRUN, JobError)]
)
def test_a_command_that_diverged_has_failed(
    compose_config,
    mode: RunMode,
    raised: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """With a sentence and exit code 1; as a trial of a search, with an error for the sweeper."""
    cfg = compose_config("train", "experiment=avix_quick")
    hydra = OmegaConf.create({"hydra": {"mode": mode, "runtime": {"output_dir": str(tmp_path)}}})
    monkeypatch.setattr(HydraConfig.instance(), "cfg", hydra)
    diverged = Ended("diverged", "training has diverged: NaN", 1, 2)
    monkeypatch.setattr("src.train.extras", lambda cfg: None)
    monkeypatch.setattr("src.train.train", lambda cfg: ({"val/jnd": 0.5}, {"ended": diverged}))
    job: Any = main
    with pytest.raises(raised, match="training has diverged"):
        job.__wrapped__(cfg)


@pytest.mark.parametrize(("losses", "stops"), [([math.inf, 0.5], False), ([0.5, math.nan], True)])
def test_a_loss_that_comes_back_is_no_divergence(losses: list[float], stops: bool) -> None:
    stop, module = Ending(), LightningModule()
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False
    )
    for index, loss in enumerate(losses):
        stop.on_train_batch_end(trainer, module, {"loss": torch.tensor(loss)}, None, index)
    stop.on_train_epoch_end(trainer, module)
    assert trainer.should_stop is stops
    assert (stop.message is not None) is stops


def test_an_end_by_a_callback_of_ones_own(run: Run) -> None:
    _, objects = run(f"+callbacks.own._target_={__name__}.Stop")
    assert objects["ended"].reason == "stopped"


class Stop(Callback):
    """Stops after the first epoch."""

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        trainer.should_stop = True


def test_ended_is_plain_data() -> None:
    assert asdict(Ended("stopped", "why", 1, 2)) == {
        "reason": "stopped",
        "message": "why",
        "epochs": 1,
        "steps": 2,
    }


@pytest.mark.slow
def test_what_a_spawned_process_notes_is_seen_here(tmp_path: Path) -> None:
    ending = Ending()
    assert ending.ended is None
    context = torch.multiprocessing.get_context("spawn")
    process = context.Process(target=_note, args=(ending,))
    process.start()
    process.join()
    assert ending.ended == Ended("max_epochs", "trainer.max_epochs=0 reached", 0, 0)


def _note(ending: Ending) -> None:
    trainer = Trainer(
        accelerator="cpu", max_epochs=0, logger=False, enable_checkpointing=False, callbacks=ending
    )
    trainer.strategy.connect(LightningModule())
    ending.on_train_end(trainer, LightningModule())
