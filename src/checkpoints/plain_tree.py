"""What a checkpoint may consist of when it is read: plain containers that end."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any

import torch
from torch import Tensor

from src.checkpoints.archive import Refused

MAX_DEPTH = 64  # of containers in containers
_CONTAINERS = (dict, OrderedDict, Counter, list, tuple)
_LEAVES = (str, int, float, bool, type(None), Tensor, torch.nn.Parameter)


def check_plain_tree(root: Any, most: int) -> None:
    """Refuse data that is not plain, holds itself, is too deep, or takes too many visits.

    A list of two lists of two lists ... is small in a file; whoever walks it visits 2^depth parts.

    Args:
        root: What was read.
        most: The most visits; each part of an honest file takes a byte or more.

    Raises:
        Refused: Names the part by its first two keys.
    """
    visits: dict[int, int] = {}  # of a container and all in it
    depths: dict[int, int] = {}
    waiting: list[tuple[Any, str, bool]] = [(root, "", False)]
    open_now: set[int] = set()
    while waiting:
        node, where, is_done = waiting.pop()
        if type(node) not in _CONTAINERS:
            if type(node) not in _LEAVES:
                raise Refused(f"{_named(where)} holds a {type(node).__name__}, no plain data")
            continue
        key = id(node)
        if key in visits:
            continue
        parts = _parts(node)
        if not is_done:
            if key in open_now:
                raise Refused(f"{_named(where)} is not what it should be: it holds itself")
            open_now.add(key)
            waiting.append((node, where, True))
            waiting += [(part, _below(where, name), False) for name, part in parts]
            continue
        open_now.discard(key)
        visits[key] = 1 + sum(visits.get(id(part), 1) for _, part in parts)
        depths[key] = 1 + max((depths.get(id(part), 0) for _, part in parts), default=0)
        if visits[key] > most or depths[key] > MAX_DEPTH:
            raise Refused(
                f"{_named(where)} is not what it should be: it has more than {most} parts, or "
                f"parts more than {MAX_DEPTH} deep"
            )


def _parts(node: Any) -> list[tuple[Any, Any]]:
    """Return a container's parts with the names that a message may show."""
    if isinstance(node, dict):
        more = vars(node).items() if type(node) is OrderedDict else ()
        return [*node.items(), *more]
    return [("", part) for part in node]


def _below(where: str, name: Any) -> str:
    if "." in where or type(name) is not str or not name:
        return where
    return f"{where}.{name[:40]}" if where else name[:40]


def _named(where: str) -> str:
    return where or "it"
