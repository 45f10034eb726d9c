"""Build callbacks, loggers and the trainer from their configs."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig

from src.utils.errors import ConfigError
from src.utils.foreign_errors import called
from src.utils.pylogger import RankedLogger

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer
    from lightning.pytorch.loggers import Logger

log = RankedLogger(__name__, rank_zero_only=True)

# Loggers whose package is not installed by default: _target_ -> (module, package).
OPTIONAL_LOGGERS = {
    "lightning.pytorch.loggers.wandb.WandbLogger": ("wandb", "wandb"),
    "lightning.pytorch.loggers.mlflow.MLFlowLogger": ("mlflow", "mlflow"),
    "lightning.pytorch.loggers.comet.CometLogger": ("comet_ml", "comet-ml"),
    "aim.pytorch_lightning.AimLogger": ("aim", "aim"),
}
NEPTUNE_LOGGER = "lightning.pytorch.loggers.neptune.NeptuneLogger"


def instantiate_callbacks(callbacks_cfg: DictConfig | ListConfig | None) -> list[Callback]:
    """Instantiate the callbacks of ``cfg.callbacks`` in its order; a null entry is left out.

    Raises:
        ConfigError: If an entry is not a config with a ``_target_``, or its class refuses it.
    """
    return [
        _instantiate(entry, f"callbacks.{name}")
        for name, entry in _entries(callbacks_cfg, "callbacks")
    ]


def instantiate_loggers(logger_cfg: DictConfig | ListConfig | None) -> list[Logger]:
    """Instantiate the loggers of ``cfg.logger`` in its order; a null entry is left out.

    Raises:
        ConfigError: If an entry is not a config with a ``_target_``, its package is missing, or
            its class refuses it.
    """
    entries = _entries(logger_cfg, "logger")
    # Check all before making the first: some loggers start a run on a server.
    for name, entry in entries:
        check_installed(name, entry._target_)
    return [_instantiate(entry, f"logger.{name}") for name, entry in entries]


def instantiate_trainer(
    trainer_cfg: Mapping[str, Any],
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
) -> Trainer:
    """Instantiate the trainer; it saves checkpoints only if one of the callbacks does.

    Raises:
        ConfigError: If Lightning refuses it, for instance because this machine has no such device.
    """
    from lightning.pytorch.callbacks import Checkpoint

    from src.training.profiler import NoProfiler

    # Lightning has a handler of its own, and Hydra's would write every message again.
    if logging.getLogger().hasHandlers():
        logging.getLogger("lightning").handlers.clear()
    objects: dict[str, Any] = {"callbacks": list(callbacks), "logger": list(loggers)}
    if not any(isinstance(callback, Checkpoint) for callback in callbacks):
        # Lightning would add a callback whose file names Hydra cannot read (epoch=0-…).
        objects["enable_checkpointing"] = False
    if trainer_cfg.get("profiler") is None:
        objects["profiler"] = NoProfiler()
    wanted = ", ".join(f"{key}={trainer_cfg.get(key)}" for key in ("accelerator", "devices"))
    trainer: Trainer = _instantiate(trainer_cfg, f"trainer ({wanted})", **objects)
    return trainer


def _instantiate(cfg: Mapping[str, Any], key: str, **objects: Any) -> Any:
    return called(partial(hydra.utils.instantiate, cfg, **objects), key)


def _entries(cfg: object, group: str) -> list[tuple[str, DictConfig]]:
    if not cfg:
        return []
    if not isinstance(cfg, DictConfig):
        raise ConfigError(
            f"{group}: expected entries by name, each with a _target_, found {type(cfg).__name__}"
        )
    entries = []
    for name, entry in ((str(name), entry) for name, entry in cfg.items()):
        if entry is None:
            continue
        if not isinstance(entry, DictConfig) or "_target_" not in entry:
            raise ConfigError(
                f"{group}.{name}: expected a config with a _target_, found {entry!r}; null leaves "
                "the entry out"
            )
        log.debug("%s.%s: %s", group, name, entry._target_)
        entries.append((name, entry))
    return entries


def check_installed(name: str, target: str) -> None:
    """Refuse a logger whose package is not installed.

    Raises:
        ConfigError: The package is missing; the message says how to install it.
    """
    if target == NEPTUNE_LOGGER:
        raise ConfigError(
            f"logger.{name}: Neptune's service has ended and Lightning 2.6 can no longer log to "
            "it; use another logger, for example logger=mlflow"
        )
    module, package = OPTIONAL_LOGGERS.get(target, (None, None))
    if module is not None and importlib.util.find_spec(module) is None:
        raise ConfigError(
            f"logger.{name}: the package {package} is not installed; "
            f'pip install {package}, or all loggers by pip install -e ".[loggers]"'
        )


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
