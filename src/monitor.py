"""What checkpoints, early stopping, the scheduler and a sweep look at, and which way is better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from src.models.multihead_module import MultiheadLitModule
from src.utils.errors import ConfigError

DIRECTIONS = {"min": "minimize", "max": "maximize"}


def resolve_monitor(cfg: DictConfig, model: MultiheadLitModule) -> None:
    """Fill ``monitor`` in place, and check every metric that the config waits for.

    Where the config leaves ``monitor.metric`` null, what is monitored is the mean error in JND
    steps, or the loss where some head has no step. Where it leaves ``monitor.mode`` null, the
    module says whether the metric rises or falls while learning goes well.

    Raises:
        ConfigError: If a name is none that the model will log, or a mode says that a metric is
            better the other way.
    """
    known = model.metric_directions
    if cfg.monitor.metric is None:
        cfg.monitor.metric = model.default_monitor
    _check_known("monitor.metric", cfg.monitor.metric, known)
    if cfg.monitor.mode is None:
        cfg.monitor.mode = known[cfg.monitor.metric]
    for name_key, mode_key in _looked_at(cfg):
        name = OmegaConf.select(cfg, name_key)
        if not name:
            continue
        _check_known(name_key, name, known)
        mode = OmegaConf.select(cfg, mode_key) if mode_key else None
        if mode is not None and mode != known[name]:
            raise ConfigError(
                f"{mode_key} is {mode}, but {name} ({name_key}) is better when it is "
                f"{'larger' if known[name] == 'max' else 'smaller'}: set {mode_key}={known[name]}"
            )
    check_steps(cfg)
    _check_sweep(cfg, known)


def _looked_at(cfg: DictConfig) -> Iterator[tuple[str, str | None]]:
    """Yield the keys of each metric's name and of its mode."""
    yield "monitor.metric", "monitor.mode"
    yield "optimized_metric", None
    has_mode = "mode" in (cfg.model.get("scheduler") or {})
    yield "model.scheduler_monitor", "model.scheduler.mode" if has_mode else None
    for name, entry in (cfg.get("callbacks") or {}).items():
        if isinstance(entry, DictConfig) and "monitor" in entry:
            mode = f"callbacks.{name}.mode" if "mode" in entry else None
            yield f"callbacks.{name}.monitor", mode


def _check_known(key: str, name: str, known: Mapping[str, str]) -> None:
    if name not in known:
        raise ConfigError(
            f"{key} is {name!r}, which this model does not log. It logs: "
            f"{', '.join(sorted(known))}."
        )


def check_steps(cfg: DictConfig) -> None:
    """Refuse a metric of the validation for a checkpoint that is saved between two validations.

    It would be compared by the figures of the last one.

    Raises:
        ConfigError: Names the callback's key.
    """
    for name, entry in (cfg.get("callbacks") or {}).items():
        if not isinstance(entry, DictConfig) or not str(entry.get("monitor")).startswith("val/"):
            continue
        steps = entry.get("every_n_train_steps")
        if steps:
            raise ConfigError(
                f"callbacks.{name}.every_n_train_steps is {steps}, but {entry.monitor} is only "
                "known after a validation: leave it null, or set trainer.val_check_interval="
                f"{steps}. callbacks.last_checkpoint.every_n_train_steps saves between validations"
            )


def _check_sweep(cfg: DictConfig, known: Mapping[str, str]) -> None:
    if not cfg.get("optimized_metric") or not HydraConfig.initialized():
        return
    hydra = HydraConfig.get()
    direction = hydra.sweeper.get("direction") if hydra.mode is RunMode.MULTIRUN else None
    expected = DIRECTIONS[known[cfg.optimized_metric]]
    if direction is not None and direction != expected:
        raise ConfigError(
            f"hydra.sweeper.direction is {direction}, but the search would have to {expected} "
            f"optimized_metric={cfg.optimized_metric}: set hydra.sweeper.direction={expected}"
        )
