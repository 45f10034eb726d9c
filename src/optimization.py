"""Optimiser and scheduler of a config, checked before anything is trained."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import hydra
from omegaconf import DictConfig, open_dict

from src.schema.arguments import shown
from src.utils.errors import ConfigError

# configs/model/optimizer has it where PyTorch does; another `_target_` may not.
FUSED = "fused"


def build_partial(cfg: DictConfig, key: str) -> Any:
    """Build the optimiser or scheduler that only lacks its parameters or its optimiser.

    ``model.optimizer._target_=torch.optim.RMSprop`` keeps the other keys of the config. ``fused``
    says how an optimiser works and not what it does, so it is left out where the optimiser has no
    such argument. Any other key that does not fit is a mistake.

    Args:
        cfg: The composed config.
        key: ``optimizer`` or ``scheduler``, under ``model``.

    Returns:
        A partial, or None where the config has null.

    Raises:
        ConfigError: If there is no such class, or it has no such argument.
    """
    node = cfg.model.get(key)
    if node is None:
        return None
    where = f"model.{key}"
    if not isinstance(node, DictConfig) or "_target_" not in node:
        raise ConfigError(_choose_a_file(node, where))
    parameters = _parameters(node["_target_"], where)
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return hydra.utils.instantiate(node)
    if FUSED not in without_fused(node, where):
        node = node.copy()
        with open_dict(node):
            node.pop(FUSED, None)
    known = [name for name in parameters if name not in ("self", "params", "optimizer")]
    for name in (str(name) for name in node):
        if name not in known and name not in ("_target_", "_partial_"):
            raise ConfigError(
                f"{where}.{name}: {node['_target_']} has no such argument, it has "
                f"{', '.join(known)}. ~{where}.{name} on the command line leaves it out."
            )
    return hydra.utils.instantiate(node)


def without_fused(node: Any, where: str) -> Any:
    """Leave ``fused`` out of an optimiser's keys where the optimiser has no such argument.

    Args:
        node: The keys; anything else than a mapping with a ``_target_`` comes back as it is.
        where: Its key in the config.

    Raises:
        ConfigError: If it is a text, or there is no such class.
    """
    if isinstance(node, str):
        raise ConfigError(_choose_a_file(node, where))
    if not isinstance(node, Mapping | DictConfig) or not node.get("_target_") or FUSED not in node:
        return node
    parameters = _parameters(node["_target_"], where)
    is_open = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    if FUSED in parameters or is_open:
        return node
    return {key: value for key, value in node.items() if key != FUSED}


def _choose_a_file(node: Any, where: str) -> str:
    group = where.replace(".", "/")
    return (
        f"{where} is {shown(node)}, but it takes keys such as {where}._target_: {group}=NAME "
        f"chooses a file of configs/{group}."
    )


def _parameters(target: Any, where: str) -> dict[str, inspect.Parameter]:
    if not isinstance(target, str):  # Hydra would log it before it raises
        raise ConfigError(f"{where}._target_ is {target!r}; expected the import path of a class")
    try:
        found = hydra.utils.get_object(target)
    except (ImportError, ValueError, AttributeError) as error:
        raise ConfigError(f"{where}._target_: {error}") from error
    if not callable(found):
        raise ConfigError(f"{where}._target_ is {target}, which builds nothing: name a class")
    return dict(inspect.signature(found).parameters)
