"""Wrong overrides: every key of a resolved config with every kind of value that may not fit."""

import functools
import math
import operator
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

KINDS: dict[str, Any] = {
    "text": "abc",
    "whole": 7,
    "fraction": 0.5,
    "true": True,
    "false": False,
    "list": [1, 2],
    "texts": ["abc"],
    "mapping": {"a": 1},
    "negative": -3,
    "zero": 0,
    "huge": 10**23,
    "large": 1e300,
    "nan": math.nan,
    "inf": math.inf,
    "null": None,
    "empty": "",
    "nothing": [],
    "bare": {},
}
UNKNOWN = "unknown"  # another key beside it


@dataclass(frozen=True)
class Override:
    """One key set to one value.

    Attributes:
        key: The key whose turn it is.
        kind: Of :data:`KINDS`, or :data:`UNKNOWN`.
        target: The key that is set.
        value: What it is set to.
    """

    key: str
    kind: str
    target: str
    value: Any

    @property
    def group(self) -> str:
        """The first part of the key."""
        return self.target.partition(".")[0]

    def applied(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A config with the override; what it does not touch is shared."""
        changed = node = dict(values)
        *parents, last = self.target.split(".")
        for name in parents:
            node[name] = copy(node[name])
            node = node[name]
        node[last] = self.value
        return changed


def keys_of(node: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Every key of nested mappings, groups before what is in them."""
    for name, value in node.items():
        yield f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from keys_of(value, f"{prefix}{name}.")


def overrides(values: Mapping[str, Any]) -> Iterator[Override]:
    """Every key with every kind of value, and one unknown key beside each group's first."""
    beside = set()
    for key in keys_of(values):
        present = functools.reduce(operator.getitem, key.split("."), values)
        for kind, value in KINDS.items():
            if type(value) is not type(present) or value != present:
                yield Override(key, kind, key, value)
        unknown = ".".join([*key.split(".")[:-1], "unknown_key"])
        if unknown not in beside:
            beside.add(unknown)
            yield Override(key, UNKNOWN, unknown, 1)
