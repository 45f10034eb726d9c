"""A module whose training goes on from a checkpoint as if it had not been interrupted.

The states of the random generators are plain data, so that the training draws what it would have:
numpy's own state tuple does not load with ``weights_only=True``; ints, lists and tensors do.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn

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


def random_states() -> dict[str, Any]:
    """Return the states of Python's, numpy's (the old global one) and torch's generators."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        "python": [version, list(words), gauss],
        "numpy": [str(name), np.asarray(keys).tolist(), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "mps": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
    }


def checked_random_states(states: Any) -> dict[str, Any] | None:
    """Check the states in a checkpoint: numpy would read beyond the end of wrong ones.

    Raises:
        CheckpointError: If a generator's state is none.
    """
    if states is None:
        return None
    match states:
        case {
            "python": [3, [*python], gauss],
            "numpy": ["MT19937", [*numpy], int(position), has_gauss, float(cached)],
            "torch": torch.Tensor() as own,
            "cuda": [*cuda],
            "mps": mps,
        }:
            pass
        case _:
            raise CheckpointError("random_states are none of this version")
    words_fit = len(python) == 625 and len(numpy) == 624 and 0 <= position <= 624
    words_fit &= all(type(word) is int and 0 <= word < 2**32 for word in (*python, *numpy))
    words_fit &= python[-1] <= 624
    if not words_fit or has_gauss not in (0, 1) or not isinstance(gauss, float | None):
        raise CheckpointError("random_states: python or numpy has no state of a Mersenne Twister")
    expected = torch.get_rng_state()
    devices = [state for state in (*cuda, mps) if state is not None]
    if own.shape != expected.shape or not all(_is_bytes(state) for state in (own, *devices)):
        raise CheckpointError("random_states: torch has no state of a generator")
    if not math.isfinite(cached) or (gauss is not None and not math.isfinite(gauss)):
        raise CheckpointError("random_states: a normal number is not finite")
    return states


def _is_bytes(state: Any) -> bool:
    return isinstance(state, torch.Tensor) and state.dtype == torch.uint8 and state.ndim == 1


def restore_random_states(states: dict[str, Any]) -> None:
    """Put the generators where :func:`random_states` found them.

    Devices that are not there, or of another number than then, are left as they are.
    """
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state(  # noqa: NPY002
        (name, np.array(keys, dtype=np.uint32), position, has_gauss, cached)
    )
    torch.set_rng_state(states["torch"].cpu())
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
    if torch.backends.mps.is_available() and states["mps"] is not None:
        torch.mps.set_rng_state(states["mps"].cpu())
