"""Whether a sound depends on its parameters alone: tried before a data set is made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from src.synth.engines.worker import EngineWorker
from src.synth.errors import RecipeError
from src.synth.parallel import in_order
from src.synth.rendering import SAME_SHARE

SETTINGS = 8
Sounds = Float32[np.ndarray, "B T"]
_FRAME = 512  # samples of a spectrum
_RANGE_DB = 80.0  # below its loudest bin a spectrum's levels are not compared


@dataclass(frozen=True)
class Variation:
    """How far two sounds of the same values are apart, the largest of some settings.

    Attributes:
        is_heard: Whether a sample differs by more than 1e-5 of the sound's peak.
        wave_db: RMS of the difference relative to that of the sound, dB.
        spectrum_db: Mean absolute difference of the spectra's levels, dB.
    """

    is_heard: bool
    wave_db: float
    spectrum_db: float


def variation(sounds: Sounds, again: Sounds) -> Variation:
    """Compare sounds with others of the same values; those that are NaN are left out.

    Example:
        >>> sound = np.sin(np.arange(1024, dtype=np.float32))[None]
        >>> variation(sound, 1.1 * sound).wave_db.__round__(3)
        -20.0
    """
    made = np.isfinite(sounds).all(axis=1) & np.isfinite(again).all(axis=1)
    one, other = sounds[made].astype(np.float64), again[made].astype(np.float64)
    difference, peak = np.abs(one - other).max(axis=1), np.abs(one).max(axis=1)
    if not (difference > SAME_SHARE * peak).any():
        return Variation(False, -np.inf, 0.0)
    rms = [np.sqrt(np.square(part).mean(axis=1)) for part in (one - other, one)]
    with np.errstate(divide="ignore"):
        wave_db = 20.0 * np.log10(rms[0] / np.maximum(rms[1], np.finfo(np.float64).tiny))
    apart = np.abs(_levels_db(one) - _levels_db(other)).mean(axis=(1, 2))
    return Variation(True, float(wave_db.max()), float(apart.max()))


def _levels_db(sounds: Float64[np.ndarray, "B T"]) -> Float64[np.ndarray, "B N F"]:
    """Levels of frames of 512 samples under a Hann window, at least 80 dB below the loudest."""
    count = max(1, sounds.shape[1] // _FRAME)
    padded = np.pad(sounds, ((0, 0), (0, max(0, _FRAME - sounds.shape[1]))))
    frames = padded[:, : count * _FRAME].reshape(len(sounds), count, _FRAME)
    magnitudes = np.abs(np.fft.rfft(frames * np.hanning(_FRAME)))
    loudest = magnitudes.max(axis=(1, 2), keepdims=True)
    return 20.0 * np.log10(np.maximum(magnitudes, 10.0 ** (-_RANGE_DB / 20.0) * loudest) + 1e-30)


def audit(
    new_worker: Callable[[], EngineWorker],
    names: Sequence[str],
    values: Float64[np.ndarray, "B P"],
    num_samples: int,
    *,
    allow_variation: bool,
) -> tuple[bool, Variation]:
    """Render settings in two orders, in one process and in a fresh one, and compare.

    A fresh process also renders only the first half of each sound.

    Args:
        new_worker: starts a process.
        names: the controls that are set.
        values: a row a setting.
        num_samples: of a sound.
        allow_variation: whether sounds may differ.

    Returns:
        Whether each sound needs a new engine, and how far sounds are apart then.

    Raises:
        RecipeError: if they differ, and may not; with the figures.
    """
    found = Variation(False, -np.inf, 0.0)
    for fresh in (False, True):
        found = _apart(new_worker, names, values, num_samples, fresh)
        if not found.is_heard:
            return fresh, found
    if not allow_variation:
        raise RecipeError(
            f"synth: two sounds of the same values differ, by {found.wave_db:.1f} dB relative to "
            f"the sound and {found.spectrum_db:.1f} dB in the levels of its spectrum, also where "
            "each gets a new engine; expected the same sound. Fix what runs freely (a phase, a "
            "noise), or say synth.allow_variation=true to make the data set in spite of that"
        )
    return False, _apart(new_worker, names, values, num_samples, False)


def _apart(
    new_worker: Callable[[], EngineWorker],
    names: Sequence[str],
    values: Float64[np.ndarray, "B P"],
    num_samples: int,
    fresh: bool,
) -> Variation:
    backwards = values[::-1]

    def rendered(requests: Sequence[tuple[Float64[np.ndarray, "B P"], int]]) -> list[Sounds]:
        worker = new_worker()
        try:
            return [worker.render(names, rows, length, fresh)[0] for rows, length in requests]
        finally:
            worker.close()

    of_one = (values, num_samples), (backwards, num_samples)
    of_other = (backwards, num_samples), (values, num_samples // 2)
    processes = in_order(rendered, (of_one, of_other), threads=2)
    (first, again), (elsewhere, half) = (sounds for _, sounds in processes)
    found = [
        variation(first, again[::-1]),
        variation(first, elsewhere[::-1]),
        variation(first[:, : num_samples // 2], half),
    ]
    return max(found, key=lambda v: (v.is_heard, v.wave_db))
