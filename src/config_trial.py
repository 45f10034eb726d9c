"""What needs no data is built once, to hear what Lightning or a constructor refuses.

Signatures do not say all: two settings may exclude each other, or a device may not be there. All
that is built here is thrown away. Loggers are not built: some ask a server.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import hydra
from omegaconf import OmegaConf

from src.utils.instantiators import called, instantiate_callbacks, instantiate_trainer


def try_data(node: Mapping[str, Any]) -> None:
    """Builds the data module; no data are read or made.

    Args:
        node: ``data``, in plain containers.

    Raises:
        ConfigError: If it, its source or the source's recipe is refused.
    """
    with _unheard():
        called(partial(hydra.utils.instantiate, OmegaConf.create(dict(node))), "data")


def try_callbacks(entries: Mapping[str, Any] | None) -> None:
    """Builds the callbacks.

    Args:
        entries: ``callbacks``, in plain containers.

    Raises:
        ConfigError: If one is refused.
    """
    with _unheard():
        instantiate_callbacks(None if entries is None else OmegaConf.create(dict(entries)))


def try_trainer(node: Mapping[str, Any]) -> None:
    """Builds Lightning's Trainer, without callbacks and loggers.

    Args:
        node: ``trainer``, in plain containers.

    Raises:
        ConfigError: If it is refused, for instance because there is no such device here.
    """
    with _unheard():
        instantiate_trainer(OmegaConf.create(dict(node)))


@contextmanager
def _unheard() -> Iterator[None]:
    """Nothing is logged, warned of or left in the environment: the real one will say it."""
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
