"""What checkpoints, early stopping, the scheduler and a sweep look at."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from src.models.multihead_module import MultiheadLitModule
from src.utils.errors import ConfigError


def resolve_monitor(cfg: DictConfig, model: MultiheadLitModule) -> None:
    """Fills ``monitor`` in place and checks every metric name that the config waits for.

    Where the config leaves it null, what is monitored is the mean error in JND steps, or the
    loss where some head has no step.

    Raises:
        ConfigError: If a name is none that the model will log.
    """
    if cfg.monitor.metric is None:
        by_jnd = "val/mae_jnd" in model.logged_names
        cfg.monitor.metric = "val/mae_jnd" if by_jnd else "val/loss"
        cfg.monitor.mode = "min"
    names = set(model.logged_names)
    for key in ("monitor.metric", "optimized_metric", "model.scheduler_monitor"):
        name = OmegaConf.select(cfg, key)
        if name and name not in names:
            raise ConfigError(
                f"{key} is {name!r}, which this model does not log. It logs: "
                f"{', '.join(sorted(names))}."
            )
