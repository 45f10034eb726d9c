"""The seed of weights, order and all other random numbers of a run."""

from __future__ import annotations

from src.utils.errors import ConfigError

MAX_SEED = 2**32 - 1  # the largest that NumPy's global generator takes


def seed_everything(seed: object) -> None:
    """Seed Python, NumPy and torch, here and in the loader's workers.

    Args:
        seed: The config's ``seed``; None: seed nothing.

    Raises:
        ConfigError: If it is no whole number, or out of range.
    """
    if seed is None:
        return
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"seed is {seed!r}; expected a whole number from 0 to {MAX_SEED}")
    import lightning.pytorch as pl  # not at the top: utils is light to import

    pl.seed_everything(seed, workers=True, verbose=False)
