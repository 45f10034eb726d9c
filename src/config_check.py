"""A composed config, checked whole before anything starts.

Every key of our own has a type and bounds: those of :mod:`src.config_sections`, and for what a
``_target_`` names those of the constructor's signature. What passes is then built once without
data, so that what Lightning, torch or a constructor refuses is heard too. So a mistake is one
sentence that names the key, before data are made or anything is trained.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from src.checkpoints.resume import LAST, goes_on, newest_run
from src.checkpoints.zoo import is_zoo, model_path
from src.command_line import FORMER
from src.config_sections import (
    CalibrateConfig,
    EvalConfig,
    ExportConfig,
    PredictConfig,
    Task,
    TrainConfig,
)
from src.schema.arguments import check_arguments, section, shown
from src.schema.foreign import bounds_of
from src.schema.nodes import check_node, check_nodes, holds_nodes, node_arguments
from src.schema.plain import check_groups, naming_interpolation, resolved
from src.schema.specs import TARGET
from src.training.instantiators import check_installed, instantiate_trainer
from src.utils.errors import ConfigError
from src.utils.foreign_errors import called
from src.utils.trainer import make_trainer

__all__ = [
    "CalibrateConfig",
    "EvalConfig",
    "ExportConfig",
    "PredictConfig",
    "TrainConfig",
    "check_config",
]

MAKE_TRAINER = f"{make_trainer.__module__}.{make_trainer.__name__}"
# Of the trainer: other keys of the config say them.
TRAINER_OBJECTS = ("callbacks", "logger")
# Why a command takes no model of the zoo.
NOT_OF_ZOO: Mapping[type[Task], str] = {
    TrainConfig: "weights without the state of a training: begin with them by "
    "model.init_from=zoo:NAME, or measure them by python src/eval.py ckpt_path=zoo:NAME",
    CalibrateConfig: "which is calibrated, and calibrating would write into the zoo: copy its "
    ".safetensors file, and name the copy",
}


def check_config(cfg: DictConfig, schema: type[Task], *, devices: bool = True) -> None:
    """Check every key of a composed config, and build once what needs no data.

    Args:
        cfg: As Hydra composed it.
        schema: The command's own keys.
        devices: Whether the trainer is built too: that asks for its devices, which may be those of
            another machine.

    Raises:
        ConfigError: For the first key that is unknown, missing, of another type or out of bounds,
            or whose value its class refuses.
    """
    check_groups(cfg, schema)
    with naming_interpolation(cfg):
        values = resolved(cfg)
    check_values(values, schema, devices=devices)
    if schema is TrainConfig and cfg.train:
        _check_validation(cfg)


def check_given(cfg: DictConfig, usage: str, *keys: str) -> None:
    """Refuse a config without what its command cannot do without.

    Raises:
        ConfigError: Names the first key that is missing, and how the command is used.
    """
    for key in keys:
        if OmegaConf.is_missing(cfg, key):
            raise ConfigError(f"{key} is missing: python {usage}")


def _check_validation(cfg: DictConfig) -> None:
    """Refuse a metric of the validation where there will be no such figure."""
    from src.monitor import SWITCHED_OFF, check_steps, refuse_without_validation

    cfg = cfg.copy()
    if cfg.monitor.metric is None:  # every metric that the module chooses is of the validation
        cfg.monitor.metric = "val/loss"
    check_steps(cfg)
    trainer = cfg.trainer
    if trainer.get("limit_val_batches") == 0 and not trainer.get("fast_dev_run"):
        refuse_without_validation(cfg, SWITCHED_OFF)


def check_values(
    values: Mapping[str, Any],
    schema: type[Task],
    *,
    groups: Collection[str] | None = None,
    devices: bool = True,
) -> None:
    """Check a resolved config; see :func:`check_config`.

    Of ``data``, ``model``, ``callbacks``, ``logger`` and ``trainer`` those in ``groups`` are looked
    into; None: all. No check of one looks at another.
    """
    section(schema, values)
    _check_checkpoint(values, schema)
    known = {field.name for field in fields(schema)}
    wanted = known & values.keys() & (known if groups is None else set(groups))
    if "data" in wanted:
        _check_data(values["data"], schema)
    if "callbacks" in wanted:
        _check_callbacks(values["callbacks"], (values.get("monitor") or {}).get("mode"))
    if "logger" in wanted:
        _check_loggers(values["logger"])
    if "trainer" in wanted:
        check_trainer(values["trainer"])
        if devices:
            _try(values["trainer"], "trainer", instantiate_trainer)
    if "model" in wanted:
        check_model(values)


def _check_checkpoint(values: Mapping[str, Any], schema: type[Task]) -> None:
    path: Any = values.get("ckpt_path")
    if schema is TrainConfig:
        _check_task(values)
        if path == LAST:  # only in a check: a run says the file by now
            runs_dir = Path(values["paths"]["log_dir"], values["task_name"], "runs")
            if newest_run(runs_dir) is None:
                raise ConfigError(f"ckpt_path is 'last', and no run in {runs_dir} can go on")
            return
        if path is None or goes_on(path):
            return
    if is_zoo(path) and schema in NOT_OF_ZOO:
        raise ConfigError(f"ckpt_path is {shown(path)}, {NOT_OF_ZOO[schema]}")
    if not model_path(path).is_file():
        others = f", the folder of a run, {LAST} or null" if schema is TrainConfig else ""
        raise ConfigError(f"ckpt_path is {shown(path)}; expected the file of a checkpoint{others}")


def _check_task(values: Mapping[str, Any]) -> None:
    """Refuse a training that would do nothing."""
    if not values["train"] and not values["test"]:
        raise ConfigError("train and test are both false: nothing would be done; set one to true")
    if not values["train"] and values.get("ckpt_path") is None:
        raise ConfigError(
            "train=false leaves nothing to test: name a checkpoint with ckpt_path=..., or use "
            "src/eval.py, which takes model and data from the checkpoint"
        )


def _check_data(node: Mapping[str, Any], schema: type[Task]) -> None:
    from src.data.vimh_datamodule import VIMHDataModule

    from_checkpoint = schema is not TrainConfig
    if from_checkpoint:  # null: as the checkpoint has it
        node = {k: v for k, v in node.items() if v is not None or k == TARGET}
    check_node(node, "data", base=VIMHDataModule)
    if not node.keys() & {"data_dir", "source"} and from_checkpoint:
        node = {**node, "data_dir": "."}  # the checkpoint's is known later; nothing is read of it
    with _unheard():  # no data are read or made
        called(partial(instantiate, node), "data")


def _check_callbacks(entries: Mapping[str, Any] | None, mode: str | None) -> None:
    from lightning.pytorch import Callback

    there = {name: entry for name, entry in (entries or {}).items() if entry is not None}
    for name, entry in there.items():
        # Where monitor.mode is null, the module says it before a run makes its callbacks.
        if isinstance(entry, Mapping) and "mode" in entry and mode is None:
            there[name] = entry = {**entry, "mode": entry["mode"] or "min"}
        check_node(entry, f"callbacks.{name}", base=Callback)
    for name, entry in there.items():
        _try(entry, f"callbacks.{name}")


def _check_loggers(entries: Mapping[str, Any] | None) -> None:
    """Check the loggers' arguments; none is built, since some ask a server."""
    from lightning.pytorch.loggers import Logger

    for name, entry in (entries or {}).items():
        if entry is None:
            continue
        if isinstance(entry, Mapping):
            check_installed(name, str(entry.get(TARGET)))
        check_node(entry, f"logger.{name}", base=Logger)


