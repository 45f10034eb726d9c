"""A module whose training goes on from a checkpoint as if it had not been interrupted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn

from src.checkpoints.random_states import (
    checked_random_states,
    random_states,
    restore_random_states,
)
from src.checkpoints.resumed_state import check_optimizers, check_resumed
from src.utils.errors import CheckpointError


class ResumableModule(LightningModule):
    """Saves where the random generators are, and checks what a checkpoint brings back.

    A subclass calls :meth:`check_resumed_optimizers` in ``configure_optimizers``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._random_states: dict[str, Any] | None = None
        self._resumed: dict[str, Any] | None = None  # until the optimiser is there

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the states of the random generators."""
        checkpoint["random_states"] = random_states()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check the checkpoint, and keep its random states until the training starts.

        Raises:
            CheckpointError: If a part of it is not of the kind of this run's own.
        """
        try:
            check_resumed(checkpoint, self)
            self._random_states = checked_random_states(checkpoint.get("random_states"))
        except CheckpointError as error:
            raise CheckpointError(f"{self.trainer.ckpt_path}: {error}") from error
        self._resumed = checkpoint if self.trainer.state.fn == TrainerFn.FITTING else None

    def on_train_start(self) -> None:
        """Restore the generators, so that a resumed run draws what it would have drawn."""
        if self._random_states is not None:
            restore_random_states(self._random_states)
            self._random_states = None

    def check_resumed_optimizers(
        self,
        optimizer: torch.optim.Optimizer,
        scheduler: Any,
        make: Callable[..., torch.optim.Optimizer],
    ) -> None:
        """Check the states that Lightning puts in as soon as optimiser and scheduler are there.

        Args:
            optimizer: Of this run.
            scheduler: Of this run, or None.
            make: Makes the optimiser: ``make(params=...)``.

        Raises:
            CheckpointError: If a state is not of the kind of this run's own.
        """
        checkpoint, self._resumed = self._resumed, None
        if checkpoint is None:
            return
        try:
            check_optimizers(checkpoint, optimizer, scheduler, make)
        except CheckpointError as error:
            raise CheckpointError(f"{self.trainer.ckpt_path}: {error}") from error
