"""Two sounds compared, as a vector of differences: on the waveform, or by their spectra."""

from abc import ABC, abstractmethod

import numpy as np
import scipy.fft
import scipy.ndimage
from jaxtyping import Complex128, Float64

Gains = tuple[float, float] | None  # the range of a factor that is solved for; None: it is 1

_WHITENING = 0.02  # of the bins: the width over which the target's spectrum is averaged
_FLOOR = 0.01  # of its largest: below that whitening does not raise it
_NOISE = 10.0  # times the level of the quietest tenth of all bins, in which noise may be
_PARTS, _LOUD = 64, 0.1
_SCALES_S = (0.064, 0.016, 0.004)  # frames of the spectra
_SMOOTHED = (4, 3)  # frames and bins whose powers are averaged, so that noise is like other noise
_SPECTRUM_FLOOR = 1e-3  # of the target's largest magnitude: 60 dB


class Comparison(ABC):
    """How far rendered sounds are from a target.

    Attributes:
        num_samples: so many of the beginning are compared.
        below_hz: what is rendered above need not be right; None: all counts.
    """

    num_samples: int
    below_hz: float | None = None

    @abstractmethod
    def __call__(
        self, sounds: Float64[np.ndarray, "B T"], gains: Gains
    ) -> tuple[Float64[np.ndarray, "B N"], Float64[np.ndarray, "B"]]:
        """Return the differences, relative to the target's norm, and the best factors.

        Args:
            sounds: of `num_samples`.
            gains: between which the factor on each sound is solved for.
        """


class Waveform(Comparison):
    """The waveforms' beginnings, low-passed and whitened.

    Differences are of the bins of a Fourier transform, which by Parseval's theorem have the norm of
    the filtered waveform. The low-pass is a Gaussian. Whitening divides by the target's own
    spectrum, averaged over a fiftieth of the bins, so that a weak high mode counts as a strong low
    one.

    Args:
        audio: the target.
        sample_rate_hz: its rate.
        num_samples: so many of its beginning are compared.
        smoothing_hz: the low-pass's standard deviation; None: no low-pass.
        is_faded: whether the second half fades out, so that cutting makes no edge.
    """

    def __init__(
        self,
        audio: Float64[np.ndarray, "T"],
        sample_rate_hz: int,
        num_samples: int,
        smoothing_hz: float | None = None,
        is_faded: bool = True,
    ) -> None:
        self.num_samples = num_samples
        self._fade = np.ones(num_samples)
        if is_faded:
            half = num_samples // 2
            self._fade[-half:] = 0.5 + 0.5 * np.cos(np.pi * (np.arange(half) + 0.5) / half)
        self._size = int(scipy.fft.next_fast_len(num_samples, real=True))
        bins_hz = scipy.fft.rfftfreq(self._size, 1.0 / sample_rate_hz)
        self._heard = slice(0, len(bins_hz))
        weights = np.ones(len(bins_hz))
        if smoothing_hz is not None:
            self._heard = slice(0, int(np.searchsorted(bins_hz, 3.0 * smoothing_hz)) + 1)
            self.below_hz = 3.5 * smoothing_hz
            weights = np.exp(-0.5 * (bins_hz / smoothing_hz) ** 2)[self._heard]
        power = np.abs(self._bins(audio[None, :num_samples]))[0] ** 2
        width = 2 * max(4, int(_WHITENING * len(power))) + 1
        averaged = scipy.ndimage.uniform_filter1d(power, width)
        level = np.sqrt(averaged.clip(min=0.0))  # its running sums leave roundings
        floor = _FLOOR * level.max()
        if smoothing_hz is None:
            floor = max(floor, _NOISE * np.quantile(level, 0.1))
        self._weights = weights / (level + floor)
        target = self._spectra(audio[None, :num_samples])
        norm = np.linalg.norm(target)
        self._weights /= norm
        self._target = target / norm

    def _bins(self, sounds: Float64[np.ndarray, "B T"]) -> Complex128[np.ndarray, "B N"]:
        bins: Complex128[np.ndarray, "B N"] = scipy.fft.rfft(sounds * self._fade, self._size)
        return bins[:, self._heard]

    def _spectra(self, sounds: Float64[np.ndarray, "B T"]) -> Float64[np.ndarray, "B N"]:
        return (self._bins(sounds) * self._weights).view(np.float64)

    def __call__(
        self, sounds: Float64[np.ndarray, "B T"], gains: Gains
    ) -> tuple[Float64[np.ndarray, "B N"], Float64[np.ndarray, "B"]]:
        """Return the differences and the factors of least squares; see :class:`Comparison`."""
        spectra = self._spectra(sounds)
        best = best_gains(spectra, self._target[0], gains)
        spectra *= best[:, None]
        spectra -= self._target
        return spectra, best


