"""What needs no data is built once, to hear what Lightning or a constructor refuses.

Signatures do not say all: two settings may exclude each other, or a device may not be there. All
that is built here is thrown away. Loggers are not built: some ask a server.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import hydra
from omegaconf import OmegaConf

from src.schema.arguments import shown
from src.schema.specs import TARGET
from src.training.instantiators import instantiate_callbacks, instantiate_trainer
from src.utils.errors import ConfigError
from src.utils.refusals import called


def try_data(node: Mapping[str, Any]) -> None:
    """Build the data module; no data are read or made.

    Args:
        node: ``data``, in plain containers.

    Raises:
        ConfigError: If it, its source or the source's recipe is refused.
    """
    with _unheard():
        called(partial(hydra.utils.instantiate, OmegaConf.create(dict(node))), "data")


def try_callbacks(entries: Mapping[str, Any]) -> None:
    """Build the callbacks.

    Args:
        entries: ``callbacks``, in plain containers.

    Raises:
        ConfigError: If one is refused; the message names the key that is at fault.
    """
    for name, entry in entries.items():
        _try(partial(_make_callback, name), entry, f"callbacks.{name}")


def _make_callback(name: str, node: Mapping[str, Any]) -> None:
    instantiate_callbacks(OmegaConf.create({name: dict(node)}))


def try_trainer(node: Mapping[str, Any]) -> None:
    """Build Lightning's Trainer, without callbacks and loggers.

    Args:
        node: ``trainer``, in plain containers.

    Raises:
        ConfigError: If it is refused, for instance because there is no such device here.
    """
    _try(lambda node: instantiate_trainer(OmegaConf.create(dict(node))), node, "trainer")


def _try(make: Callable[[Mapping[str, Any]], Any], node: Mapping[str, Any], where: str) -> None:
    """Build a node; if it is refused, find the key at fault by leaving out one after another.

    Args:
        make: Builds the node.
        node: Plain containers.
        where: Its key.

    Raises:
        ConfigError: If it is refused.
    """
    try:
        with _unheard():
            make(node)
    except ConfigError as error:
        key = next((key for key in node if _is_at_fault(make, node, key)), None)
        if key is None or f"{where}.{key}" in str(error):
            raise
        reason = str(error).partition(": ")[2] or str(error)
        raise ConfigError(f"{where}.{key} is {shown(node[key])}: {reason}") from error


def _is_at_fault(
    make: Callable[[Mapping[str, Any]], Any], node: Mapping[str, Any], key: str
) -> bool:
    if node[key] is None or key == TARGET:
        return False
    try:
        with _unheard():
            make({name: value for name, value in node.items() if name != key})
    except ConfigError:
        return False
    return True


@contextmanager
def _unheard() -> Iterator[None]:
    """Silence logs and warnings, and restore the environment: the real object will say it."""
    disabled = logging.root.manager.disable
    environment = dict(os.environ)
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
