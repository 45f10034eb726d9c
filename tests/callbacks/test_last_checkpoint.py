"""When last.ckpt is saved, and what signals do. tests/faults has whole runs."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from src.callbacks.last_checkpoint import LastCheckpoint
from src.checkpoints.checkpoint_io import AtomicCheckpointIO, load_checkpoint
from src.utils.errors import ConfigError, Interrupted
from tests.callbacks.fakes import SmallModule, loader, trainer

STEPS = 6  # of an epoch


class Signals(Callback):
    """Sends this process a signal once a step is done, as a user does; notes what is saved."""

    def __init__(self, number: int, step: int, times: int = 1) -> None:
        self.number, self.step, self.times = number, step, times
        self.seen: list[int] = []

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.seen.append(trainer.global_step)
        if trainer.global_step == self.step:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)


class Saves(Callback):
    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_save_checkpoint(self, trainer: Trainer, *_: Any) -> None:
        self.steps.append(trainer.global_step)


def fit(
    folder: Path, *callbacks: Callback, last: LastCheckpoint | None = None, **arguments: Any
) -> Trainer:
    torch.manual_seed(0)
    fitting = trainer(
        folder,
        callbacks=[*callbacks, last or LastCheckpoint(folder, min_interval_s=0)],
        enable_progress_bar=False,
        plugins=AtomicCheckpointIO(),
        **{"max_epochs": 4, **arguments},
    )
    path = folder / "last.ckpt"
    going_on = str(path) if path.exists() else None
    fitting.fit(SmallModule(), loader(STEPS), loader(2), ckpt_path=going_on, weights_only=True)
    return fitting


def test_saves_after_epochs_with_a_validation_and_at_the_end(tmp_path: Path) -> None:
    every, second, none = Saves(), Saves(), Saves()
    fit(tmp_path / "every", every)
    fit(tmp_path / "second", second, check_val_every_n_epoch=2, max_epochs=5)
    fit(tmp_path / "none", none, limit_val_batches=0, max_epochs=2)
    assert every.steps == [6, 12, 18, 24]
    assert second.steps == [12, 24, 30]
    assert none.steps == [6, 12]


def test_saves_within_epochs_when_asked(tmp_path: Path) -> None:
    saves = Saves()
    last = LastCheckpoint(tmp_path, every_n_train_steps=4, min_interval_s=0)
    fit(tmp_path, saves, last=last, max_epochs=2)
    assert saves.steps == [4, 6, 8, 12]
    with pytest.raises(ConfigError, match="every_n_train_steps"):
        LastCheckpoint(tmp_path, every_n_train_steps=0)


def test_short_epochs_are_saved_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(Callback):
        """An epoch takes a second."""

        now_s = 100.0

        def on_train_epoch_end(self, *_: Any) -> None:
            Clock.now_s += 1.0

    monkeypatch.setattr("src.callbacks.last_checkpoint.time.monotonic", lambda: Clock.now_s)
    saves = Saves()
    last = LastCheckpoint(tmp_path, min_interval_s=2.5)
    fit(tmp_path, Clock(), saves, last=last, max_epochs=7)
    assert saves.steps == [3 * STEPS, 6 * STEPS, 7 * STEPS]
    with pytest.raises(ConfigError, match=r"min_interval_s is -1; expected a number of at least 0"):
        LastCheckpoint(tmp_path, min_interval_s=-1)


# The loader of this room's fakes has no place in the epoch; src.data's has.
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [8, 12, 24])
def test_a_signal_saves_and_the_run_goes_on_from_there(
    tmp_path: Path, number: int, step: int
) -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted) as caught:
        fit(tmp_path, Signals(number, step))
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    assert caught.value.exit_code == 128 + number
    assert caught.value.checkpoint == tmp_path / "last.ckpt"
    assert caught.value.step == load_checkpoint(tmp_path / "last.ckpt")["global_step"] == step
    rest = Signals(number, step=-1)
    resumed = fit(tmp_path, rest)
    assert rest.seen == list(range(step + 1, 25))
    if step % STEPS:
        return
    whole = fit(tmp_path / "whole")
    for ours, theirs in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_gradients_that_are_still_summed_up_are_waited_for(tmp_path: Path) -> None:
    class At(Signals):
        def on_train_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
            if trainer.fit_loop.batch_idx == 1:
                os.kill(os.getpid(), self.number)

    with pytest.raises(Interrupted) as caught:
        fit(tmp_path, At(signal.SIGTERM, 0), accumulate_grad_batches=3)
    assert caught.value.step == 1


def test_a_second_signal_is_heeded_at_once(tmp_path: Path) -> None:
    with pytest.raises(Interrupted) as caught:
        fit(tmp_path, Signals(signal.SIGINT, 8, times=2))
    assert caught.value.checkpoint is None
    assert load_checkpoint(tmp_path / "last.ckpt")["global_step"] == 6


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, -15)])
def test_loader_processes_leave_ctrl_c_to_their_parent(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    """A forked process inherits the handler: Ctrl-C, which it hears too, is not its to heed."""
    codes = []

    class Forks(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            if codes:
                return
            if (child := os.fork()) == 0:
                ended = 1
                try:
                    os.kill(os.getpid(), number)
                    ended = 0
                finally:
                    os._exit(ended)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    assert fit(tmp_path, Forks()).global_step > 0  # and the parent's training is not ended
    assert codes == [code]


class Stopping(EarlyStopping):
    """val/level_mae_jnd is constant in SmallModule: it stops after `patience` epochs more."""

    def __init__(self, patience: int) -> None:
        super().__init__("val/level_mae_jnd", patience=patience)

    @property
    def state_key(self) -> str:
        return "stopping"


def test_a_stopped_run_stays_stopped_unless_given_more_patience(tmp_path: Path) -> None:
    assert fit(tmp_path, Stopping(1)).global_step == 2 * STEPS
    assert fit(tmp_path, Stopping(1)).global_step == 2 * STEPS
    assert fit(tmp_path, Stopping(2)).global_step == 3 * STEPS
