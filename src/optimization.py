"""Optimiser and scheduler of a config, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import hydra
from omegaconf import DictConfig

from src.schema.arguments import shown, signature_of, unknown_key
from src.schema.nodes import check_node, node_arguments
from src.schema.plain import plain_values
from src.schema.specs import TARGET, imported
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
