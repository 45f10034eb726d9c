"""Distances between sounds as papers compute them, so that figures can be set beside theirs.

Each function follows one reference implementation: its frames, its weights, its floors. Where that
one gives frames in seconds (MSS, wMFCC, SOT, RMS cosine, LSD), so do these, at the sounds' own
rate; papers report them at 44.1 kHz. `tests/evaluation/scoring/test_published_distances.py` has
what librosa, dtw-python and auraloss give. Our own distances, with an absolute floor, are in
:mod:`src.evaluation.scoring.audio_metrics`.

The first four are those of the evaluation script of the code of B. Hayes, C. Saitis, G. Fazekas,
"Audio synthesizer inversion in symmetric parameter spaces with approximately equivariant flow
matching", ISMIR 2025 (arXiv 2506.07199; github.com/ben-hayes/synth-permutations). Its transforms
are librosa's: frame k is centred on sample k times the hop, zeros stand before and after the sound,
and windows are periodic Hann windows as long as the transform.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import scipy.fft
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from src.synth.spectrogram import periodic_window

MEL_SCALES = ((10, 5, 32), (25, 10, 64), (100, 50, 128))  # window and hop in ms, filters
NUM_MFCC = 20
TOP_DB = 80.0  # below a file's loudest value: what is quieter counts as that
LEAST_POWER = 1e-10
LEAST_SUM = 1e-6  # of a frame's magnitudes: silence is divided by it
CONVERGENCE_FFT, CONVERGENCE_HOP = 1024, 256
CONVERGENCE_LEAST = 1e-8  # of a bin's power
LSD_LEAST = 1e-12


@dataclass(frozen=True)
class Spectra:
    """Some sounds of one length, and what published distances need of them, computed once."""

    sounds: Float32[np.ndarray, "B T"]
    sample_rate_hz: int

    @cached_property
    def mel_levels_db(self) -> list[Float32[np.ndarray, "B M K"]]:
        """Levels in the mel filters of each scale, dB relative to the loudest of the sound."""
        found = []
        for window_ms, hop_ms, num_mels in MEL_SCALES:
            window = int(window_ms * self.sample_rate_hz / 1000.0)
            hop = int(hop_ms * self.sample_rate_hz / 1000.0)
            power = self._mel_power(window, hop, num_mels)
            levels = 10.0 * torch.log10(power.clamp(min=LEAST_POWER))
            found.append(_limited(levels - levels.amax(dim=(1, 2), keepdim=True)).numpy())
        return found

    @cached_property
    def mfcc(self) -> Float64[np.ndarray, "B K 20"]:
        """The first 20 mel-frequency cepstral coefficients of each frame."""
        window, hop = int(0.05 * self.sample_rate_hz), int(0.01 * self.sample_rate_hz)
        power = self._mel_power(window, hop, 128)
        levels = _limited(10.0 * torch.log10(power.clamp(min=LEAST_POWER))).double().numpy()
        cepstra = scipy.fft.dct(levels, axis=1, type=2, norm="ortho")
        return np.ascontiguousarray(cepstra[:, :NUM_MFCC].transpose(0, 2, 1))

    @cached_property
    def cumulative_shares(self) -> Float64[np.ndarray, "B F K"]:
        """The share of a frame's magnitudes up to each bin."""
        window, hop = int(0.05 * self.sample_rate_hz), int(0.02 * self.sample_rate_hz)
        magnitude = _transform(torch.from_numpy(self.sounds), window, hop).abs().double()
        shares = magnitude / magnitude.sum(dim=1, keepdim=True).clamp(min=LEAST_SUM)
        return shares.cumsum(dim=1).numpy()

    @cached_property
    def envelope(self) -> Float64[np.ndarray, "B K"]:
        """RMS of frames of 50 ms, hop 25 ms."""
        window, hop = int(0.05 * self.sample_rate_hz), int(0.025 * self.sample_rate_hz)
        padded = np.pad(self.sounds.astype(np.float64), ((0, 0), (window // 2, window // 2)))
        frames = np.lib.stride_tricks.sliding_window_view(np.square(padded), window, axis=1)
        return np.sqrt(frames[:, ::hop].mean(axis=2))

    @cached_property
    def magnitudes(self) -> Float64[np.ndarray, "B F K"]:
        """Magnitudes of frames of 1024 samples, hop 256, the sound mirrored at its ends."""
        short = max(0, CONVERGENCE_FFT // 2 + 1 - self.sounds.shape[1])  # too short to be mirrored
        audio = torch.nn.functional.pad(torch.from_numpy(self.sounds), (0, short))
        spectrum = _transform(audio, CONVERGENCE_FFT, CONVERGENCE_HOP, "reflect")
        power = (spectrum.real.square() + spectrum.imag.square()).clamp(min=CONVERGENCE_LEAST)
        return power.sqrt().double().numpy()

    @cached_property
    def fine_magnitudes(self) -> Float64[np.ndarray, "B F K"]:
        """Magnitudes of frames of 46 ms, hop 10 ms, in double precision: nothing limits them."""
        length, hop = int(2048 / (44100 / self.sample_rate_hz)), int(self.sample_rate_hz / 100)
        padded = np.pad(self.sounds.astype(np.float64), ((0, 0), (length // 2, length // 2)))
        frames = np.lib.stride_tricks.sliding_window_view(padded, length, axis=1)[:, ::hop]
        # SciPy's transform takes a third of torch's time for lengths such as 371.
        spectrum = scipy.fft.rfft(frames * periodic_window("hann", length), axis=2)
        return np.abs(spectrum).transpose(0, 2, 1)

    def _mel_power(self, window: int, hop: int, num_mels: int) -> Float32[Tensor, "B M K"]:
        spectrum = _transform(torch.from_numpy(self.sounds), window, hop)
        power = spectrum.real.square() + spectrum.imag.square()
        return _slaney_filters(num_mels, window, self.sample_rate_hz) @ power


def mss_db(target: Spectra, predicted: Spectra) -> Float64[np.ndarray, "B"]:
    r"""MSS of Hayes et al. 2025, dB; 0: the same, up to the level.

    .. math::
        \frac{1}{3} \sum_s \frac{1}{K_s M_s} \sum_{k,m} |L_s[k,m] - \hat L_s[k,m]|

    over windows of 10, 25 and 100 ms, hops of 5, 10 and 50 ms and 32, 64 and 128 mel filters
    (Slaney's scale and norm, 0 Hz to Nyquist, on the power). L is ``power_to_db(ref=max)``: 10
    log₁₀ of at least 1e-10, relative to the sound's own loudest value, at most 80 dB below it. So a
    sound that is louder as a whole is no further away. At low rates the lowest filters are narrower
    than a bin and hold nothing, as in librosa.

    Example:
        >>> sound = np.sin(np.arange(8000, dtype=np.float32) * 0.3)[None]
        >>> mss_db(Spectra(sound, 8000), Spectra(sound, 8000)).tolist()
        [0.0]
    """
    pairs = zip(target.mel_levels_db, predicted.mel_levels_db, strict=True)
    scales = [np.abs(ours - theirs).mean(axis=(1, 2), dtype=np.float64) for ours, theirs in pairs]
    return np.mean(scales, axis=0)


def wmfcc(target: Spectra, predicted: Spectra) -> Float64[np.ndarray, "B"]:
    """Time-warped distance of cepstra (wMFCC) of Hayes et al. 2025; 0: the same.

    The cost of dynamic time warping (:func:`warped_cost`) between 20 MFCC of each frame: windows of
    50 ms, hop 10 ms, 128 mel filters as in :func:`mss_db`, ``power_to_db`` with its default
    reference of 1 and at most 80 dB below the loudest, orthonormal DCT-II. The cost of two frames
    is the mean absolute difference of their coefficients.
    """
    return warped_cost(target.mfcc, predicted.mfcc)


def sot(target: Spectra, predicted: Spectra) -> Float64[np.ndarray, "B"]:
    r"""Spectral optimal transport (SOT) of Hayes et al. 2025, share of Nyquist; 0: the same.

    .. math::
        \frac{1}{K} \sum_k \frac{1}{F} \sum_f |C_k[f] - \hat C_k[f]|

    with C the cumulative sums of a frame's magnitudes, divided by their sum (at least 1e-6):
    windows of 50 ms, hop 20 ms. It is the Wasserstein distance of order 1 where the F bins are 1/F
    apart; all frames count alike, silent ones too.
    """
    ours, theirs = target.cumulative_shares, predicted.cumulative_shares
    return np.abs(ours - theirs).mean(axis=(1, 2))


def rms_cosine(target: Spectra, predicted: Spectra) -> Float64[np.ndarray, "B"]:
    r"""Cosine of the RMS envelopes of Hayes et al. 2025; 1: the same shape, whatever the level.

    .. math::
        \frac{\sum_k r_k \hat r_k}{\sqrt{\sum_k r_k^2} \sqrt{\sum_k \hat r_k^2}}

    with r the RMS of frames of 50 ms, hop 25 ms. For silence, where the script divides 0 by 0, it
    is 1 where both sounds are silent and 0 where one is.
    """
    ours, theirs = target.envelope, predicted.envelope
    norms = [np.sqrt(np.square(envelope).sum(axis=1)) for envelope in (ours, theirs)]
    both_silent = (norms[0] == 0) & (norms[1] == 0)
    product = norms[0] * norms[1]
    cosine = (ours * theirs).sum(axis=1) / np.where(product == 0, 1.0, product)
    return np.where(both_silent, 1.0, cosine)


def spectral_convergence(target: Spectra, predicted: Spectra) -> Float64[np.ndarray, "B"]:
    r"""Spectral convergence, a share of the target's norm; 0: the same magnitudes.

    .. math::
        \frac{\| |X| - |\hat X| \|_F}{\| |X| \|_F}

    S. Ö. Arık, H. Jun, G. Diamos, "Fast spectrogram inversion using multi-head convolutional neural
    networks", IEEE Signal Processing Letters 26 (2019, arXiv 1808.06719), with the settings of
    `auraloss.freq.STFTLoss` (C. Steinmetz, J. Reiss, DMRN+15, 2020): 1024 samples at any rate, hop
    256, Hann, the sound mirrored at its ends, powers at least 1e-8. It is not symmetric.
    """
    ours, theirs = target.magnitudes, predicted.magnitudes
    norms = [np.sqrt(np.square(x).sum(axis=(1, 2))) for x in (ours - theirs, ours)]
    return np.asarray(norms[0] / norms[1])


def lsd(target: Spectra, predicted: Spectra) -> Float64[np.ndarray, "B"]:
    r"""Log-spectral distance (LSD), in decades of power (× 10: dB); 0: the same.

    .. math::
        \frac{1}{K} \sum_k \sqrt{\frac{1}{F} \sum_f \left(\log_{10}\left(
        \frac{|X|^2}{(|\hat X| + \epsilon)^2} + \epsilon\right)\right)^2}, \quad \epsilon = 10^{-12}

    over frames of 2048 samples at 44.1 kHz (46 ms), hop 10 ms, Hann, centred: that of H. Liu et
    al., "Neural vocoder is all you need for speech super-resolution", INTERSPEECH 2022 (arXiv
    2203.14941), and of its `ssr_eval`. It has no floor: the quietest bins count as the loudest
    ones, and one that is exactly 0 in the target counts as 12 decades, in equal sounds too.
    """
    ours, theirs = target.fine_magnitudes, predicted.fine_magnitudes
    decades = np.log10(np.square(ours) / np.square(theirs + LSD_LEAST) + LSD_LEAST)
    return np.sqrt(np.square(decades).mean(axis=1)).mean(axis=1)


def warped_cost(
    ours: Float64[np.ndarray, "B N D"], theirs: Float64[np.ndarray, "B M D"]
) -> Float64[np.ndarray, "B"]:
    """Return the cost of the best alignment of each pair of sequences, divided by N + M.

    Dynamic time warping: ``g[i,j] = min(g[i-1,j] + c, g[i,j-1] + c, g[i-1,j-1] + 2 c)`` with c the
    mean absolute difference of two vectors; H. Sakoe, S. Chiba, "Dynamic programming algorithm
    optimization for spoken word recognition", IEEE Trans. ASSP 26 (1978), the symmetric form P = 0:
    `symmetric2` of T. Giorgino's dtw, whose `normalizedDistance` this is. All pairs and all places
    of an antidiagonal are computed at once.

    Example:
        >>> steps = np.array([[[0.0], [1.0], [1.0], [2.0]]])
        >>> warped_cost(steps, steps[:, [0, 0, 1, 3]]).tolist()
        [0.0]
    """
    count, rows, columns = len(ours), ours.shape[1], theirs.shape[1]
    costs = torch.cdist(torch.from_numpy(ours), torch.from_numpy(theirs), p=1.0) / ours.shape[2]
    flipped = costs.numpy()[:, :, ::-1]  # whose diagonals are antidiagonals
    before, last = np.full((2, count, rows + 1), np.inf)  # g of two antidiagonals, by i + 1
    before[:, 0] = 0.0
    for number in range(rows + columns - 1):
        cost = np.diagonal(flipped, columns - 1 - number, axis1=1, axis2=2)
        first = max(0, number - columns + 1)
        here, above = (
            slice(first + 1, first + 1 + cost.shape[1]),
            slice(first, first + cost.shape[1]),
        )
        best = np.minimum(last[:, above], last[:, here]) + cost
        weight = 2.0 if number else 1.0  # the first cost counts once
        new = np.full_like(last, np.inf)
        np.minimum(best, before[:, above] + weight * cost, out=new[:, here])
        before, last = last, new
    return last[:, rows] / (rows + columns)


def _limited(levels: Float32[Tensor, "B M K"]) -> Float32[Tensor, "B M K"]:
    """Raise what lies more than 80 dB below a sound's loudest value."""
    return torch.maximum(levels, levels.amax(dim=(1, 2), keepdim=True) - TOP_DB)


def _transform(
    audio: Float[Tensor, "B T"], length: int, hop: int, pad_mode: str = "constant"
) -> Tensor:
    """Return the spectra (B, F, K) of centred frames with a Hann window."""
    window = torch.hann_window(length, dtype=torch.float64).to(audio.dtype)
    return torch.stft(
        audio, length, hop, window=window, center=True, pad_mode=pad_mode, return_complex=True
    )


@lru_cache(maxsize=8)
def _slaney_filters(num_mels: int, n_fft: int, sample_rate_hz: int) -> Float32[Tensor, "M F"]:
    """Return triangular filters, 0 Hz to Nyquist, of unit area in Hz.

    Their edges are equally far apart on the scale of M. Slaney, "Auditory Toolbox", Interval
    Research 1998-010: linear below 1 kHz (3 mel in 200 Hz), then 27 mel for a factor of 6.4.
    """
    per_mel_hz, corner_hz, log_step = 200.0 / 3.0, 1000.0, np.log(6.4) / 27.0
    corner = corner_hz / per_mel_hz
    nyquist_hz = sample_rate_hz / 2
    top = nyquist_hz / per_mel_hz
    if nyquist_hz >= corner_hz:
        top = corner + np.log(nyquist_hz / corner_hz) / log_step
    mels = np.linspace(0.0, top, num_mels + 2)
    above = corner_hz * np.exp(log_step * (mels - corner))
    edges_hz = np.where(mels >= corner, above, per_mel_hz * mels)
    bins_hz = np.fft.rfftfreq(n_fft, 1.0 / sample_rate_hz)
    low, centre, high = (edges_hz[k : k + num_mels, None] for k in range(3))
    rising, falling = (bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)
    filters = np.maximum(0.0, np.minimum(rising, falling)) * 2.0 / (high - low)
    return torch.from_numpy(filters.astype(np.float32))
