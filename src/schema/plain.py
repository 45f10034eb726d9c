"""Configs as plain data: dicts, lists, texts, numbers, true, false and null.

A config of the user's own is resolved once, and what is checked is what is built. A config out of a
file (a checkpoint's, a data set's) has nothing to resolve: whatever would be looked up elsewhere
is refused before it is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from src.schema.arguments import is_too_large, shown
from src.utils.errors import ConfigError

MAX_NODES = 100_000  # of a config or a description of a data set
MAX_DEPTH = 64
MAX_TEXT = 1_000_000  # characters of a text
_SCALARS = (str, int, float, bool, type(None))


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """Return a user's own config as plain containers, with its interpolations resolved.

    Raises:
        ConfigError: If a value is missing (``???``) or an interpolation leads nowhere; the message
            names the key.
    """
    try:
        values = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise ConfigError(
            f"{error.full_key} is missing: give it as {error.full_key}=..."
        ) from error
    except OmegaConfBaseException as error:
        raise ConfigError(_sentence(error)) from error
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def plain_node(cfg: DictConfig, key: str) -> dict[str, Any]:
    """Return one group of a user's own config as plain containers; see :func:`resolved`.

    Raises:
        ConfigError: Also if the group is no mapping.
    """
    node = cfg.get(key)
    if not isinstance(node, DictConfig):
        raise ConfigError(f"{key} is {shown(node)}; expected a mapping")
    return resolved(node)


def plain_values(node: Any) -> Any:
    """Return containers as dicts and lists, with texts as keys.

    Tuples become lists, scalars stay. A user's own config of Hydra's is resolved: :func:`resolved`.
    """
    if isinstance(node, DictConfig):
        node = resolved(node)
    if isinstance(node, Mapping):
        return {str(key): plain_values(value) for key, value in node.items()}
    return [plain_values(value) for value in node] if isinstance(node, list | tuple) else node


def _sentence(error: OmegaConfBaseException) -> str:
    """Put what OmegaConf says in several lines into one."""
    reason = str(error).partition("\n")[0]
    key = getattr(error, "full_key", None)
    return f"{key}: {reason}" if key else reason


def check_plain(node: Any, where: str) -> None:
    """Refuse a node out of a file that is anything but plain data.

    Args:
        node: The node, from a file that anybody may have written.
        where: What it is, for messages.

    Raises:
        ConfigError: If it holds an interpolation (``${...}``), a missing value (``???``), a key
            that is no text, a number that is not finite, an object, or more parts than any config.
    """
    waiting: list[tuple[Any, str, int]] = [(node, where, 0)]
    seen = 0
    while waiting:
        part, key, depth = waiting.pop()
        seen += 1
        if seen + len(waiting) > MAX_NODES or depth > MAX_DEPTH:
            raise ConfigError(
                f"{where} is not what it should be: it has more than {MAX_NODES} parts, or parts "
                f"more than {MAX_DEPTH} deep"
            )
        if type(part) is dict:
            for name, value in part.items():
                _check_scalar(name, f"{key}: the key {shown(name)}")
                if not isinstance(name, str):
                    raise ConfigError(f"{key} has the key {shown(name)}; expected texts as keys")
                waiting.append((value, f"{key}.{name[:100]}", depth + 1))
        elif type(part) in (list, tuple):
            waiting += [(value, f"{key}[{i}]", depth + 1) for i, value in enumerate(part)]
        else:
            _check_scalar(part, key)


def _check_scalar(value: Any, key: str) -> None:
    if type(value) not in _SCALARS:
        raise ConfigError(
            f"{key} is of type {type(value).__name__}; expected plain data (texts, numbers, true, "
            "false, null, lists, mappings)"
        )
    if isinstance(value, str):
        if "${" in value or value == "???":
            raise ConfigError(
                f"{key} is {shown(value)}; a file has to say its values, and nothing in it is "
                "looked up elsewhere. Not loaded."
            )
        if not _is_text(value):
            raise ConfigError(f"{key} is {shown(value)}; half a character cannot be written")
        if len(value) > MAX_TEXT:
            raise ConfigError(f"{key} is a text of {len(value)} characters; at most {MAX_TEXT}")
    elif is_too_large(value) or (isinstance(value, float) and not math.isfinite(value)):
        raise ConfigError(f"{key} is {shown(value)}; expected a finite number of at most 64 bits")


def _is_text(value: str) -> bool:
    """Tell whether a text has no lone surrogate, which no file, path or terminal takes."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
