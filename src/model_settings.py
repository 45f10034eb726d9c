"""What a config says of the model, checked before anything is built.

A checkpoint's config names classes too. A path that is not in the tables here, of this project's
modules, networks and losses, is imported only if the user trusts its module:
:mod:`src.utils.trust`.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType, ModuleType
from typing import Any

import hydra
import torch
from omegaconf import DictConfig
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from src.checkpoints.zoo import model_path
from src.command_line import FORMER
from src.models import components, losses
from src.models.components import MultiheadNetwork
from src.models.losses import CrossEntropyHead, HeadLoss
from src.models.multihead_module import SCHEDULER_MONITOR, MultiheadLitModule
from src.schema.arguments import check_arguments, section, shown, signature_of, unknown_key
from src.schema.bounds import Real, Text, Texts
from src.schema.nodes import check_node, node_arguments
from src.schema.plain import plain_node, plain_values
from src.schema.specs import TARGET, Lookup, NotDerivedError, Spec, imported, spec_of
from src.utils.errors import ConfigError
from src.utils.foreign_errors import called
from src.vimh.parameters import Parameter

MODULE = f"{MultiheadLitModule.__module__}.{MultiheadLitModule.__name__}"
# The keys of ``model`` beside ``_target_``: nodes that are read by themselves, and plain settings
# of the heads and of the module. Configs of older runs and checkpoints have others, to no effect.
NODES = ("net", "optimizer", "scheduler", "criterion", "losses")
OF_HEADS = ("loss_weights", "head_margin", "output_mode")
OF_MODULE = ("scheduler_monitor", "compile")
OF_START = ("init_from", "freeze")  # how a training begins, see :mod:`src.fine_tuning`
# configs/model/optimizer has it where PyTorch does; another `_target_` may not.
FUSED = "fused"
FORMER_KEYS = tuple(key.removeprefix("model.") for key in FORMER)


def _classes(room: ModuleType, base: type, more: Iterable[type] = ()) -> Mapping[str, type]:
    """Collect the room's concrete classes of a base.

    A class stands under its own file's path, and under the room's if the room exports it.
    """
    table: dict[str, type] = {}
    for info in pkgutil.iter_modules(room.__path__):
        module = importlib.import_module(f"{room.__name__}.{info.name}")
        for name, cls in inspect.getmembers(module, inspect.isclass):
            is_own = issubclass(cls, base) and cls.__module__ == module.__name__
            # The adapter takes a loss and a parameter, which no config can say.
            if not is_own or inspect.isabstract(cls) or cls is CrossEntropyHead:
                continue
            table[f"{module.__name__}.{name}"] = cls
            if name in room.__all__:
                table[f"{room.__name__}.{name}"] = cls
    table |= {
        f"{path}.{cls.__name__}": cls for cls in more for path in ("torch.nn", cls.__module__)
    }
    return MappingProxyType(table)


NETWORKS = _classes(components, MultiheadNetwork)
LOSSES = _classes(losses, HeadLoss, more=[nn.CrossEntropyLoss])
MODULES: Mapping[str, type] = MappingProxyType({MODULE: MultiheadLitModule})


@dataclass(frozen=True)
class Start:
    """``model.init_from`` and ``model.freeze``: how a training begins."""

    init_from: Text | None = None
    freeze: Texts = ()

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> Start:
        """Read both keys; null is their default.

        Raises:
            ConfigError: If a value does not fit, or the zoo has no such model.
        """
        given = {key: model[key] for key in OF_START if model.get(key) is not None}
        start = section(cls, given, "model")
        if start.init_from is not None:
            model_path(start.init_from)
        return start


@dataclass(frozen=True)
class ModelSettings:
    """What a config says of the model, checked; nothing is built yet."""

    module: Spec  # the module's class and its own settings
    net: Spec  # the network's class and sizes
    loss: Spec  # the loss's class and arguments, of heads that have no other
    target_width: float  # of soft targets, in classes
    config: Mapping[str, Any]  # data, model and loss in plain containers, for the checkpoint
    # The losses of some heads, by name or kind; see :meth:`loss_of`
    losses: Mapping[str, Spec] = field(default_factory=dict)
    # The factor of each head's loss by its name; None: derived
    loss_weights: Mapping[str, Real | None] | None = None
    head_margin: Real = 0.0  # the spread of sigmoid outputs
    # "classification", "regression" or "mixed"; None: as the losses say
    output_mode: str | None = None
    # Makes the optimiser; None for a model that only predicts
    optimizer: Callable[..., Any] | None = None
    scheduler: Callable[..., Any] | None = None  # makes the learning-rate scheduler
    for_one_head: bool = False  # whether the loss is model.criterion, which admits a single head

    @classmethod
    def of(cls, cfg: DictConfig) -> ModelSettings:
        """Read the settings of a user's own config; its classes are imported by their paths.

        Raises:
            ConfigError: If a key of ``model`` or ``loss`` is unknown or its value does not fit.
        """
        config = {key: plain_node(cfg, key) for key in ("data", "model", "loss")}
        model = config["model"]
        criterion = _criterion(model.get("criterion"))
        if criterion is not None:
            config["loss"] = criterion
        loss_key = "loss" if criterion is None else "model.criterion"
        optimizer, scheduler = (
            called(partial(build_partial, cfg, key), f"model.{key}")
            for key in ("optimizer", "scheduler")
        )
        module = module_spec(model)
        Start.of(model)
        _check_monitor(module.arguments.get("scheduler_monitor", SCHEDULER_MONITOR), scheduler)
        return cls(
            module=module,
            net=network_spec(model.get("net")),
            loss=loss_spec(config["loss"], where=loss_key),
            target_width=config["data"].get("target_width") or 0.0,
            losses=loss_specs(model.get("losses")),
            config=config,
            **head_settings(model),
            optimizer=optimizer,
            scheduler=scheduler,
            for_one_head=criterion is not None,
        )

    def loss_of(self, parameter: Parameter) -> Spec:
        """Return a head's loss: by its name, else by its kind, else ``loss``."""
        by_kind = self.losses.get(parameter.kind, self.loss)
        return self.losses.get(parameter.name, by_kind)

    def try_optimizer(self) -> None:
        """Make the optimiser and the scheduler once, of one weight, to hear what they refuse.

        Raises:
            ConfigError: With their own words.
        """
        if self.optimizer is None:
            return
        weight = nn.Parameter(torch.zeros(1))
        optimizer = called(partial(self.optimizer, params=[weight]), "model.optimizer")
        if self.scheduler is not None:
            called(partial(self.scheduler, optimizer=optimizer), "model.scheduler")


