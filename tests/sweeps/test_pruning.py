"""The callback that reports to a trial and ends it."""

from pathlib import Path

import optuna
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from optuna.trial import TrialState
from torch.utils.data import DataLoader

from src.callbacks import pruning
from src.callbacks.pruning import TrialPruning
from src.sweeps.storage import PRUNED_AT, open_storage
from src.utils.errors import ConfigError

# A trial is stopped at once where an earlier one was better at the same epoch.
PRUNER = {"_target_": "optuna.pruners.MedianPruner", "n_startup_trials": 1, "n_warmup_steps": 1}


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    """A study with one complete trial, whose values fall from 1, and one that runs."""
    study = optuna.create_study(study_name="s", storage=open_storage(f"{tmp_path}/journal.log"))
    first = study.ask()
    for epoch in range(4):
        first.report(1.0 - epoch / 10, epoch)
    study.tell(first, 0.7)
    study.ask()
    return study


@pytest.fixture
def callback(study: optuna.Study, tmp_path: Path, monkeypatch) -> TrialPruning:
    found = {
        "storage": f"{tmp_path}/journal.log",
        "study_name": "s",
        "number": 1,
        "pruner": PRUNER,
    }
    monkeypatch.setattr(pruning, "_arguments_of_trial", lambda: found)
    return TrialPruning("val/loss")


class Scripted(LightningModule):
    """Trains nothing; its validation loss of each epoch is given."""

    def __init__(self, losses: list[float]) -> None:
        super().__init__()
        self.losses = losses
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self.weight.sum()

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        self.log("val/loss", self.losses[self.current_epoch])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(callback: TrialPruning, losses: list[float]) -> None:
    trainer = Trainer(
        max_epochs=len(losses),
        accelerator="cpu",
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=1,
    )
    loader = DataLoader(torch.zeros(1, 1))
    trainer.fit(Scripted(losses), loader, loader)


def test_values_are_reported_by_epoch_and_a_weak_trial_ends(study, callback, monkeypatch) -> None:
    reported = []
    report = optuna.Trial.report

    def recorded(self: optuna.Trial, value: float, step: int) -> None:
        reported.append(step)
        report(self, value, step)

    monkeypatch.setattr(optuna.Trial, "report", recorded)
    with pytest.raises(optuna.TrialPruned):
        fit(callback, [2.0, 1.9, 1.8, 1.7])
    assert reported == [0, 1]  # and none by the sanity check
    trial = study.trials[1]
    assert trial.intermediate_values == pytest.approx({0: 2.0, 1: 1.9})
    assert trial.user_attrs[PRUNED_AT] == 1
    assert trial.state is TrialState.RUNNING  # the sweeper tells how it ended


def test_a_good_trial_goes_on(study, callback) -> None:
    fit(callback, [0.1] * 4)
    assert len(study.trials[1].intermediate_values) == 4


def test_nan_is_not_reported(study, callback) -> None:
    """A pruner would take it for a weak trial; it is a failed one."""
    fit(callback, [float("nan")] * 3)
    assert study.trials[1].intermediate_values == {}


def test_a_metric_that_validations_do_not_log_is_named(callback) -> None:
    callback.monitor = "test/loss"
    with pytest.raises(ConfigError, match=r"monitor=test/loss: .* It logs: val/loss"):
        fit(callback, [0.1])


def test_outside_of_a_sweep_nothing_happens() -> None:
    fit(TrialPruning(None), [5.0, 6.0])