def check_model(values: Mapping[str, Any]) -> None:
    """Check ``model`` and ``loss``.

    Raises:
        ConfigError: Naming the key.
    """
    from src.model_settings import ModelSettings

    model = values["model"]
    # Configs of older runs have them, to no effect; they may not say anything else.
    for key, effect in (("loss", values["loss"]), ("auto_configure_from_dataset", True)):
        if model.get(key, effect) != effect:
            raise ConfigError(f"model.{key} is {shown(model[key])}, but {FORMER[f'model.{key}']}")
    if values.get("train") and model.get("optimizer") is None:
        raise ConfigError(f"model.optimizer is null; expected a mapping with a {TARGET} to train")
    # Of the data, only what is read: a recipe would take longer than all the rest.
    data = {"target_width": values["data"].get("target_width")}
    read = DictConfig({"data": data, "model": model, "loss": values["loss"]})
    ModelSettings.of(read).try_optimizer()


def check_trainer(node: Any) -> None:
    """Check the arguments of Lightning's Trainer; null is its own default.

    Raises:
        ConfigError: Naming the key.
    """
    from lightning.pytorch import Trainer

    own = isinstance(node, Mapping) and node.get(TARGET) == MAKE_TRAINER
    given = node_arguments(node, "trainer", base=None if own else Trainer)
    for key in TRAINER_OBJECTS:
        if given.get(key) is not None:
            raise ConfigError(f"trainer.{key} is not read; expected null, and {key}=... instead")
    objects = {key for key, value in given.items() if holds_nodes(value)}
    for key in objects:
        check_nodes(given[key], f"trainer.{key}")
    plain = {k: v for k, v in given.items() if k not in objects and v is not None}
    check_arguments(Trainer, plain, "trainer", bounds=bounds_of(Trainer))
    if node.get("max_epochs") is None and not (node.get("max_steps") or node.get("max_time")):
        expected = "a whole number of at least 1, or -1 for no limit"
        raise ConfigError(f"trainer.max_epochs is null; expected {expected}")


@contextmanager
def _unheard() -> Iterator[None]:
    """Silence logs and warnings, and restore the environment: what is built here is thrown away."""
    disabled = logging.root.manager.disable
    environment = dict(os.environ)
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]


def _try(node: Any, where: str, make: Callable[[Any], object] = instantiate) -> None:
    """Build a node; if it is refused, find the key at fault by leaving out one after another.

    Signatures do not say all: two settings may exclude each other, or a device may not be there.
    """
    try:
        with _unheard():
            called(partial(make, node), where)
    except ConfigError as error:
        key = next((key for key in node if _is_at_fault(node, key, where, make)), None)
        if key is None or f"{where}.{key}" in str(error):
            raise
        reason = str(error).partition(": ")[2] or str(error)
        raise ConfigError(f"{where}.{key} is {shown(node[key])}: {reason}") from error


def _is_at_fault(node: Any, key: str, where: str, make: Callable[[Any], object]) -> bool:
    if node[key] is None or key == TARGET:
        return False
    try:
        with _unheard():
            called(partial(make, {k: v for k, v in node.items() if k != key}), where)
    except ConfigError:
        return False
    return True
