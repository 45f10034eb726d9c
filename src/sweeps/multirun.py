"""Refuse what does not work in a Hydra multirun before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from src.utils.errors import ConfigError

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


def refuse_subprocesses(trainer: Trainer) -> None:
    """Refuse, in a multirun, a strategy that starts this command again for each device.

    Each of these processes would begin the multirun again. SLURM starts the processes itself, so
    that any strategy works there.

    Raises:
        ConfigError: If it would start subprocesses in a job of a multirun.
    """
    from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

    if not HydraConfig.initialized() or HydraConfig.get().mode is not RunMode.MULTIRUN:
        return
    if isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher):
        raise ConfigError(
            f"trainer.strategy: {type(trainer.strategy).__name__} with {trainer.num_devices} "
            "devices starts the command again for each device, which does not work in a "
            "multirun. trainer.strategy=ddp_spawn does (as in trainer=ddp_sim), or one device a "
            "job (trainer.devices=1) with several jobs side by side; docs/cluster.md"
        )
