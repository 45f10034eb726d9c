"""Checks of the data module's arguments."""

from collections.abc import Sequence
from typing import Any

from src.utils.errors import ConfigError

MAX_SEED = 2**64 - 1  # of NumPy's Philox beside the number of the epoch


def at_least(key: str, value: Any, least: int) -> Any:
    """Return the value if it is a number of at least `least`.

    Raises:
        ConfigError: It is not; names `data.key`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= least:
        raise ConfigError(f"data.{key} is {value!r}; expected a number of at least {least}")
    return value


def whole(key: str, value: Any, least: int, most: int | None = None) -> int:
    """Return the value if it is a whole number from `least` to `most`; else as :func:`at_least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"data.{key} is {value!r}; expected a whole number of at least {least}")
    if most is not None and value > most:
        raise ConfigError(f"data.{key} is {value!r}; expected a whole number of at most {most}")
    return value


def one_of(key: str, value: str, allowed: Sequence[str]) -> str:
    """Return the value if it is one of the allowed; else as :func:`at_least`."""
    if value not in allowed:
        raise ConfigError(f"data.{key} is {value!r}; expected one of {', '.join(allowed)}")
    return value
