"""Checkpoints as files from elsewhere: read without running any code, then built from.

A checkpoint says what the network and the losses are; only these are instantiated, and only where
they are classes of ``src.models`` or ``torch.nn``. Trainer, callbacks, loggers and optimiser come
from our own configs, and no path in a checkpoint is followed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn

from src.build import CHECKPOINT_DATA_KEYS, PREPARATION_KEYS, build_model
from src.callbacks.checkpoint_io import load_checkpoint
from src.data.preparation import Preparation
from src.models.multihead_module import MultiheadLitModule
from src.utils.errors import CheckpointError, ConfigError
from src.vimh.metadata import Metadata

ALLOWED_PACKAGES = ("src.models.", "torch.nn.")
SAFETENSORS = ".safetensors"
MAX_NODES = 100_000  # of a config or a description of a data set
# What a checkpoint's config may decide of the module; the rest is ours.
MODEL_KEYS = ("net", "loss_weights", "head_margin", "output_mode")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file, read and looked through but not acted on.

    Attributes:
        path: Where it lies.
        config: Its ``data``, ``model`` and ``loss``, plain containers.
        metadata: The description of the data set it was trained on.
        state_dict: The module's tensors.
        epoch: The epoch it was saved in, from 0.
        global_step: The optimiser steps taken.
    """

    path: Path
    config: DictConfig
    metadata: Metadata
    state_dict: dict[str, torch.Tensor]
    epoch: int
    global_step: int


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Reads a checkpoint with ``weights_only=True``: plain data and tensors, no code.

    Args:
        path: A checkpoint, or a .safetensors file that :func:`write_safetensors` made of one.

    Raises:
        CheckpointError: If there is no such file, or it is damaged or no checkpoint at all.
        ConfigError: If it is not a checkpoint of this project.
    """
    path = Path(path)
    raw = _load_safetensors(path) if path.suffix == SAFETENSORS else load_checkpoint(path)
    needed = ("avix", "state_dict", "epoch", "global_step")
    if not isinstance(raw, Mapping) or any(key not in raw for key in needed):
        raise ConfigError(
            f"{path} is not a checkpoint of this project: it needs the keys {', '.join(needed)}."
        )
    described = raw["avix"]
    if not isinstance(described, Mapping) or not {"config", "metadata"} <= described.keys():
        raise ConfigError(f"{path} does not describe its model: no avix.config or avix.metadata.")
    kinds = {"epoch": int, "global_step": int, "state_dict": Mapping}
    wrong = [key for key, kind in kinds.items() if not isinstance(raw[key], kind)]
    wrong += [f"avix.{key}" for key in ("config", "metadata") if not _is_plain(described[key])]
    wrong += [f"avix.{key}" for key in ("config", "metadata") if _is_endless(described[key])]
    if wrong:
        raise ConfigError(f"{path}: {', '.join(wrong)} is not what a checkpoint has there.")
    return Checkpoint(
        path=path,
        config=_config_of(described["config"], path),
        metadata=Metadata.from_json(described["metadata"], where=str(path)),
        state_dict=dict(raw["state_dict"]),
        epoch=raw["epoch"],
        global_step=raw["global_step"],
    )


def write_safetensors(checkpoint: Checkpoint, path: Path, about: Mapping[str, str]) -> Path:
    """Writes what loading needs as safetensors: no optimiser's state, and no paths of ours.

    Args:
        checkpoint: Read.
        path: Where to; ends in .safetensors.
        about: More texts by name for the file's own metadata.
    """
    from safetensors.torch import save_file

    kept = {"model": MODEL_KEYS, "data": (*PREPARATION_KEYS, *CHECKPOINT_DATA_KEYS)}
    config: dict[str, Any] = {
        name: OmegaConf.to_container(OmegaConf.masked_copy(checkpoint.config[name], list(keys)))
        for name, keys in kept.items()
    }
    described = {
        "config": config | {"loss": OmegaConf.to_container(checkpoint.config.loss)},
        "metadata": checkpoint.metadata.to_json(),
    }
    place = {"epoch": checkpoint.epoch, "global_step": checkpoint.global_step}
    texts = {"avix": json.dumps(described), "place": json.dumps(place)}
    tensors = {name: tensor.contiguous().clone() for name, tensor in checkpoint.state_dict.items()}
    save_file(tensors, path, metadata={**about, **texts})
    return path


def _load_safetensors(path: Path) -> dict[str, Any]:
    """The same keys as a checkpoint has; the format holds numbers and texts, and no code."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such checkpoint file")
    try:
        with safe_open(path, framework="pt") as file:
            texts = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        described = {key: json.loads(texts[key]) for key in ("avix", "place") if key in texts}
    except (SafetensorError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from error
    place = described.pop("place", {})
    return {**described, **(place if isinstance(place, dict) else {}), "state_dict": tensors}


def _is_plain(node: Any) -> bool:
    """Whether a node is a mapping by names."""
    return isinstance(node, Mapping) and all(isinstance(key, str) for key in node)


def _is_endless(node: Any) -> bool:
    """Whether a node has more parts than any config; a list may hold itself 2^80 times."""
    waiting, seen = [node], 0
    while waiting and seen <= MAX_NODES:
        part = waiting.pop()
        seen += 1
        if isinstance(part, Mapping):
            waiting += part.values()
        elif isinstance(part, list | tuple):
            waiting += part
    return seen > MAX_NODES or len(waiting) > 0


def _config_of(described: Any, path: Path) -> DictConfig:
    try:
        return OmegaConf.create(dict(described))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path}: its avix.config is no config: {error}") from error