def head_settings(model: Mapping[str, Any]) -> dict[str, Any]:
    """Check what ``model`` says of all heads; what it leaves to its default is missing.

    Raises:
        ConfigError: If a value does not fit.
    """
    given = {key: model[key] for key in OF_HEADS if model.get(key) is not None}
    return check_arguments(MultiheadLitModule, given, "model", complete=False)


def module_spec(model: Mapping[str, Any], look_up: Lookup = imported) -> Spec:
    """Read the module's class, ours without a target, and its settings, a subclass's among them.

    Raises:
        ConfigError: If the class is no module, or a key is unknown or does not fit.
    """
    more = {
        key: model[key] for key in model if key not in (*NODES, *OF_HEADS, *OF_START, *FORMER_KEYS)
    }
    # Other arguments of ours are objects, such as `heads`; no config can say them.
    ours = signature_of(MultiheadLitModule).arguments.keys() - OF_MODULE
    for key in ours & more.keys():
        raise ConfigError(unknown_key(f"model.{key}", key, [*NODES, *OF_HEADS, *OF_MODULE]))
    try:
        return spec_of(
            {TARGET: MODULE, **more}, "model", look_up, base=MultiheadLitModule, complete=False
        )
    except NotDerivedError as error:
        raise ConfigError(
            f"model.{TARGET} is {shown(model[TARGET])}; expected a class derived from {MODULE}"
        ) from error


