"""What a constructor refuses of its config, as one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hydra.errors import InstantiationException

from src.utils.errors import ConfigError

Made = TypeVar("Made")

# What constructors were seen to refuse their arguments with, beside what Hydra wraps.
REFUSALS = (
    ValueError, TypeError, LookupError, AttributeError, RuntimeError, AssertionError,
    ArithmeticError, ImportError,
)  # fmt: skip


def called(make: Callable[[], Made], key: str) -> Made:
    """Call a constructor, and turn what it refuses into one sentence that names the key.

    This is the one place where other packages' words about a config are translated. Hydra wraps
    what a class says of its arguments; the sentence holds the class's own words.

    Args:
        make: Takes nothing; a partial of a constructor, or of Hydra's ``instantiate``.
        key: The key of the config.

    Returns:
        What ``make`` returns.

    Raises:
        ConfigError: If it is refused.

    Example:
        >>> called(lambda: int("abc"), "seed")
        Traceback (most recent call last):
        ...
        src.utils.errors.ConfigError: seed: invalid literal for int() with base 10: 'abc'
    """
    try:
        return make()
    except (InstantiationException, *REFUSALS) as error:
        wrapped = isinstance(error, InstantiationException)
        cause = (error.__cause__ or error) if wrapped else error
        reason = " ".join(str(cause).split()) or type(cause).__name__
        if isinstance(cause, KeyError):
            reason = f"there is no {reason}"
        # Our own errors name their key already.
        named = reason.startswith((f"{key} ", f"{key}.", f"{key}:"))
        raise ConfigError(reason if named else f"{key}: {reason}") from error
