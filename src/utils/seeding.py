"""The seed of weights, order and everything else that is drawn in a run."""

from __future__ import annotations

from typing import Any

from src.utils.errors import ConfigError

MAX_SEED = 2**32 - 1  # NumPy's global generator takes no larger one


def seed_everything(seed: Any) -> None:
    """Seeds Python, NumPy and torch, here and in the loader's workers.

    Args:
        seed: The config's ``seed``; None: nothing is seeded.

    Raises:
        ConfigError: If it is no whole number, or out of range.
    """
    if seed is None:
        return
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"seed is {seed!r}; expected a whole number from 0 to {MAX_SEED}")
    import lightning.pytorch as pl  # not with utils, which is light to import

    pl.seed_everything(seed, workers=True, verbose=False)