def load_model(checkpoint: Checkpoint) -> MultiheadLitModule:
    """Builds the module that a checkpoint describes and loads its weights, in eval mode.

    Raises:
        ConfigError: If its config names a class that a checkpoint must not name, or the weights
            do not fit the network it describes.
    """
    config = checkpoint.config
    for key in ("model.net", "loss"):
        if OmegaConf.select(config, key) is None:
            raise ConfigError(f"{checkpoint.path}: its config has no {key}.")
        _check_targets(OmegaConf.select(config, key), f"{checkpoint.path}: {key}")
    trusted = OmegaConf.create(
        {
            "model": {key: config.model.get(key) for key in MODEL_KEYS},
            "loss": config.loss,
            "data": config.data,
        }
    )
    preparation = Preparation(
        checkpoint.metadata, **{key: config.data.get(key) for key in PREPARATION_KEYS}
    )
    model = build_model(trusted, checkpoint.metadata, preparation)
    try:
        model.load_state_dict(checkpoint.state_dict)
    except RuntimeError as error:
        raise ConfigError(
            f"{checkpoint.path}: its weights do not fit the network it describes: {error}"
        ) from error
    return model.eval()


def _check_targets(node: Any, where: str) -> None:
    """Every ``_target_`` in the node, however deep, has to be an allowed module class."""
    if isinstance(node, DictConfig | dict):
        for key, value in node.items():
            if key == "_target_":
                _check_target(value, where)
            elif str(key).startswith("_"):
                raise ConfigError(f"{where}.{key!s} is not admitted in a checkpoint.")
            else:
                _check_targets(value, f"{where}.{key!s}")
    elif OmegaConf.is_list(node) or isinstance(node, list):
        for item in node:
            _check_targets(item, where)


def _check_target(target: Any, where: str) -> None:
    refusal = ConfigError(
        f"{where}._target_ is {target!r}; a checkpoint may name only network and loss classes of "
        f"{' and '.join(package.rstrip('.') for package in ALLOWED_PACKAGES)}. Not loaded."
    )
    if not isinstance(target, str) or not target.startswith(ALLOWED_PACKAGES):
        raise refusal
    try:
        found = hydra.utils.get_class(target)
    except (ImportError, ValueError, AttributeError) as error:
        raise refusal from error
    # A dotted path can lead out of the package through an import inside it.
    if not issubclass(found, nn.Module) or not f"{found.__module__}.".startswith(ALLOWED_PACKAGES):
        raise refusal
