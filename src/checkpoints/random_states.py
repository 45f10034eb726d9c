"""The states of the random generators as plain data: a resumed run draws what it would have.

numpy's own state tuple does not load with ``weights_only=True``; ints, lists and tensors do.
"""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import torch

from src.utils.errors import CheckpointError


def random_states() -> dict[str, Any]:
    """Return the states of Python's, numpy's (the old global one) and torch's generators."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        "python": [version, list(words), gauss],
        "numpy": [str(name), np.asarray(keys).tolist(), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "mps": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
    }


def checked_random_states(states: Any) -> dict[str, Any] | None:
    """Check the states in a checkpoint: numpy would read beyond the end of wrong ones.

    Args:
        states: What was found; None: there are none.

    Raises:
        CheckpointError: If a generator's state is none.
    """
    if states is None:
        return None
    match states:
        case {
            "python": [3, [*python], gauss],
            "numpy": ["MT19937", [*numpy], int(position), has_gauss, float(cached)],
            "torch": torch.Tensor() as own,
            "cuda": [*cuda],
            "mps": mps,
        }:
            pass
        case _:
            raise CheckpointError("random_states are none of this version")
    words_fit = len(python) == 625 and len(numpy) == 624 and 0 <= position <= 624
    words_fit &= _are_words([*python, *numpy]) and python[-1] <= 624
    if not words_fit or has_gauss not in (0, 1) or not isinstance(gauss, float | None):
        raise CheckpointError("random_states: python or numpy has no state of a Mersenne Twister")
    expected = torch.get_rng_state()
    devices = [state for state in (*cuda, mps) if state is not None]
    if own.shape != expected.shape or not all(_is_bytes(state) for state in (own, *devices)):
        raise CheckpointError("random_states: torch has no state of a generator")
    if not math.isfinite(cached) or (gauss is not None and not math.isfinite(gauss)):
        raise CheckpointError("random_states: a normal number is not finite")
    return states


def _are_words(words: list[Any]) -> bool:
    return all(type(word) is int and 0 <= word < 2**32 for word in words)


def _is_bytes(state: Any) -> bool:
    return isinstance(state, torch.Tensor) and state.dtype == torch.uint8 and state.ndim == 1


def restore_random_states(states: dict[str, Any]) -> None:
    """Put the generators where :func:`random_states` found them.

    Devices that are not there, or of another number than then, are left as they are.

    Args:
        states: What :func:`random_states` gave, perhaps read back from a checkpoint.
    """
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state(  # noqa: NPY002
        (name, np.array(keys, dtype=np.uint32), position, has_gauss, cached)
    )
    torch.set_rng_state(states["torch"].cpu())
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
    if torch.backends.mps.is_available() and states["mps"] is not None:
        torch.mps.set_rng_state(states["mps"].cpu())
