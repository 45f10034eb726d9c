"""What a config says of the model, checked before anything is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from src.models.components import MultiheadNetwork
from src.optimization import build_partial
from src.schema.plain import plain_node
from src.schema.specs import Lookup, NotDerivedError, Spec, imported, spec_of
from src.utils.errors import ConfigError
from src.utils.refusals import called


@dataclass(frozen=True)
class ModelSettings:
    """What a config says of the model, checked; nothing is built yet.

    Attributes:
        net: The network's class and sizes.
        loss: The loss's class and arguments, the same for each head.
        target_width: Of soft targets, in classes.
        loss_weights: The factor of each head's loss by its name; None: derived.
        head_margin: The spread of sigmoid outputs.
        output_mode: "classification" or "regression"; None: as the loss says.
        optimizer: Makes the optimiser; None for a model that only predicts.
        scheduler: Makes the learning-rate scheduler.
        scheduler_monitor: The metric that a plateau scheduler looks at.
        compile: Whether the network is compiled when training starts.
        config: ``data``, ``model`` and ``loss`` in plain containers, for the checkpoint.
    """

    net: Spec
    loss: Spec
    target_width: float
    loss_weights: Mapping[str, float | int | None] | None
    head_margin: float | int
    output_mode: str | None
    config: Mapping[str, Any]
    optimizer: Callable[..., Any] | None = None
    scheduler: Callable[..., Any] | None = None
    scheduler_monitor: str = "val/loss"
    compile: bool = False

    @classmethod
    def of(cls, cfg: DictConfig) -> ModelSettings:
        """The settings of a user's own config, whose classes are imported by their paths.

        Raises:
            ConfigError: If a key of ``model`` or ``loss`` is unknown or its value does not fit.
        """
        config = {key: plain_node(cfg, key) for key in ("data", "model", "loss")}
        model = config["model"]
        optimizer, scheduler = (
            called(partial(build_partial, cfg, key), f"model.{key}")
            for key in ("optimizer", "scheduler")
        )
        return cls(
            net=network_spec(model.get("net")),
            loss=loss_spec(config["loss"]),
            target_width=config["data"].get("target_width") or 0.0,
            loss_weights=model.get("loss_weights"),
            head_margin=model.get("head_margin") or 0.0,
            output_mode=model.get("output_mode"),
            config=config,
            optimizer=optimizer,
            scheduler=scheduler,
            scheduler_monitor=model.get("scheduler_monitor") or "val/loss",
            compile=bool(model.get("compile")),
        )

    def try_optimizer(self) -> None:
        """Makes the optimiser and the scheduler once, of one weight, to hear what they refuse.

        Raises:
            ConfigError: With their own words.
        """
        if self.optimizer is None:
            return
        weight = nn.Parameter(torch.zeros(1))
        optimizer = called(partial(self.optimizer, params=[weight]), "model.optimizer")
        if self.scheduler is not None:
            called(partial(self.scheduler, optimizer=optimizer), "model.scheduler")


def network_spec(node: Any, look_up: Lookup = imported) -> Spec:
    """The network that ``model.net`` describes; what the data set decides may be missing.

    Args:
        node: ``_target_`` and sizes.
        look_up: From the target to the class.

    Raises:
        ConfigError: If it is no network, or an argument is unknown or out of bounds.
    """
    try:
        return spec_of(node, "model.net", look_up, base=MultiheadNetwork, complete=False)
    except NotDerivedError as error:
        raise ConfigError(f"{error}; docs/architectures.md says how to add a network") from error


def loss_spec(node: Any, look_up: Lookup = imported) -> Spec:
    """The loss that ``loss`` describes; what the data set decides may be missing.

    Args:
        node: ``_target_`` and the arguments that the config gives.
        look_up: From the target to the class.

    Raises:
        ConfigError: If it is no module, or an argument is unknown or out of bounds.
    """
    return spec_of(node, "loss", look_up, base=nn.Module, complete=False)
