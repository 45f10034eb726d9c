"""What can be said of a config before its interpolations are resolved: which key is at fault."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import is_dataclass
from typing import Any, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from src.schema.arguments import describe, options_of, shown
from src.utils.errors import ConfigError


def check_groups(cfg: DictConfig, schema: type) -> None:
    """Refuse a list or a scalar where a group is expected, which other keys refer to.

    Args:
        cfg: As Hydra composed it.
        schema: A dataclass whose fields are the config's keys.

    Raises:
        ConfigError: Naming the group.
    """
    for key, hint in get_type_hints(schema).items():
        if key not in cfg or OmegaConf.is_missing(cfg, key) or OmegaConf.is_interpolation(cfg, key):
            continue
        options = options_of(hint)
        expects_group = any(is_dataclass(o) or get_origin(o) is Mapping for o in options)
        value = cfg[key]
        if not expects_group or isinstance(value, DictConfig):
            continue
        if value is None and type(None) in options:
            continue
        raise ConfigError(f"{key} is {shown(value)}; expected {describe(hint)}")


@contextmanager
def naming_interpolation(cfg: DictConfig) -> Iterator[None]:
    """Name the key whose interpolation leads nowhere, not the first key that refers to it.

    Args:
        cfg: The config that is resolved within.

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


def _texts(node: Any, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, str):
        yield where, node
    elif isinstance(node, Mapping):
        for key, part in node.items():
            yield from _texts(part, f"{where}.{key}" if where else str(key))
    elif isinstance(node, list):
        for i, part in enumerate(node):
            yield from _texts(part, f"{where}[{i}]")
