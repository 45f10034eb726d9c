"""What a checkpoint may consist of when it is read: plain containers that end."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any

import torch
from torch import Tensor

from src.callbacks.checkpoint_archive import Refused

MAX_DEPTH = 64  # of containers in containers
_CONTAINERS = (dict, OrderedDict, Counter, list, tuple)
_LEAVES = (str, int, float, bool, type(None), Tensor, torch.nn.Parameter)


def check_plain_tree(root: Any, most: int) -> None:
    """Refuses what is no plain data, holds itself, is too deep, or would take too many visits.

    A list of two lists of two lists ... is small in a file; whoever walks it visits 2^depth parts.

    Args:
        root: What was read.
        most: The most visits; each part of an honest file takes a byte or more.
    """
    visits: dict[int, int] = {}  # of a container and all in it
    depths: dict[int, int] = {}
    waiting: list[tuple[Any, bool]] = [(root, False)]
    open_now: set[int] = set()
    while waiting:
        node, is_done = waiting.pop()
        if type(node) not in _CONTAINERS:
            if type(node) not in _LEAVES:
                raise Refused(f"it holds a {type(node).__name__}, which is no plain data")
            continue
        key = id(node)
        if key in visits:
            continue
        parts = _parts(node)
        if not is_done:
            if key in open_now:
                raise Refused("it holds a container that holds itself")
            open_now.add(key)
            waiting.append((node, True))
            waiting += [(part, False) for part in parts]
            continue
        open_now.discard(key)
        visits[key] = 1 + sum(visits.get(id(part), 1) for part in parts)
        depths[key] = 1 + max((depths.get(id(part), 0) for part in parts), default=0)
        if visits[key] > most or depths[key] > MAX_DEPTH:
            raise Refused(
                f"its containers have more than {most} parts, or are more than {MAX_DEPTH} deep"
            )


def _parts(node: Any) -> list[Any]:
    if isinstance(node, dict):
        more = vars(node).values() if type(node) is OrderedDict else ()
        return [*node.values(), *more]
    return list(node)
