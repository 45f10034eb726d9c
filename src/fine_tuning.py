"""Weights of another model to begin with, and layers that stay as they are.

``model.init_from`` names a checkpoint or a safetensors file. Metrics, epochs, optimiser and the
standardisation of the data's own features start anew; only weights of the network are taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig
from torch import Tensor, nn

from src.checkpoint import Checkpoint, read_checkpoint
from src.model_settings import ModelSettings, Start
from src.models.components import MultiheadNetwork
from src.models.components.heads import head_key
from src.models.multihead_module import MultiheadLitModule
from src.schema.plain import plain_node
from src.utils.errors import ConfigError
from src.utils.pylogger import RankedLogger
from src.vimh.parameters import Parameter

log = RankedLogger(__name__, rank_zero_only=True)

NET, HEADS = "net.", "heads.layers."


def begin(cfg: DictConfig, model: MultiheadLitModule) -> list[Callback]:
    """Take the weights that ``model.init_from`` names, and freeze what ``model.freeze`` names.

    Returns:
        What keeps frozen layers as they are while training.

    Raises:
        CheckpointError: If the file cannot be read.
        ConfigError: If it is no checkpoint, nothing of it fits, or there is no such layer.
    """
    start = Start.of(plain_node(cfg, "model"))
    path, names = start.init_from, list(start.freeze)
    if path is not None and cfg.ckpt_path is None:  # a run that goes on has weights already
        taken, left = take_weights(model, read_checkpoint(path), ModelSettings.of(cfg))
        log.info("model.init_from=%s: taken %s", path, ", ".join(taken))
        if left:
            log.info("model.init_from=%s: begun anew %s", path, ", ".join(left))
    return [Frozen(frozen_layers(model.net, names))] if names else []


def take_weights(
    model: MultiheadLitModule, checkpoint: Checkpoint, settings: ModelSettings
) -> tuple[list[str], list[str]]:
    """Copy the weights that fit: layers of one name and shape; heads of one parameter and loss.

    Args:
        model: Takes the weights.
        checkpoint: Of the other model.
        settings: Of `model`.

    Returns:
        The layers that were taken, and those that begin anew, with the reason.

    Raises:
        ConfigError: If nothing but heads, or nothing at all, fits.
    """
    given = {
        name.removeprefix(NET): tensor
        for name, tensor in checkpoint.state_dict.items()
        if name.startswith(NET)
    }
    other_heads = _other_heads(model, checkpoint, settings)
    state = model.net.state_dict()
    layers: dict[str, str] = {}  # why one begins anew; "" where it is taken
    for name, tensor in state.items():
        layer = _layer(name)
        why = other_heads.get(layer, "") or _misfit(given.get(name), tensor)
        layers[layer] = layers.get(layer, "") or why
    taken = {name: given[name] for name in state if not layers[_layer(name)]}
    if all(name.startswith("heads.") for name in taken):
        raise ConfigError(
            f"model.init_from={checkpoint.path}: no layer of {type(model.net).__name__} fits it "
            f"({checkpoint.settings.net.target}): choose the same model and image size"
        )
    model.net.load_state_dict({**state, **taken})
    return (
        [name for name, why in layers.items() if not why],
        [f"{name} ({why})" for name, why in layers.items() if why],
    )


def _layer(name: str) -> str:
    """Return the layer that a tensor belongs to; a tensor of the network itself is one."""
    return name.rpartition(".")[0] or name


def _misfit(given: Tensor | None, own: Tensor) -> str:
    if given is None:
        return "not there"
    if given.shape != own.shape:
        return f"shape {tuple(given.shape)}, here {tuple(own.shape)}"
    return ""


def _other_heads(
    model: MultiheadLitModule, checkpoint: Checkpoint, settings: ModelSettings
) -> dict[str, str]:
    """Return the layers of heads that mean something else there, with the reason."""
    then = checkpoint.metadata.parameters
    found = {}
    for name, parameter in model.parameters_by_head.items():
        if name not in then:
            why = "no such parameter"
        elif _meaning(then[name]) != _meaning(parameter):
            why = "another range or kind"
        else:
            losses = (
                (own.loss_of(p).target, dict(own.loss_of(p).arguments))
                for own, p in ((checkpoint.settings, then[name]), (settings, parameter))
            )
            first, second = losses
            why = "" if first == second else "another loss"
        if why:
            found[f"{HEADS}{head_key(name)}"] = why
    return found


def _meaning(parameter: Parameter) -> tuple[Any, ...]:
    return (
        parameter.min,
        parameter.max,
        parameter.step,
        parameter.kind,
        parameter.spacing,
        parameter.class_names,
    )


def frozen_layers(net: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """Find the layers of a network by their names, and turn off their gradients.

    Raises:
        ConfigError: If there is no such layer, or none is left to train.
    """
    layers = dict(net.named_modules())
    for name in names:
        if name not in layers or not name:
            children = ", ".join(child for child, _ in net.named_children())
            raise ConfigError(
                f"model.freeze names {name!r}, which {type(net).__name__} has not: it has "
                f"{children}, and theirs, such as {_example(net)}"
            )
    found = [layers[name] for name in names]
    for layer in found:
        layer.requires_grad_(False)
    if not any(weight.requires_grad for weight in net.parameters()):
        raise ConfigError("model.freeze names all layers: nothing is left to train")
    return found


def _example(net: nn.Module) -> str:
    assert isinstance(net, MultiheadNetwork)
    return f"{HEADS}{head_key(next(iter(net.heads_config)))}"


class Frozen(Callback):
    """Keeps layers in eval mode while others train: batch norm's figures and dropout too."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self._layers = list(layers)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Undo what Lightning does before an epoch."""
        for layer in self._layers:
            layer.eval()
