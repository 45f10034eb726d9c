"""A run whose folder is removed while it trains ends, and keeps what it has learnt."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from src.checkpoints.resume import CHECKPOINT
from src.utils.errors import CheckpointError


class LostFolder(Callback):
    """Ends a training whose folder is gone, after saving its state at the same place again.

    Checkpoints would make the folder anew, and the run would go on without its logs and its config.

    Args:
        folder: The run's.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder = Path(folder)
        self._opened: int | None = None  # keeps the system from giving its number to another
        self._message: str | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember which folder it is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._opened = os.open(self.folder, os.O_RDONLY)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save and end the run where the folder is gone, in all processes.

        Raises:
            CheckpointError: If it is gone.
        """
        if trainer.strategy.reduce_boolean_decision(self._is_gone(), all=False):
            self._save(trainer)
            raise CheckpointError(str(self._message))

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Save where something else failed first; several processes could not do so together."""
        is_early = self._message is None and isinstance(exception, Exception)
        if is_early and trainer.world_size == 1 and self._is_gone():
            self._save(trainer)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Say of any error in the block that the folder is gone, if it is.

        Raises:
            CheckpointError: In place of the error.
        """
        try:
            yield
        except Exception as error:
            if self._message is None:
                raise
            raise CheckpointError(self._message) from error
        finally:
            if self._opened is not None:
                os.close(self._opened)
                self._opened = None

    def _is_gone(self) -> bool:
        if self._opened is None:
            return False
        try:
            return not os.path.samestat(os.stat(self.folder), os.fstat(self._opened))
        except OSError:
            return True

    def _save(self, trainer: Trainer) -> None:
        path = self.folder / CHECKPOINT
        said = f"{self.folder} was removed while the run trained, so the run ends"
        self._message = said
        try:
            trainer.save_checkpoint(path, False)
        except CheckpointError as error:
            self._message = f"{said}; its state could not be saved: {error}"
            return
        self._message = (
            f"{said}; its state is saved there again: {path} (epoch {trainer.current_epoch}, step "
            f"{trainer.global_step}). To go on, give the same command with ckpt_path={path}"
        )
