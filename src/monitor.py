"""What checkpoints, early stopping, the scheduler and a sweep look at, and which way is better.

A training without any validation leaves out what would look at one, or is refused, before all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from omegaconf import DictConfig, OmegaConf

from src.data.vimh_datamodule import VIMHDataModule
from src.going_on import Former
from src.models.multihead_module import SCHEDULER_MONITOR, MultiheadLitModule
from src.utils.errors import ConfigError
from src.utils.pylogger import RankedLogger

log = RankedLogger(__name__, rank_zero_only=True)

OF_VALIDATION = "val/"
PLATEAU = "ReduceLROnPlateau"
SWITCHED_OFF = "trainer.limit_val_batches=0"
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
        if not isinstance(entry, DictConfig):
            continue
        steps = entry.get("every_n_train_steps")
        if steps and str(entry.get("monitor")).startswith(OF_VALIDATION):
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


def plan_without_validation(
    cfg: DictConfig, trainer: Any, datamodule: VIMHDataModule, former: Former | None = None
) -> str | None:
    """Leave out what waits for a validation where there will be none, and say so.

    Early stopping and the best checkpoint look at its metrics, and without them Lightning would
    raise at the end of the first epoch, after the work.

    Args:
        cfg: The composed config.
        trainer: Its callbacks and ``limit_val_batches`` are changed.
        datamodule: The data that it will train on.
        former: The checkpoint that the training goes on from.

    Returns:
        Why there is none; None where there is one, or nothing to train.

    Raises:
        ConfigError: If a sweep or the scheduler needs a metric of the validation, which is never
            there or not in each epoch.
    """
    epochs_done = 0 if former is None else former.epochs
    why = why_no_validation(trainer, datamodule, epochs_done)
    if former is not None and former.is_finished:
        return None
    if why is None:
        _check_plateau(cfg, trainer, datamodule)
        return None
    refuse_without_validation(cfg, why)
    left_out = [
        callback
        for callback in trainer.callbacks
        if isinstance(callback, EarlyStopping | ModelCheckpoint)
        and str(callback.monitor).startswith(OF_VALIDATION)
    ]
    trainer.callbacks = [callback for callback in trainer.callbacks if callback not in left_out]
    # Otherwise Lightning would refuse some of the reasons, and validate before training.
    trainer.limit_val_batches = 0
    log.warning(
        "This training has no validation: %s. So there is no best epoch%s; the weights of the last "
        "step are tested.",
        why,
        " and no early stopping" if any(isinstance(c, EarlyStopping) for c in left_out) else "",
    )
    return why


def refuse_without_validation(cfg: DictConfig, why: str) -> None:
    """Refuse a config that cannot do without a metric of the validation.

    Raises:
        ConfigError: If a sweep or the scheduler needs such a metric; names the key.
    """
    needed = {
        "optimized_metric": cfg.get("optimized_metric"),
        "model.scheduler_monitor": _plateau_monitor(cfg),
    }
    for key, name in needed.items():
        if str(name).startswith(OF_VALIDATION):
            raise ConfigError(f"{key} is {name}, but this training has no validation: {why}")


def _plateau_monitor(cfg: DictConfig) -> str | None:
    """Return the metric that a plateau scheduler follows; None for other schedulers."""
    scheduler = cfg.model.get("scheduler")
    if scheduler is None or not str(scheduler.get("_target_")).endswith(PLATEAU):
        return None
    return str(cfg.model.get("scheduler_monitor") or SCHEDULER_MONITOR)


def _check_plateau(cfg: DictConfig, trainer: Any, datamodule: VIMHDataModule) -> None:
    """Refuse a plateau scheduler where an epoch may end without a validation.

    Lightning asks for its metric at the end of each epoch, and raises after the work of the first.
    """
    name, every = _plateau_monitor(cfg), trainer.val_check_interval
    if name is None or not name.startswith(OF_VALIDATION) or trainer.fast_dev_run:
        return
    batches = training_batches(trainer, datamodule)
    if trainer._val_check_time_interval is not None:
        found = f"by time, trainer.val_check_interval={cfg.trainer.val_check_interval}"
    elif trainer.check_val_every_n_epoch is None and every > batches:
        found = f"only every {every} batches by trainer.val_check_interval={every}"
    else:
        return
    raise ConfigError(
        f"model.scheduler needs {name} at the end of each epoch, but validations come {found}, and "
        f"an epoch has {batches} batches: set trainer.val_check_interval to at most {batches}, or "
        "model.scheduler_monitor to a metric of train/"
    )


def why_no_validation(trainer: Any, datamodule: VIMHDataModule, epochs_done: int = 0) -> str | None:
    """The key of the config by which no validation takes place; None where one does."""
    if trainer.fast_dev_run:
        return None
    if trainer.limit_val_batches == 0:
        return SWITCHED_OFF
    sizes = datamodule.splits.sizes
    if sizes["val"] == 0:
        return f"no sample is left for it by data.train_val_test_split (train {sizes['train']})"
    batches = training_batches(trainer, datamodule)
    interval = trainer.val_check_interval
    if batches == 0 or trainer._val_check_time_interval is not None:
        return None
    every = trainer.check_val_every_n_epoch
    if isinstance(interval, int) and every is not None and interval > batches:
        return f"trainer.val_check_interval={interval}, and an epoch has {batches} batches"
    step = interval if isinstance(interval, int) else max(1, int(batches * interval))
    if every is None:
        first = (epochs_done * batches // step + 1) * step
    else:
        first = (epochs_done // every + 1) * every * batches - batches + step
    steps = trainer.max_steps * trainer.accumulate_grad_batches
    if trainer.max_steps != -1 and steps < first:
        return f"trainer.max_steps={trainer.max_steps} ends it before batch {first}, the first one"
    epochs = trainer.max_epochs
    if epochs not in (None, -1) and epochs * batches < first:
        key = "val_check_interval" if every is None else "check_val_every_n_epoch"
        return (
            f"trainer.max_epochs={epochs} ends it before batch {first}, the first one by "
            f"trainer.{key}={interval if every is None else every}"
        )
    return None


def training_batches(trainer: Any, datamodule: VIMHDataModule) -> int:
    """The training batches of an epoch in each process."""
    samples = datamodule.splits.sizes["train"] // trainer.world_size
    batches = samples / datamodule.batch_size
    # The loader leaves a last small batch out, where there are others.
    count = math.floor(batches) if batches > 2 else math.ceil(batches)
    limit = trainer.limit_train_batches
    return min(count, limit) if isinstance(limit, int) else int(count * limit)
