"""The checkpoint that a run goes on from, saved where nothing of a step or an epoch is open.

Lightning's ``ModelCheckpoint`` saves within the end of an epoch: before a plateau scheduler has
looked at it and before its metrics are in the logs. A run killed right after would go on without
either. This one saves when the epoch is over, and on Ctrl-C and SIGTERM after the step.
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

from src.checkpoints.random_states import random_states, restore_random_states
from src.loggers.tensorboard_logger import TensorBoardLogger
from src.schema.bounds import PositiveCount, Seconds, Text
from src.utils.errors import ConfigError, Interrupted
from src.utils.pylogger import RankedLogger

log = RankedLogger(__name__, rank_zero_only=True)

FILE_NAME = "last.ckpt"
SIGNALS = (signal.SIGINT, signal.SIGTERM)

Handler = Callable[[int, FrameType | None], Any] | int | None


class LastCheckpoint(Callback):
    """Saves ``last.ckpt`` after epochs with a validation, at the end, and when told to stop.

    A run resumed from it ends as one that was never interrupted: weights, optimiser, scheduler,
    early stopping, metrics, and what TensorBoard shows. Ctrl-C and SIGTERM are heeded after the
    running step, or after the epoch where the step was its last; a second one is heeded at once,
    and then the checkpoint before counts. With several processes they are heeded after the epoch.

    Args:
        dirpath: The folder of the checkpoints.
        every_n_train_steps: Saves also within epochs, after so many optimiser steps; None: not.
        min_interval_s: An epoch that ends sooner than so many seconds after the last save is left
            to the next one: saving takes longer than a small network's shortest epochs are worth.

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
        if min_interval_s < 0:
            raise ConfigError(
                "callbacks.last_checkpoint.min_interval_s: expected at least 0, "
                f"found {min_interval_s}"
            )
        if every_n_train_steps is not None and every_n_train_steps < 1:
            raise ConfigError(
                "callbacks.last_checkpoint.every_n_train_steps: expected at least 1 or null, "
                f"found {every_n_train_steps}"
            )
        self.path = Path(dirpath) / FILE_NAME
        self.every_n_train_steps = every_n_train_steps
        self.min_interval_s = min_interval_s
        self._saved_at = 0.0  # on the monotonic clock
        self._due = False  # an epoch was validated, or ended without there being a validation
        self._random_states: dict[str, Any] | None = None  # of a step that is to be saved
        self._signal: int | None = None
        self._handlers: dict[int, Handler] = {}
        self._process = 0
        self._patience: dict[str, int] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Notes the patience that the config asks for: a checkpoint brings its own."""
        self._patience = {c.state_key: c.patience for c in _early_stoppings(trainer)}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listens to signals; a resumed run forgets what was logged after its checkpoint."""
        self._due, self._random_states = False, None
        self._saved_at = time.monotonic()
        self._listen()
        if trainer.global_step == 0:
            return
        for logger in _tensorboards(trainer):
            logger.forget_from(trainer.global_step)
        for stopping in _early_stoppings(trainer):
            stopping.patience = self._patience[stopping.state_key]
            # Lightning forgets that a run had been stopped, and would train an epoch more.
            if stopping.stopped_epoch and stopping.wait_count >= stopping.patience:
                trainer.should_stop = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves after this step, where a signal or the interval says so."""
        steps = self.every_n_train_steps
        wanted = steps is not None and trainer.global_step % steps == 0
        wanted |= self._signal is not None and trainer.world_size == 1
        # Gradients that are still being summed up are in no checkpoint; the end of an epoch has
        # its own hooks.
        between = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        last = batch_idx + 1 >= trainer.num_training_batches
        self._random_states = random_states() if wanted and between and not last else None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Saves the step before: by now its metrics have reached the loggers."""
        if self._random_states is None:
            return
        # The next batch is there already, counted and augmented; neither has happened yet for the
        # run that goes on.
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
        """Has this epoch saved when it is over."""
        self._due |= not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Has every epoch saved where there is no validation."""
        self._due |= not trainer.enable_validation
        if self._due:
            # Lightning does not show a resumed epoch to plateau schedulers, since a checkpoint has
            # no metrics; but this epoch was validated after it was resumed.
            trainer.fit_loop._restarting = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the epoch before: the first moment at which all of it is over."""
        stopping = self._is_stopping(trainer) and trainer.global_step > 0
        if not stopping and not self._is_time(trainer):
            return
        # Lightning would resume the new epoch as one whose batches have all been seen.
        self._save_without_the_begun(trainer, trainer.fit_loop.epoch_progress)
        if stopping:
            self._stop(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the end, which may be gone on from with more epochs."""
        self._save(trainer)
        if self._is_stopping(trainer):
            self._stop(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Gives the signals back."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _save_without_the_begun(self, trainer: Trainer, progress: _Progress) -> None:
        """Saves what is over: Lightning has counted the next epoch or batch as begun."""
        for counter in (progress.total, progress.current):
            counter.ready -= 1
        self._save(trainer)
        for counter in (progress.total, progress.current):
            counter.ready += 1

    def _is_time(self, trainer: Trainer) -> bool:
        """Whether an epoch waits to be saved, and has waited long enough in any process."""
        if not self._due:
            return False
        waited = time.monotonic() - self._saved_at >= self.min_interval_s
        return trainer.strategy.reduce_boolean_decision(waited, all=False)

    def _save(self, trainer: Trainer) -> None:
        self._due = False
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        # The logs first: what a kill loses of them would not be written again.
        for logger in _tensorboards(trainer):
            logger.flush()
        # Not the weights only; left open, Lightning says at each save that it takes that for no.
        trainer.save_checkpoint(self.path, False)
        self._saved_at = time.monotonic()

    def _is_stopping(self, trainer: Trainer) -> bool:
        """Whether any process was told to stop; every process has to ask."""
        return trainer.strategy.reduce_boolean_decision(self._signal is not None, all=False)

    def _stop(self, trainer: Trainer) -> None:
        saved = None if trainer.fast_dev_run else self.path  # type: ignore[attr-defined]
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
            # A forked loader process: Ctrl-C reaches it too, but ending it is the parent's part.
            if number == signal.SIGTERM:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        if self._signal is not None:
            raise Interrupted(number)
        self._signal = number
        log.warning("%s: saving after this step; once more: at once.", signal.Signals(number).name)


def saved_last(trainer: Trainer) -> str:
    """The checkpoint of a training's last step.

    Args:
        trainer: After ``fit``.

    Returns:
        Its path; empty where none was saved.
    """
    if trainer.fast_dev_run:  # type: ignore[attr-defined]
        return ""
    paths = [
        Path(callback.path if isinstance(callback, LastCheckpoint) else callback.last_model_path)
        for callback in trainer.callbacks  # type: ignore[attr-defined]
        if isinstance(callback, LastCheckpoint | ModelCheckpoint)
    ]
    return next((str(path) for path in paths if path.is_file()), "")


def _early_stoppings(trainer: Trainer) -> list[EarlyStopping]:
    return [c for c in trainer.callbacks if isinstance(c, EarlyStopping)]  # type: ignore[attr-defined]


def _tensorboards(trainer: Trainer) -> list[TensorBoardLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
