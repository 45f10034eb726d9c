"""The checkpoint that a run goes on from, saved between steps and after epochs.

Lightning's ``ModelCheckpoint`` saves within the end of an epoch: before a plateau scheduler reads
the metrics and before they are in the logs. A run killed right after the save would go on without
both. This callback saves when the epoch is over, and on Ctrl-C and SIGTERM after the step.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loops.progress import _Progress

from src.checkpoints.resumable import random_states, restore_random_states
from src.loggers.tensorboard_logger import TensorBoardLogger
from src.schema.arguments import check_arguments
from src.schema.bounds import PositiveCount, Seconds, Text
from src.utils.errors import Interrupted
from src.utils.pylogger import RankedLogger

log = RankedLogger(__name__, rank_zero_only=True)

FILE_NAME = "last.ckpt"
SIGNALS = (signal.SIGINT, signal.SIGTERM)

Handler = Callable[[int, FrameType | None], Any] | int | None


class LastCheckpoint(Callback):
    """Save ``last.ckpt`` after epochs with a validation, at the end, and on a signal to stop.

    A run resumed from it ends as one that was never interrupted: the same weights, optimiser,
    scheduler, early stopping, metrics and TensorBoard figures. Ctrl-C and SIGTERM stop the run
    after the running step, or after the epoch if the step was its last. A second signal stops it at
    once; the checkpoint before is the last one then. With several processes a signal stops the run
    after the epoch.

    Args:
        dirpath: The folder of the checkpoints.
        every_n_train_steps: Optimiser steps between saves within an epoch; None: no such saves.
        min_interval_s: The shortest time between two saves after epochs, in seconds: saving takes
            longer than the shortest epochs of a small network.

    Raises:
        ConfigError: If ``every_n_train_steps`` is below 1 or ``min_interval_s`` below 0.
    """

    def __init__(
        self,
        dirpath: Text | Path,
        every_n_train_steps: PositiveCount | None = None,
        min_interval_s: Seconds = 2.0,
    ) -> None:
        super().__init__()
        self.every_n_train_steps = every_n_train_steps
        self.min_interval_s = min_interval_s
        check_arguments(LastCheckpoint, vars(self), "callbacks.last_checkpoint", complete=False)
        self.path = Path(dirpath) / FILE_NAME
        self._saved_at = 0.0  # on the monotonic clock
        self._due = False  # an epoch was validated, or ended in a run without validation
        self._random_states: dict[str, Any] | None = None  # of a step that the next hook saves
        self._signal: int | None = None
        self._handlers: dict[int, Handler] = {}
        self._process = 0
        self._patience: dict[str, int] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep the patience of the config, because a checkpoint overwrites it with its own."""
        self._patience = {c.state_key: c.patience for c in _early_stoppings(trainer)}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen to signals; in a resumed run, drop what was logged after the checkpoint."""
        self._due, self._random_states = False, None
        self._saved_at = time.monotonic()
        self._listen()
        if trainer.global_step == 0:
            return
        for logger in _tensorboards(trainer):
            logger.forget_from(trainer.global_step)
        for stopping in _early_stoppings(trainer):
            stopping.patience = self._patience[stopping.state_key]
            # Lightning does not restore that the run was stopped, and would train one more epoch.
            if stopping.stopped_epoch and stopping.wait_count >= stopping.patience:
                trainer.should_stop = True

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Plan to save this step after a signal or at the interval."""
        steps = self.every_n_train_steps
        wanted = steps is not None and trainer.global_step % steps == 0
        wanted |= self._signal is not None and trainer.world_size == 1
        # No checkpoint holds the gradients of an accumulation; the end of an epoch has its own
        # hooks.
        between = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        last = batch_idx + 1 >= trainer.num_training_batches
        self._random_states = random_states() if wanted and between and not last else None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Save the step before, whose metrics have reached the loggers by now."""
        if self._random_states is None:
            return
        # Lightning has already counted and augmented the next batch; the resumed run does both
        # again.
        before, self._random_states = self._random_states, None
        now, progress = random_states(), trainer.fit_loop.epoch_loop.batch_progress
        is_last = progress.is_last_batch
        restore_random_states(before)
        progress.is_last_batch = False
        self._save_without_the_begun(trainer, progress)
        progress.is_last_batch = is_last
        restore_random_states(now)
        if self._signal is not None:
            self._stop(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Plan to save this epoch when it is over."""
        self._due |= not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Plan to save every epoch of a run without validation."""
        self._due |= not trainer.enable_validation
        if self._due:
            # Lightning keeps a resumed epoch from plateau schedulers, since a checkpoint has no
            # metrics; but this epoch was validated after the run was resumed.
            trainer.fit_loop._restarting = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the epoch before, which is wholly over only now."""
        stopping = self._is_stopping(trainer) and trainer.global_step > 0
        if not stopping and not self._is_time(trainer):
            return
        # Otherwise Lightning would resume the new epoch as one without batches left.
        self._save_without_the_begun(trainer, trainer.fit_loop.epoch_progress)
        if stopping:
            self._stop(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the end, so that a run with more epochs can go on from it."""
        self._save(trainer)
        if self._is_stopping(trainer):
            self._stop(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Restore the former signal handlers."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _save_without_the_begun(self, trainer: Trainer, progress: _Progress) -> None:
        """Save without the next epoch or batch, which Lightning counts as begun."""
        for counter in (progress.total, progress.current):
            counter.ready -= 1
        self._save(trainer)
        for counter in (progress.total, progress.current):
            counter.ready += 1

    def _is_time(self, trainer: Trainer) -> bool:
        """Whether an epoch waits to be saved, and any process has waited long enough."""
        if not self._due:
            return False
        waited = time.monotonic() - self._saved_at >= self.min_interval_s
        return trainer.strategy.reduce_boolean_decision(waited, all=False)

    def _save(self, trainer: Trainer) -> None:
        self._due = False
        if not _saves(trainer):
            return
        # The logs first: a resumed run does not write again what a kill loses of them.
        for logger in _tensorboards(trainer):
            logger.flush()
        # False: all of the state, not the weights alone; Lightning warns where this is not given.
        trainer.save_checkpoint(self.path, False)
        self._saved_at = time.monotonic()

    def _is_stopping(self, trainer: Trainer) -> bool:
        """Whether any process got a signal to stop; all processes must call this."""
        return trainer.strategy.reduce_boolean_decision(self._signal is not None, all=False)

    def _stop(self, trainer: Trainer) -> None:
        saved = self.path if _saves(trainer) else None
        raise Interrupted(
            self._signal or signal.SIGTERM, saved, trainer.current_epoch, trainer.global_step
        )

    def _listen(self) -> None:
        self._signal = None
        if threading.current_thread() is not threading.main_thread():
            return
        self._process = os.getpid()
        self._handlers = {number: signal.getsignal(number) for number in SIGNALS}
        for number in SIGNALS:
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            # A forked loader process gets Ctrl-C too, but the parent ends it.
            if number == signal.SIGTERM:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        if self._signal is not None:
            raise Interrupted(number)
        self._signal = number
        name = signal.Signals(number).name
        log.warning("%s: the run saves after this step and stops; again: it stops at once.", name)


def saved_last(trainer: Trainer) -> str:
    """Return the path of the last step's checkpoint after ``fit``; "" where none was saved."""
    if not _saves(trainer):
        return ""
    paths = [
        Path(callback.path if isinstance(callback, LastCheckpoint) else callback.last_model_path)
        for callback in trainer.callbacks  # type: ignore[attr-defined]
        if isinstance(callback, LastCheckpoint | ModelCheckpoint)
    ]
    return next((str(path) for path in paths if path.is_file()), "")


def _early_stoppings(trainer: Trainer) -> list[EarlyStopping]:
    return [c for c in trainer.early_stopping_callbacks if isinstance(c, EarlyStopping)]


def _saves(trainer: Trainer) -> bool:
    return not trainer.fast_dev_run  # type: ignore[attr-defined]


def _tensorboards(trainer: Trainer) -> list[TensorBoardLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
