"""Distances between predicted and target sounds, each sound of a batch by itself.

Those of :data:`AUDIO_METRICS` are our own: levels have an absolute floor, so that a quieter sound
is further away. Those of :data:`PUBLISHED_METRICS` are computed as papers do, in
:mod:`src.evaluation.scoring.published_distances`.

Common to our own: frames cover the whole sound, which is padded with zeros up to the end of the
last one. Spectra are those of :class:`~src.synth.spectrogram.Stft` with a periodic Hann window,
zero-padded to the power of two at or above twice its length (so that ``|X|²`` is sampled densely
enough to be the transform of the frame's whole autocorrelation). 0 dB is what a sine of amplitude
1 has in its bin, ``|X| = N/4 · 1/sqrt(n_fft)`` with a window of N samples. A sound with a NaN has
NaN distances. All take the true sounds and as many predicted ones of the same length and rate.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from jaxtyping import Float32, Float64

from src.evaluation.scoring import published_distances as published
from src.synth.parallel import Advance
from src.synth.spectrogram import Mel, Stft
from src.vimh.errors import VIMHError

FLOOR_DB = -80.0  # levels count as at least this: about where a loud full scale gets inaudible
SILENCE_DB = -200.0  # where a shape is compared, silence counts as this, so that it has one
MEL_SCALES = ((0.010, 0.005, 32), (0.025, 0.010, 64), (0.100, 0.050, 128))  # s, s, filters
WINDOW_S = 0.025
HOP_S = 0.010
MIN_RATE_HZ = 2000  # below, the narrowest mel filters hold no bin
_BLOCK_SAMPLES = 2**18  # of sound compared at a time, so that memory does not grow with the batch


@dataclass(frozen=True)
class Heard:
    """Some sounds of one length, and what distances need of them, computed once.

    Raises:
        VIMHError: for a lower sample rate.
    """

    sounds: Float32[np.ndarray, "B T"]
    sample_rate_hz: int  # at least 2000

    def __post_init__(self) -> None:
        if self.sample_rate_hz < MIN_RATE_HZ:
            raise VIMHError(
                f"sounds of {self.sample_rate_hz} Hz are not compared, expected at least "
                f"{MIN_RATE_HZ} Hz: set report.sounds=0 to leave them out"
            )

    @cached_property
    def mel_levels_db(self) -> list[Float64[np.ndarray, "B M K"]]:
        """Levels in the mel filters of each scale, not below the floor."""
        return [self._levels_db(*scale, FLOOR_DB) for scale in MEL_SCALES]

    @cached_property
    def levels_db(self) -> Float64[np.ndarray, "B F K"]:
        """Levels in the bins above 0 Hz of frames of 25 ms, not below silence."""
        return self._levels_db(WINDOW_S, HOP_S, None, SILENCE_DB)

    @cached_property
    def cumulative_power(self) -> Float64[np.ndarray, "B F K"]:
        """Sum of the power in the same bins, up to each of them."""
        return (10.0 ** (self.levels_db / 10.0)).cumsum(axis=1)

    @property
    def bin_hz(self) -> float:
        """Distance of these bins."""
        return self.sample_rate_hz / 2 / self.levels_db.shape[1]

    @cached_property
    def envelope(self) -> Float64[np.ndarray, "B K"]:
        """RMS of frames of 25 ms, at least that of silence."""
        window, hop, frames = self._framing(WINDOW_S, HOP_S)
        energy = np.square(self._padded((frames - 1) * hop + window).astype(np.float64))
        framed = np.lib.stride_tricks.sliding_window_view(energy, window, axis=1)[:, ::hop]
        return np.maximum(np.sqrt(framed.mean(axis=2)), 10.0 ** (SILENCE_DB / 20.0))

    @cached_property
    def published(self) -> published.Spectra:
        """What the distances of papers need."""
        return published.Spectra(self.sounds, self.sample_rate_hz)

    def _framing(self, window_s: float, hop_s: float) -> tuple[int, int, int]:
        """Window and hop in samples, and the number of frames that cover the sounds."""
        window, hop = round(window_s * self.sample_rate_hz), round(hop_s * self.sample_rate_hz)
        return window, hop, 1 + -(-max(0, self.sounds.shape[1] - window) // hop)

    def _padded(self, num_samples: int) -> Float32[np.ndarray, "B {num_samples}"]:
        return np.pad(self.sounds, ((0, 0), (0, num_samples - self.sounds.shape[1])))

    def _levels_db(
        self, window_s: float, hop_s: float, num_mels: int | None, floor_db: float
    ) -> Float64[np.ndarray, "B F K"]:
        """Levels relative to a sine of amplitude 1."""
        window, hop, frames = self._framing(window_s, hop_s)
        n_fft = 2 ** (2 * window - 1).bit_length()
        full_scale_db = 20.0 * np.log10(window / 4 / np.sqrt(n_fft))
        make = Stft if num_mels is None else partial(Mel, freq_min_hz=0.0, freq_max_ratio=1.0)
        front_end = make(
            self.sample_rate_hz,
            height=n_fft // 2 if num_mels is None else num_mels,
            width=frames,
            n_fft=n_fft,
            n_window=window,
            hop_length=hop,
            window_type="hann",
            floor_db=floor_db + full_scale_db,
        )
        return front_end(self._padded(front_end.num_samples)) - full_scale_db


def multi_scale_spectral_db(target: Heard, predicted: Heard) -> Float64[np.ndarray, "B"]:
    r"""Log-mel multi-scale spectral distance, dB; 0: the same.

    .. math::
        \frac{1}{3} \sum_s \frac{1}{K_s M_s} \sum_{k,m} |L_s[k,m] - \hat L_s[k,m]|, \quad
        L = 20 \log_{10} \max(\mathrm{mel}(|X|), 10^{-80/20})

    over scales s of windows 10, 25 and 100 ms, hops 5, 10 and 50 ms and 32, 64 and 128 mel
    filters from 0 Hz to Nyquist, K frames and M filters. A sound that is g dB louder in all bins
    is g dB away.

    The scales and the L1 norm are those of B. Hayes, C. Saitis, G. Fazekas, "Audio synthesizer
    inversion in symmetric parameter spaces with approximately equivariant flow matching", ISMIR
    2025 (arXiv 2506.07199); multi-scale spectra as a distance: J. Engel et al., "DDSP", ICLR 2020.

    Example:
        >>> sound = np.sin(np.arange(8000, dtype=np.float32) * 0.3)[None]
        >>> multi_scale_spectral_db(Heard(sound, 8000), Heard(sound, 8000)).tolist()
        [0.0]
    """
    pairs = zip(target.mel_levels_db, predicted.mel_levels_db, strict=True)
    return np.mean([np.abs(ours - theirs).mean(axis=(1, 2)) for ours, theirs in pairs], axis=0)


def log_spectral_db(target: Heard, predicted: Heard) -> Float64[np.ndarray, "B"]:
    r"""Log-spectral distance, dB; 0: the same.

    .. math::
        \frac{1}{K} \sum_k \sqrt{\frac{1}{F} \sum_f (L[k,f] - \hat L[k,f])^2}, \quad
        L = 20 \log_{10} \max(|X|, 10^{-80/20})

    over K frames (window 25 ms, hop 10 ms) and the F bins above 0 Hz: the RMS log spectral measure
    of A. H. Gray, J. D. Markel, "Distance measures for speech processing", IEEE Trans. ASSP 24
    (1976), averaged over frames.
    """
    ours, theirs = (np.maximum(heard.levels_db, FLOOR_DB) for heard in (target, predicted))
    difference = ours - theirs
    return np.sqrt(np.square(difference).mean(axis=1)).mean(axis=1)


def envelope_cosine(target: Heard, predicted: Heard) -> Float64[np.ndarray, "B"]:
    r"""Cosine of the RMS envelopes; 1: the same shape, whatever the level.

    .. math::
        \frac{\sum_k r_k \hat r_k}{\sqrt{\sum_k r_k^2 \, \sum_k \hat r_k^2}}, \quad
        r_k = \max\left(\sqrt{\tfrac{1}{N} \sum_n x_k[n]^2},\, 10^{-200/20}\right)

    over frames x_k of 25 ms (rectangular window), hop 10 ms: the amplitude envelope measure of
    Hayes et al. 2025 (see :func:`multi_scale_spectral_db`).

    Example:
        >>> decay = np.exp(-np.arange(8000, dtype=np.float32) / 800)[None]
        >>> envelope_cosine(Heard(decay, 8000), Heard(0.5 * decay, 8000)).round(9).tolist()
        [1.0]
    """
    ours, theirs = target.envelope, predicted.envelope
    norms = np.sqrt(np.square(ours).sum(axis=1) * np.square(theirs).sum(axis=1))
    return (ours * theirs).sum(axis=1) / norms


def spectral_transport_hz(target: Heard, predicted: Heard) -> Float64[np.ndarray, "B"]:
    r"""Spectral optimal transport, Hz: how far energy has to be moved along frequency; 0: nowhere.

    .. math::
        \sum_k w_k \, \Delta f \sum_f |C_k[f] - \hat C_k[f]|, \quad
        C_k[f] = \frac{\sum_{g \le f} P_k[g]}{\sum_g P_k[g]}, \quad
        w_k \propto \left(\sum_g P_k[g] \, \sum_g \hat P_k[g]\right)^{1/4}

    with ``P = max(|X|², 10^(-200/10))`` in frames of 25 ms, hop 10 ms, and Δf the distance of bins.
    The inner sum is the Wasserstein distance of order 1 of two distributions on a line; a tone that
    is 50 Hz off is 50 Hz away, which distances of levels do not see beyond the width of a bin. The
    weights (geometric mean of both sounds' RMS, with sum 1) make loud frames count; the
    distance does not depend on level.

    After B. Torres, G. Peeters, G. Richard, "Unsupervised harmonic parameter estimation using
    differentiable DSP and spectral optimal transport", ICASSP 2024 (arXiv 2312.14507), and E.
    Cazelles, A. Robert, F. Tobar, "The Wasserstein-Fourier distance for stationary time series",
    IEEE Trans. Signal Processing 69 (2021); the weighting of frames is ours.
    """
    ours, theirs = target.cumulative_power, predicted.cumulative_power
    weights = (ours[:, -1] * theirs[:, -1]) ** 0.25
    weights /= weights.sum(axis=1, keepdims=True)
    distance = np.abs(ours / ours[:, -1:] - theirs / theirs[:, -1:]).sum(axis=1)
    return (weights * distance).sum(axis=1) * target.bin_hz


@dataclass(frozen=True)
class AudioMetric:
    """A distance and its description."""

    name: str  # its key in `metrics.json`
    label: str  # for people
    unit: str  # of the value
    higher_is_better: bool  # whether a larger value is nearer
    function: Callable[[Heard, Heard], Float64[np.ndarray, "B"]]  # what computes it


AUDIO_METRICS = (
    AudioMetric("sound_mss", "multi-scale spectral", "dB", False, multi_scale_spectral_db),
    AudioMetric("sound_lsd", "log-spectral", "dB", False, log_spectral_db),
    AudioMetric("sound_envelope", "envelope cosine", "", True, envelope_cosine),
    AudioMetric("sound_transport", "spectral transport", "Hz", False, spectral_transport_hz),
)


def _as_published(
    function: Callable[[published.Spectra, published.Spectra], Float64[np.ndarray, "B"]],
) -> Callable[[Heard, Heard], Float64[np.ndarray, "B"]]:
    return lambda target, predicted: function(target.published, predicted.published)


PUBLISHED_METRICS = tuple(
    AudioMetric(f"published_{name}", label, unit, name == "rms", _as_published(function))
    for name, label, unit, function in (
        ("mss", "MSS", "dB", published.mss_db),
        ("wmfcc", "wMFCC", "", published.wmfcc),
        ("sot", "SOT", "", published.sot),
        ("rms", "RMS cosine", "", published.rms_cosine),
        ("sc", "spectral convergence", "", published.spectral_convergence),
        ("lsd", "LSD", "", published.lsd),
    )
)


def audio_distances(
    target: Float32[np.ndarray, "B T"],
    predicted: Mapping[str, Float32[np.ndarray, "B T"]],
    sample_rate_hz: int,
    advance: Advance = lambda what, done, total: None,
) -> dict[str, dict[str, Float64[np.ndarray, "B"]]]:
    """Compute every metric, our own and the published, for each sound, by method and metric.

    Args:
        target: true sounds.
        predicted: by method as many of the same length.
        sample_rate_hz: of all.
        advance: hears how many sounds are compared.

    Raises:
        VIMHError: for a lower sample rate.
    """
    size = max(1, _BLOCK_SAMPLES // target.shape[1])
    metrics = (*AUDIO_METRICS, *PUBLISHED_METRICS)
    found: dict[str, dict[str, list[np.ndarray]]] = {
        method: {metric.name: [] for metric in metrics} for method in predicted
    }
    for start in range(0, len(target), size):
        ours = Heard(target[start : start + size], sample_rate_hz)
        for method, sounds in predicted.items():
            theirs = Heard(sounds[start : start + size], sample_rate_hz)
            for metric in metrics:
                found[method][metric.name].append(metric.function(ours, theirs))
        advance("comparing", min(start + size, len(target)), len(target))
    return {
        method: {name: np.concatenate(parts) for name, parts in blocks.items()}
        for method, blocks in found.items()
    }
