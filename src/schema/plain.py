"""Configs as plain data: dicts, lists, texts, numbers, true, false and null.

A config of the user's own is resolved once, and what is checked is what is built. A config out of a
file (a checkpoint's, a data set's) has nothing to resolve: whatever would be looked up elsewhere
is refused before it is looked at.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import is_dataclass
from typing import Any, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from src.schema.arguments import describe, is_too_large, options_of, shown
from src.utils.errors import ConfigError

MAX_NODES = 100_000  # of a config or a description of a data set
MAX_DEPTH = 64
MAX_TEXT = 1_000_000  # characters of a text
_SCALARS = (str, int, float, bool, type(None))


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """Return a user's own config as plain containers, with its interpolations resolved.

    Raises:
        ConfigError: A value is missing (``???``) or an interpolation leads nowhere; names the key.
    """
    try:
        values = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise ConfigError(
            f"{error.full_key} is missing: give it as {error.full_key}=..."
        ) from error
    except OmegaConfBaseException as error:
        reason = str(error).partition("\n")[0]
        key = getattr(error, "full_key", None)
        raise ConfigError(f"{key}: {reason}" if key else reason) from error
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


def check_plain(node: object, where: str) -> None:
    """Refuse a node out of a file, which anybody may have written, that is not plain data.

    Raises:
        ConfigError: It holds an interpolation (``${...}``), a missing value (``???``), a key that
            is no text, a number that is not finite, an object, or more parts than any config.
    """
    waiting: list[tuple[object, str, int]] = [(node, where, 0)]
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
        elif type(part) is list or type(part) is tuple:
            waiting += [(value, f"{key}[{i}]", depth + 1) for i, value in enumerate(part)]
        else:
            _check_scalar(part, key)


def _check_scalar(value: object, key: str) -> None:
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
        # A lone surrogate, which no file, path or terminal takes.
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ConfigError(f"{key} is {shown(value)}; half a character cannot be written")
        if len(value) > MAX_TEXT:
            raise ConfigError(f"{key} is a text of {len(value)} characters; at most {MAX_TEXT}")
    elif is_too_large(value) or (isinstance(value, float) and not math.isfinite(value)):
        raise ConfigError(f"{key} is {shown(value)}; expected a finite number of at most 64 bits")


def check_groups(cfg: DictConfig, schema: type) -> None:
    """Refuse a list or a scalar where the schema, a dataclass, expects a group that others name.

    Raises:
        ConfigError: Naming the group.
    """
    for key, hint in get_type_hints(schema).items():
        if key not in cfg or OmegaConf.is_missing(cfg, key) or OmegaConf.is_interpolation(cfg, key):
            continue
        options, value = options_of(hint), cfg[key]
        expects_group = any(is_dataclass(o) or get_origin(o) is Mapping for o in options)
        is_left_out = value is None and type(None) in options
        if expects_group and not isinstance(value, DictConfig) and not is_left_out:
            raise ConfigError(f"{key} is {shown(value)}; expected {describe(hint)}")


@contextmanager
def naming_interpolation(cfg: DictConfig) -> Iterator[None]:
    """Name the key whose interpolation leads nowhere, not the first key that refers to it.

    Raises:
        ConfigError: The one that was raised, where it says what was looked for with its key.
    """
    try:
        yield
    except ConfigError as error:
        sought = re.search(r"'([^']+)' not found", str(error))
        if sought is None:
            raise
        for key, text in _texts(OmegaConf.to_container(cfg, resolve=False), ""):
            if "${" in text and sought[1] in text:
                reason = str(error).partition(": ")[2] or str(error)
                raise ConfigError(f"{key} is {shown(text)}: {reason}") from error
        raise


def _texts(node: object, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, str):
        yield where, node
    elif isinstance(node, Mapping):
        for key, part in node.items():
            yield from _texts(part, f"{where}.{key}" if where else str(key))
    elif isinstance(node, list):
        for i, part in enumerate(node):
            yield from _texts(part, f"{where}[{i}]")