class Loud(Comparison):
    """The waveforms as they are, up to where the target is last loud.

    That is the last sixty-fourth of it within 10 dB of the loudest: what follows may be noise.

    Args:
        audio: the target.
    """

    def __init__(self, audio: Float64[np.ndarray, "T"]) -> None:
        size = -(-len(audio) // _PARTS)
        energies = np.add.reduceat(np.square(audio), np.arange(0, len(audio), size))
        last = int(np.flatnonzero(energies >= _LOUD * energies.max())[-1])
        self.num_samples = min(len(audio), (last + 1) * size)
        heard = audio[: self.num_samples]
        self._norm = np.linalg.norm(heard)
        self._target = heard / self._norm

    def __call__(
        self, sounds: Float64[np.ndarray, "B T"], gains: Gains
    ) -> tuple[Float64[np.ndarray, "B N"], Float64[np.ndarray, "B"]]:
        """Return the differences and the factors of least squares; see :class:`Comparison`."""
        relative = sounds / self._norm
        best = best_gains(relative, self._target, gains)
        return best[:, None] * relative - self._target, best


class Spectra(Comparison):
    """The magnitudes of spectra of several frame lengths, in logarithms, without phases.

    Levels are logarithms above a floor 60 dB below the target's largest magnitude, which is their
    zero. The factor is that of equal energies.

    Args:
        audio: the target.
        sample_rate_hz: its rate.
    """

    def __init__(self, audio: Float64[np.ndarray, "T"], sample_rate_hz: int) -> None:
        self.num_samples = len(audio)
        lengths = {max(16, round(seconds * sample_rate_hz)) for seconds in _SCALES_S}
        self._lengths = sorted(min(length, len(audio)) for length in lengths)
        self._energy = float(np.square(audio).sum())
        magnitudes = self._magnitudes(audio[None])
        self._floors = [_SPECTRUM_FLOOR * own.max() for own in magnitudes]
        self._target = self._levels(magnitudes)
        self._norm = np.linalg.norm(self._target)

    def _magnitudes(self, sounds: Float64[np.ndarray, "B T"]) -> list[Float64[np.ndarray, "B _ _"]]:
        found = []
        for length in self._lengths:
            frames = np.lib.stride_tricks.sliding_window_view(sounds, length, axis=1)
            hopped = frames[:, :: max(1, length // 2)] * np.hanning(length + 1)[1:]
            power = np.square(np.abs(scipy.fft.rfft(hopped, axis=2)))
            averaged = scipy.ndimage.uniform_filter(power, (0, *_SMOOTHED))
            found.append(np.sqrt(averaged.clip(min=0.0)))
        return found

    def _levels(self, magnitudes: list[Float64[np.ndarray, "B _ _"]]) -> Float64[np.ndarray, "B N"]:
        parts = []
        for own, floor in zip(magnitudes, self._floors, strict=True):
            levels = np.log1p(own / floor).reshape(len(own), -1)
            parts.append(levels / np.sqrt(levels.shape[1]))  # every length counts the same
        return np.concatenate(parts, axis=1)

    def __call__(
        self, sounds: Float64[np.ndarray, "B T"], gains: Gains
    ) -> tuple[Float64[np.ndarray, "B N"], Float64[np.ndarray, "B"]]:
        """Return the differences and the factors of equal energies; see :class:`Comparison`."""
        best = np.ones(len(sounds))
        if gains is not None:
            energy = np.maximum(np.square(sounds).sum(axis=1), np.finfo(float).tiny)
            best = np.sqrt(self._energy / energy).clip(*gains)
        levels = self._levels(self._magnitudes(sounds * best[:, None]))
        return (levels - self._target) / self._norm, best


def best_gains(
    sounds: Float64[np.ndarray, "B N"], target: Float64[np.ndarray, "N"], gains: Gains
) -> Float64[np.ndarray, "B"]:
    """Return the factors that bring sounds nearest to a target, ``⟨s, t⟩/⟨s, s⟩``, within a range.

    Example:
        >>> best_gains(np.array([[2.0, 0.0], [0.0, 0.0]]), np.array([1.0, 0.0]), (0.1, 10.0))
        array([0.5, 0.1])
    """
    if gains is None:
        return np.ones(len(sounds))
    energy = np.square(sounds).sum(axis=1)
    return np.asarray((sounds @ target / np.where(energy > 0, energy, 1.0)).clip(*gains))
