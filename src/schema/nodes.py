"""Nodes with a ``_target_`` in a user's own config, checked without building anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from src.schema.arguments import Hint, check_arguments, check_value, shown
from src.schema.bounds import Text
from src.schema.foreign import bounds_of
from src.schema.specs import TARGET, imported
from src.utils.errors import ConfigError

# What Hydra reads in a node beside its target:
# https://hydra.cc/docs/advanced/instantiate_objects/overview/
HYDRA: dict[str, Hint] = {
    "_partial_": bool,
    "_recursive_": bool,
    "_convert_": Literal["none", "partial", "object", "all"],
    "_args_": list[Any],
}


def check_node(node: Any, where: str, *, base: type = object, partial: bool = False) -> None:
    """Check a node of plain containers, whose key is `where`, and the nodes in its arguments.

    Its class has to be derived from `base`. A `partial` one has to be completed later.

    Raises:
        ConfigError: Naming the key.
    """
    given = node_arguments(node, where, base=base)
    found = imported(node[TARGET], f"{where}.{TARGET}")
    if partial and not node.get("_partial_"):
        raise ConfigError(
            f"{where}._partial_ is {shown(node.get('_partial_'))}; expected true: {found.__name__} "
            "gets the network later"
        )
    objects = {key for key, value in given.items() if holds_nodes(value)}
    if node.get("_recursive_", True):
        for key in objects:
            check_nodes(given[key], f"{where}.{key}")
    plain = {k: v for k, v in given.items() if k not in objects}
    # A partial gets what is missing later; an object may stand where a value would.
    complete = not node.get("_partial_") and not objects and "_args_" not in node
    check_arguments(found, plain, where, complete=complete, bounds=bounds_of(found))


def node_arguments(node: Any, where: str, *, base: type | None = object) -> dict[str, Any]:
    """Check a node's class and its keys for Hydra; return the other arguments.

    As :func:`check_node`; where `base` is None, a function will do.

    Raises:
        ConfigError: Naming the key.
    """
    if not isinstance(node, Mapping):
        raise ConfigError(f"{where} is {shown(node)}; expected a mapping with a {TARGET}")
    if TARGET not in node:
        raise ConfigError(
            f"{where} has no {TARGET} (it has {', '.join(map(str, node)) or 'nothing'}); null "
            "leaves it out"
        )
    target = check_value(Text, node[TARGET], f"{where}.{TARGET}")
    if base is not None and not issubclass(imported(target, f"{where}.{TARGET}"), base):
        raise ConfigError(
            f"{where}.{TARGET} is {shown(target)}; expected a class derived from "
            f"{base.__module__}.{base.__name__}"
        )
    for key in HYDRA.keys() & node.keys():
        check_value(HYDRA[key], node[key], f"{where}.{key}")
    return {str(k): v for k, v in node.items() if k != TARGET and k not in HYDRA}


def holds_nodes(value: object) -> bool:
    """Tell whether a value is, or holds, a node that Hydra builds."""
    if isinstance(value, Mapping):
        return TARGET in value or any(map(holds_nodes, value.values()))
    return isinstance(value, list) and any(map(holds_nodes, value))


def check_nodes(value: object, where: str) -> None:
    """Check the nodes in plain containers; the ConfigError of a wrong one names its key."""
    if isinstance(value, Mapping):
        if TARGET in value:
            check_node(value, where)
            return
        for key, part in value.items():
            check_nodes(part, f"{where}.{key}")
    elif isinstance(value, list):
        for i, part in enumerate(value):
            check_nodes(part, f"{where}[{i}]")
