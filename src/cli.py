"""What the command lines share: a user's mistake is one sentence, not a traceback."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from src.utils.errors import CheckpointError, ConfigError
from src.vimh.errors import VIMHError


class JobError(CompactHydraException):
    """A user's mistake in a job of a multirun; Hydra prints it without a traceback."""


Result = TypeVar("Result")


def entry_point(main: Callable[[DictConfig], Result]) -> Callable[[DictConfig], Result]:
    """Ends the process with one sentence and exit code 1 where the user can mend the cause.

    In a multirun the error is raised on: what becomes of the other jobs is the sweeper's business.

    Args:
        main: The function under ``hydra.main``.
    """

    @functools.wraps(main)
    def wrapped(cfg: DictConfig) -> Result:
        try:
            return main(cfg)
        except (ConfigError, CheckpointError, VIMHError) as error:
            if HydraConfig.get().mode is RunMode.MULTIRUN:
                raise JobError(str(error)) from error
            sys.exit(f"error: {error}")

    return wrapped
