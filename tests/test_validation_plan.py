"""A training without a validation says so before it begins, and ends well."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from omegaconf import open_dict

from src.monitor import training_batches, why_no_validation
from src.train import train
from src.utils.errors import ConfigError
from tests.helpers import shrink

Run = Callable[..., tuple[dict[str, Any], dict[str, Any]]]


@pytest.fixture
def run(compose_config, data_root: Path, tmp_path: Path) -> Run:
    def trained(*overrides: str, batch_size: int = 10) -> tuple[dict[str, Any], dict[str, Any]]:
        base = ("experiment=avix_cnn_72dss_jnd_dg_hybrid", "trainer.max_epochs=2")
        cfg = shrink(compose_config("train", *base, *overrides), data_root)
        with open_dict(cfg):
            cfg.data.batch_size = batch_size  # 50 samples
            cfg.logger = None
            every = [o for o in overrides if o.startswith("trainer.check_val_every_n_epoch=")]
            for override in every:
                said = override.partition("=")[2]
                cfg.trainer.check_val_every_n_epoch = None if said == "null" else int(said)
        return train(cfg)

    return trained


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("trainer.limit_val_batches=0", "trainer.limit_val_batches=0"),
        ("data.train_val_test_split=[0.8,0,0.2]", "data.train_val_test_split"),
        ("trainer.max_steps=3", "trainer.max_steps=3 ends it before batch 5"),
        ("trainer.val_check_interval=7", "an epoch has 5 batches"),
        ("trainer.check_val_every_n_epoch=3", "before batch 15"),
    ],
)
@pytest.mark.sampled(2)
def test_it_is_said_and_nothing_waits_for_it(
    run: Run, override: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    metrics, objects = run(override)
    said = [r.getMessage() for r in caplog.records if r.name == "src.monitor"]
    assert len(said) == 1
    assert why in said[0]
    assert "no best epoch and no early stopping" in said[0]
    callbacks = objects["trainer"].callbacks
    assert not any(isinstance(c, EarlyStopping | ModelCheckpoint) for c in callbacks)
    assert "val/loss" not in metrics
    assert "test/loss" in metrics


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["trainer.max_steps=5"],
        ["trainer.max_steps=3", "trainer.accumulate_grad_batches=2"],
        ["trainer.val_check_interval=5"],
        ["trainer.val_check_interval=0.4", "trainer.max_steps=2"],
        ["trainer.check_val_every_n_epoch=2"],
        ["trainer.limit_train_batches=2", "trainer.max_steps=2"],
        ["trainer.limit_train_batches=0.5", "trainer.max_steps=2"],
        ["trainer.overfit_batches=1", "trainer.max_steps=1"],
        ["trainer.fast_dev_run=true"],
    ],
)
@pytest.mark.sampled(4)
def test_where_there_is_one_nothing_is_left_out(
    run: Run, overrides: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    metrics, objects = run(*overrides)
    assert not [r for r in caplog.records if r.name == "src.monitor"]
    assert "val/loss" in metrics
    assert any(isinstance(c, EarlyStopping) for c in objects["trainer"].callbacks)


class Validations(Callback):
    """Notes after how many steps a validation takes place."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self.steps.append(trainer.global_step)


def test_without_a_count_of_epochs_the_interval_counts_batches_over_all_of_them(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Validations()
    monkeypatch.setattr("src.train.instantiate_callbacks", lambda cfg: [seen])
    null = "trainer.check_val_every_n_epoch=null"
    run(null, "trainer.val_check_interval=7", "trainer.max_epochs=3")
    assert seen.steps == [7, 14]  # an epoch has 5 batches
    with pytest.raises(ConfigError, match=r"val_check_interval.*should be an integer"):
        run(null, "trainer.val_check_interval=0.5")


def test_a_plateau_needs_a_validation_in_each_epoch(run: Run) -> None:
    plateau = ("model/scheduler=plateau", "trainer.check_val_every_n_epoch=null")
    _, objects = run(*plateau, "trainer.val_check_interval=5", "trainer.max_epochs=2")
    assert objects["trainer"].current_epoch == 2  # an epoch has 5 batches
    with pytest.raises(ConfigError, match=r"needs val/loss .*val_check_interval to at most 5, or"):
        run(*plateau, "trainer.val_check_interval=7", "trainer.max_epochs=3")
    of_training = "model.scheduler_monitor=train/loss"
    run(*plateau, of_training, "trainer.val_check_interval=7", "trainer.max_epochs=2")


@pytest.mark.parametrize("batch_size", [10, 16, 25, 32, 50, 64])
@pytest.mark.sampled(2)
def test_batches_are_those_that_the_trainer_counts(run: Run, batch_size: int) -> None:
    _, objects = run("trainer.max_epochs=1", batch_size=batch_size)
    trainer = objects["trainer"]
    assert training_batches(trainer, objects["datamodule"]) == trainer.num_training_batches


def test_a_run_that_goes_on_counts_from_its_epoch(run: Run) -> None:
    _, objects = run("trainer.check_val_every_n_epoch=2")
    trainer, data = objects["trainer"], objects["datamodule"]
    trainer.fit_loop.max_epochs = 3
    assert why_no_validation(trainer, data) is None
    assert "batch 20" in (why_no_validation(trainer, data, epochs_done=2) or "")


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("optimized_metric=val/loss", "optimized_metric is val/loss"),
        ("model/scheduler=plateau", "model.scheduler_monitor is val/loss"),
    ],
)
def test_what_needs_one_is_refused_before_training(run: Run, override: str, key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}, but this training has no validation"):
        run("trainer.limit_val_batches=0", override)