def network_spec(node: Any, look_up: Lookup = imported) -> Spec:
    """Read the network that ``model.net`` describes; what the data set decides may be missing.

    Raises:
        ConfigError: If it is no network, or an argument is unknown or out of bounds.
    """
    try:
        return spec_of(node, "model.net", look_up, base=MultiheadNetwork, complete=False)
    except NotDerivedError as error:
        raise ConfigError(f"{error}; docs/architectures.md says how to add a network") from error


def loss_spec(node: Any, look_up: Lookup = imported, where: str = "loss") -> Spec:
    """Read the loss that ``loss`` describes; what the data set decides may be missing.

    Raises:
        ConfigError: If it is no module, or an argument is unknown or out of bounds.
    """
    return spec_of(node, where, look_up, base=nn.Module, complete=False)


def loss_specs(node: Any, look_up: Lookup = imported) -> dict[str, Spec]:
    """Read ``model.losses``: by a head's name or kind; null leaves it to ``loss``.

    Raises:
        ConfigError: As :func:`loss_spec`, or if it is no mapping.
    """
    if not isinstance(node, Mapping | None):
        raise ConfigError(f"model.losses is {shown(node)}; expected a loss by head or kind")
    found: dict[str, Spec] = {}
    for name, own in (node or {}).items():
        if isinstance(own, str):
            raise ConfigError(
                f"model.losses.{name} is {shown(own)}; expected a mapping: "
                f"loss@model.losses.{name}=NAME chooses one of configs/loss"
            )
        if own is not None:
            found[str(name)] = loss_spec(own, look_up, f"model.losses.{name}")
    return found


def _check_monitor(metric: str, scheduler: Callable[..., Any] | None) -> None:
    """Refuse a metric for a scheduler that follows none."""
    kind = getattr(scheduler, "func", None)
    follows = isinstance(kind, type) and issubclass(kind, ReduceLROnPlateau)
    if metric != SCHEDULER_MONITOR and not follows:
        raise ConfigError(
            f"model.scheduler_monitor is {metric!r}, but model.scheduler follows no metric: choose "
            f"model/scheduler=plateau, or leave model.scheduler_monitor at {SCHEDULER_MONITOR}"
        )


def _criterion(node: Any) -> Any:
    """Return ``model.criterion``, the other spelling of a loss, or None where it says nothing."""
    if not isinstance(node, Mapping):
        return node
    given = {key: value for key, value in node.items() if value is not None}
    if given and TARGET not in given:
        key = next(iter(given))
        raise ConfigError(
            f"model.criterion.{key} is {shown(given[key])}, but model.criterion.{TARGET} names no "
            f"loss: name one by model.criterion.{TARGET}=torch.nn.CrossEntropyLoss, or use "
            "loss=NAME."
        )
    return node if given else None


def build_partial(cfg: DictConfig, key: str) -> Any:
    """Build the optimiser or scheduler that only lacks its parameters or its optimiser.

    ``model.optimizer._target_=torch.optim.RMSprop`` keeps the other keys of the config. ``fused``
    says how an optimiser works and not what it does, so it is left out where the optimiser has no
    such argument. Any other key that does not fit is a mistake. Null gives None.

    Raises:
        ConfigError: If there is no such class, or an argument is unknown or does not fit.
    """
    node = plain_values(cfg.model.get(key))
    if node is None:
        return None
    where = f"model.{key}"
    if not isinstance(node, Mapping) or TARGET not in node:
        group = where.replace(".", "/")
        raise ConfigError(
            f"{where} is {shown(node)}, but it takes keys such as {where}.{TARGET}: {group}=NAME "
            f"chooses a file of configs/{group}."
        )
    given = node_arguments(node, where)
    signature = signature_of(imported(node[TARGET], f"{where}.{TARGET}"))
    # The bounds of check_node are those of all optimisers, so it does not know who has what.
    for name in () if signature.is_open else given.keys() - signature.arguments.keys():
        if name != FUSED:
            told = unknown_key(f"{where}.{name}", name, signature.arguments)
            raise ConfigError(f"{told}; ~{where}.{name} on the command line leaves it out")
        node = {key: value for key, value in node.items() if key != FUSED}
    check_node(node, where, partial=True)
    return hydra.utils.instantiate(node)
