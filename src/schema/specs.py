"""A class and its checked arguments, out of a config's node with a ``_target_``.

The caller says where the class comes from: for a file, a table of this project's classes and the
modules that the user trusts; for the user's own config, an import. All else is the same for both,
so that what trains also loads.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from src.schema.arguments import check_arguments, shown
from src.schema.foreign import bounds_of
from src.utils.errors import ConfigError
from src.utils.trust import current_trust, how_to_trust

TARGET = "_target_"
# What Hydra reads in a node beside its target.
HYDRA_KEYS = ("_partial_", "_recursive_", "_convert_", "_args_")


class NotDerivedError(ConfigError):
    """A target that names a class of another kind."""


Lookup = Callable[[str, str], type]


def _check_no_node(value: Any, key: str) -> None:
    """Refuse what Hydra would build in an argument: a checkpoint could not be loaded from it."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            if name in (TARGET, *HYDRA_KEYS):
                raise ConfigError(f"{key}.{name} is not admitted here; expected plain values")
            _check_no_node(part, f"{key}.{name}")
    elif isinstance(value, list | tuple):
        for part in value:
            _check_no_node(part, key)


@dataclass(frozen=True)
class Spec:
    """What is built, and from what.

    Attributes:
        cls: The class.
        target: Its name in the config.
        arguments: Its checked arguments.
        where: The config's key.
    """

    cls: type
    target: str
    arguments: Mapping[str, Any]
    where: str

    def make(self, **more: Any) -> Any:
        """Build the object.

        Args:
            **more: Arguments that do not come from the config; they win.

        Raises:
            ConfigError: If the class refuses its arguments, with its own words.
        """
        try:
            return self.cls(**{**self.arguments, **more})
        except ConfigError:
            raise
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{self.where}: {self.cls.__name__}: {error}") from error


def imported(target: str, key: str) -> type:
    """Import the class that a user's own config names.

    Args:
        target: Such as "src.models.components.SimpleCNN".
        key: The config's key, for messages.

    Raises:
        ConfigError: If there is no such class.
    """
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"{key} is {shown(target)}: {error}") from error
    if not isinstance(found, type):
        raise ConfigError(f"{key} is {shown(target)}, which is no class")
    return found


def listed(table: Mapping[str, type], what: str) -> Lookup:
    """Return a lookup for what a file names.

    It knows the classes of a table. It imports others only if the user trusts their module.

    Args:
        table: Import paths to classes.
        what: Whose names they are, for messages: "a checkpoint may name only networks".
    """

    def look_up(target: str, key: str) -> type:
        if target in table:
            return table[target]
        if current_trust().admits(target):
            return imported(target, key)
        names = sorted({cls.__name__ for cls in table.values()})
        raise ConfigError(
            f"{key} is {shown(target)}, which was not imported: {what} of this project "
            f"({', '.join(names)}) and of modules that you trust; {how_to_trust(target)}"
        )

    return look_up


def spec_of(
    node: Any,
    where: str,
    look_up: Lookup = imported,
    *,
    base: type = object,
    complete: bool = True,
) -> Spec:
    """Look up a node's class and check its arguments.

    Args:
        node: Plain containers.
        where: The config's key that the node stands under.
        look_up: From a target and its key to the class.
        base: What the class has to be derived from.
        complete: Whether the node has to give every argument that has no default.

    Raises:
        ConfigError: If the node has no target, the class is not known or not of the base, or an
            argument does not fit its signature.
    """
    if not isinstance(node, Mapping):
        raise ConfigError(f"{where} is {shown(node)}; expected a mapping with a {TARGET}")
    target = node.get(TARGET)
    key = f"{where}.{TARGET}"
    if not isinstance(target, str):
        raise ConfigError(f"{key} is {shown(target)}; expected the import path of a class")
    found = look_up(target, key)
    if not issubclass(found, base):
        raise NotDerivedError(f"{key} is {target}, which is not a {base.__name__}")
    given: dict[str, Any] = {}
    for name, value in node.items():
        if name == TARGET:
            continue
        if str(name).startswith("_"):
            raise ConfigError(f"{where}.{name} is not admitted here; expected plain arguments")
        _check_no_node(value, f"{where}.{name}")
        if value is not None:
            given[name] = value
    bounds = bounds_of(found)
    checked = check_arguments(found, given, where, complete=complete, bounds=bounds)
    return Spec(found, target, checked, where)
