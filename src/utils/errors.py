"""Errors that a user can correct, apart from those of data (``VIMHError``)."""

from __future__ import annotations

import signal
import sys
from pathlib import Path


class ConfigError(ValueError):
    """A config or an argument is wrong; the message says key, expected, found and what to do."""


class DivergedError(ConfigError):
    """A training's loss is NaN or infinite, so that its weights are of no use."""


class CheckpointError(ValueError):
    """A checkpoint cannot be written or read; the message names the path and the reason."""


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM has ended the work; no ``Exception``, so that no handler goes on after it.

    Args:
        number: The signal.
        checkpoint: The checkpoint saved because of it; None: none.
        epoch: The epoch that the checkpoint goes on with, from 0.
        step: The optimiser steps in it.
    """

    def __init__(
        self, number: int, checkpoint: Path | None = None, epoch: int = 0, step: int = 0
    ) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.number = number
        self.checkpoint = checkpoint
        self.epoch = epoch
        self.step = step

    @property
    def exit_code(self) -> int:
        """128 plus the signal's number, as a shell has it: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.number


def was_pruned(error: BaseException) -> bool:
    """Whether a pruner of a sweep has raised this, so that it is no failure."""
    # Not imported here: where nobody has imported Optuna, no sweep prunes.
    optuna = sys.modules.get("optuna")
    return optuna is not None and isinstance(error, optuna.TrialPruned)
