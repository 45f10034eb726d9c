"""Why a training ended: said in the log and in ``metrics.json``, whatever it was."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, Timer
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason

from src.utils.errors import DivergedError
from src.utils.pylogger import RankedLogger

log = RankedLogger(__name__, rank_zero_only=True)

DIVERGED = "diverged"
MAX_MESSAGE = 500  # characters
MAX_NOTE_BYTES = 8192


@dataclass(frozen=True)
class Ended:
    """How a training ended."""

    # "max_epochs", "max_steps", "max_time", "early_stopping", "diverged", "fast_dev_run",
    # "no_batches" or "stopped"
    reason: str
    message: str  # the same in words
    epochs: int  # the epochs that are trained, those before it went on included
    steps: int  # the optimiser steps, likewise

    def raise_if_diverged(self) -> None:
        """End the command with an error if the training diverged.

        Raises:
            DivergedError: If the training has diverged.
        """
        if self.reason == DIVERGED:
            raise DivergedError(
                f"{self.message}. What was measured is reported, and metrics.json says so too. "
                "Lower model.optimizer.lr, or set trainer.gradient_clip_val; "
                "trainer.detect_anomaly=true names the operation that fails first"
            )


class Ending(Callback):
    """Notes why a training ends, and ends it where it has diverged.

    It has where the loss is NaN or infinite at the end of an epoch. Nothing brings the weights
    back, so that every further epoch is wasted. A loss that overflows in the middle of an epoch and
    comes back, as in mixed precision, does not count.
    """

    def __init__(self) -> None:
        self.message: str | None = None  # what was seen of a divergence
        self._loss: torch.Tensor | None = None
        # Of processes that are spawned nothing comes back to this one but what they share.
        self._note = torch.zeros(MAX_NOTE_BYTES, dtype=torch.uint8).share_memory_()

    @property
    def ended(self) -> Ended | None:
        """The note of :meth:`on_train_end`; None: nothing was noted."""
        text = bytes(self._note.tolist()).rstrip(b"\0")
        return Ended(**json.loads(text)) if text else None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes why."""
        if not trainer.is_global_zero:
            return
        text = json.dumps(asdict(_ended(trainer))).encode()
        assert len(text) <= MAX_NOTE_BYTES
        self._note[: len(text)] = torch.tensor(list(text), dtype=torch.uint8)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget why a former run was stopped: a checkpoint brings that along."""
        self.message, self._loss = None, None
        self._note.zero_()
        for callback in trainer.early_stopping_callbacks:
            if isinstance(callback, EarlyStopping):
                callback.stopping_reason = EarlyStoppingReason.NOT_STOPPED
                callback.stopping_reason_message = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss without looking at it: that would wait for the device."""
        self._loss = outputs["loss"].detach()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the loss of the epoch's last step, in all processes."""
        loss, self._loss = self._loss, None
        lost = loss is not None and not bool(torch.isfinite(loss).all())
        if not trainer.strategy.reduce_boolean_decision(lost, all=False):
            return
        value = math.nan if loss is None else float(loss)
        self.message = f"the training loss is {value} at the end of epoch {trainer.current_epoch}"
        trainer.should_stop = True


def why_ended(trainer: Trainer) -> Ended:
    """Say why ``trainer.fit`` returned."""
    noted = [c.ended for c in trainer.callbacks if isinstance(c, Ending)]  # type: ignore[attr-defined]
    ended = next((found for found in noted if found is not None), None) or _ended(trainer)
    reason, message = ended.reason, ended.message
    level = log.error if reason == DIVERGED else log.info
    level("Training ended after %d epochs, %d steps: %s", ended.epochs, ended.steps, message)
    return ended


def _ended(trainer: Trainer) -> Ended:
    reason, message = _reason(trainer)
    progress: Any = trainer.fit_loop.epoch_progress.current
    epochs: int = progress.processed
    return Ended(reason, message[:MAX_MESSAGE], epochs, trainer.global_step)


def _reason(trainer: Any) -> tuple[str, str]:
    if message := _divergence(trainer):
        return DIVERGED, f"training has diverged: {message}"
    if trainer.fast_dev_run:
        return "fast_dev_run", f"trainer.fast_dev_run={trainer.fast_dev_run}"
    epochs = trainer.fit_loop.epoch_progress.current.processed
    if trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps:
        return "max_steps", f"trainer.max_steps={trainer.max_steps} reached"
    if trainer.max_epochs not in (None, -1) and epochs >= trainer.max_epochs:
        return "max_epochs", f"trainer.max_epochs={trainer.max_epochs} reached"
    for callback in trainer.callbacks:
        remaining = callback.time_remaining() if isinstance(callback, Timer) else None
        if remaining is not None and remaining <= 0:
            return "max_time", "trainer.max_time is over"
    for callback in trainer.callbacks:
        if not isinstance(callback, EarlyStopping):
            continue
        # The epoch alone does not say so of the first one, which is 0.
        if callback.stopped_epoch or callback.stopping_reason != EarlyStoppingReason.NOT_STOPPED:
            return "early_stopping", f"early stopping: {_stopping_reason(callback)}"
    if trainer.num_training_batches == 0:
        return "no_batches", "there are no training batches"
    return "stopped", "a callback stopped it (trainer.should_stop)"


def _stopping_reason(callback: EarlyStopping) -> str:
    """Return the callback's own words; a run that goes on after it was stopped has none."""
    said = callback.stopping_reason_message
    return said or f"{callback.monitor} had not improved for {callback.patience} validations"


def _divergence(trainer: Any) -> str | None:
    """Say what is not finite; None if everything is."""
    for callback in trainer.callbacks:
        if isinstance(callback, Ending) and callback.message:
            return callback.message
        is_early = isinstance(callback, EarlyStopping)
        if is_early and callback.stopping_reason == EarlyStoppingReason.NON_FINITE_METRIC:
            return _stopping_reason(callback)
    loss = trainer.callback_metrics.get("val/loss")
    if loss is not None and not math.isfinite(loss):
        return f"val/loss is {float(loss)} at the end"
    weights = trainer.lightning_module.parameters()
    if not all(bool(torch.isfinite(weight).all()) for weight in weights):
        return "a weight is NaN or infinite at the end"
    return None
