"""What several synthesisers compute: pitches, a sawtooth, and columns that fill whole registers."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64

_LANES = 16  # more than the numbers in any vector register


def fill_lanes(
    values: Mapping[str, Float64[np.ndarray, "B"]],
) -> dict[str, Float64[np.ndarray, "N"]]:
    """Repeat the last sample up to a multiple of 16 samples.

    Transcendental functions may round differently in the last few elements of an array, which do
    not fill a vector register; with these added, no sample's bits depend on its place.

    Example:
        >>> fill_lanes({"q": np.array([1.0, 2.0])})["q"].shape
        (16,)
    """
    count = len(next(iter(values.values())))
    return {name: np.pad(column, (0, -count % _LANES), "edge") for name, column in values.items()}


def midi_to_hz(note_number: Float64[np.ndarray, "N"]) -> Float64[np.ndarray, "N"]:
    """``440 · 2^((note_number − 69)/12)`` Hz (MIDI tuning standard).

    Example:
        >>> midi_to_hz(np.array([57.0, 69.0])).tolist()
        [220.0, 440.0]
    """
    return 440.0 * 2.0 ** ((note_number - 69.0) / 12.0)


def sawtooth(
    frequency_hz: Float64[np.ndarray, "#X #Y"], time_s: Float64[np.ndarray, "#X #Y"]
) -> Float64[np.ndarray, "X Y"]:
    """``2 (p − floor(p)) − 1`` with ``p = f·t − 0.5``: −1…1, rising from 0 at time 0.

    Example:
        >>> sawtooth(np.array([[1.0]]), np.array([[0.0, 0.25, 0.5, 0.75]])).tolist()
        [[0.0, 0.5, -1.0, -0.5]]
    """
    phase = frequency_hz * time_s
    phase -= 0.5
    phase -= np.floor(phase)
    phase *= 2.0
    phase -= 1.0
    return phase
