"""The front ends of this project: the short-time Fourier transform, and mel filters on it."""

from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Annotated, ClassVar

import numpy as np
import scipy.fft
import scipy.sparse
import torch
from annotated_types import Interval
from jaxtyping import Complex64, Float32, Float64

from src.schema.bounds import Whole
from src.synth.errors import RecipeError
from src.synth.front_end import FrontEnd
from src.synth.transforms import Bins, Filters, Frames, Heard, Level, StftTransform
from src.vimh.fields import MOST_SOUND

# a0 - a1·cos(2πn/N) + a2·cos(4πn/N), periodic: Harris, "On the use of windows for harmonic
# analysis with the discrete Fourier transform", Proc. IEEE 66 (1978)
_WINDOW_COEFFICIENTS = {
    "rectangular": (1.0, 0.0, 0.0),
    "hann": (0.5, 0.5, 0.0),
    "hamming": (0.54, 0.46, 0.0),
    "blackman": (0.42, 0.5, 0.08),
}
WINDOW_TYPES = tuple(_WINDOW_COEFFICIENTS)

# Samples of a window, a transform or a hop.
Length = Annotated[Whole, Interval(ge=1, le=2**24)]
BinsPerHarmonic = Annotated[float, Interval(ge=0, le=1e6)]  # 0: not known
RelativeFloor = Annotated[float, Interval(ge=-1500, lt=0)]
LowestFrequency = Annotated[float, Interval(ge=0, le=MOST_SOUND)]
NyquistShare = Annotated[float, Interval(gt=0, le=1)]
# Numbers in the transforms of one image and in its mel filters: a gigabyte of float32 each.
_MAX_TRANSFORMED, _MAX_FILTERS = 2**28, 2**24


def periodic_window(window_type: str, length: int) -> Float64[np.ndarray, "{length}"]:
    """Return the window's periodic form: a period of N points, not symmetric over N - 1.

    Raises:
        VIMHError: for an unknown type.

    Example:
        >>> periodic_window("hann", 4).round(2).tolist()
        [0.0, 0.5, 1.0, 0.5]
    """
    if window_type not in _WINDOW_COEFFICIENTS:
        raise RecipeError(
            f"stft.window_type is {window_type!r}; expected one of {', '.join(WINDOW_TYPES)}"
        )
    a0, a1, a2 = _WINDOW_COEFFICIENTS[window_type]
    angle = 2.0 * np.pi * np.arange(length) / length
    return a0 - a1 * np.cos(angle) + a2 * np.cos(2.0 * angle)


def mel_edges_hz(
    num_filters: int, sample_rate_hz: int, freq_min_hz: float, freq_max_hz: float
) -> Float64[np.ndarray, "{num_filters}+2"]:
    """Frequencies equally spaced on the mel scale: of filter k the centre is number k + 1.

    The scale is ``2595·log10(1 + f/700)`` (O'Shaughnessy, "Speech Communication", 1987).

    Raises:
        VIMHError: if the frequencies are not in order.

    Example:
        >>> mel_edges_hz(1, 8000, 0.0, 4000.0).round().tolist()
        [0.0, 1114.0, 4000.0]
    """
    nyquist_hz = sample_rate_hz / 2
    if not 0 <= freq_min_hz < freq_max_hz <= nyquist_hz:
        raise RecipeError(
            f"mel.freq_min is {freq_min_hz:g}; expected at least 0 and less than {freq_max_hz:g} "
            f"Hz, mel.freq_max_ratio of Nyquist, which is at most {nyquist_hz:g} Hz"
        )
    low_mel, high_mel = (2595.0 * np.log10(1.0 + f / 700.0) for f in (freq_min_hz, freq_max_hz))
    return 700.0 * (10.0 ** (np.linspace(low_mel, high_mel, num_filters + 2) / 2595.0) - 1.0)


def mel_filters(
    num_filters: int, n_fft: int, sample_rate_hz: int, freq_min_hz: float, freq_max_hz: float
) -> Float64[np.ndarray, "{num_filters} F"]:
    """Triangular filters between the edges of :func:`mel_edges_hz`, each summing to 1.

    A triangle rises and falls linearly in Hz, from the centre before it to the centre after it.

    Raises:
        VIMHError: if the frequencies are not in order, or a filter is narrower than a bin.
    """
    edges_hz = mel_edges_hz(num_filters, sample_rate_hz, freq_min_hz, freq_max_hz)
    bins_hz = np.arange(n_fft // 2 + 1) * sample_rate_hz / n_fft
    left, centre, right = (edges_hz[i : i + num_filters, None] for i in range(3))
    with np.errstate(invalid="ignore", divide="ignore"):  # of edges that are one number
        rising = (bins_hz - left) / (centre - left)
        falling = (right - bins_hz) / (right - centre)
    filters = np.maximum(0.0, np.minimum(rising, falling))
    sums = filters.sum(axis=1, keepdims=True)
    if not (sums > 0).all():
        empty = int(np.argmin(sums > 0))
        raise RecipeError(
            f"image.height is {num_filters}, each row a mel filter, but filter {empty + 1} "
            f"({edges_hz[empty]:.0f}…{edges_hz[empty + 2]:.0f} Hz) holds none of the "
            f"{len(bins_hz)} bins of stft.n_fft {n_fft}; take a longer n_fft or fewer rows"
        )
    return filters / sums


def decibels(
    magnitude: Float32[np.ndarray, "B H W"], floor_db: float, floor_db_rel: float | None
) -> Float32[np.ndarray, "B H W"]:
    """Return ``20·log10(magnitude)``, in the memory of its argument.

    Args:
        magnitude: of each sound's image.
        floor_db: level that quieter values count as.
        floor_db_rel: the same relative to each sound's own maximum (negative), or None.
    """
    np.maximum(magnitude, 10.0 ** (floor_db / 20.0), out=magnitude)
    # NumPy has a vectorised logarithm for AVX-512 only, torch for every processor.
    db = torch.from_numpy(magnitude).log10_().numpy()
    db *= 20.0
    if floor_db_rel is not None:
        np.maximum(db, db.max(axis=(1, 2), keepdims=True) + floor_db_rel, out=db)
    return db


@dataclass(frozen=True)
class Stft(FrontEnd):
    """The short-time Fourier transform.

    Frame k is the `n_window` samples from ``k·hop_length`` times the window, zero-padded at the
    end to `n_fft`; no centring. The transform is scaled by ``1/sqrt(n_fft)``. The DC bin is
    dropped and bins 1…height are kept. Then ``20·log10(max(|X|, 10^(floor_db/20)))``, and with
    `floor_db_rel` a floor that many dB under the sound's own maximum.

    Computed in float32, as the audio comes: a transform's rounding errors lie some 160 dB under
    the strongest bin, where those of the audio's own 24 bits are.

    Attributes:
        n_fft: length of the transform in samples.
        n_window: length of a frame in samples.
        hop_length: samples from frame to frame.
        window_type: "rectangular", "hann", "hamming" or "blackman".
        bins_per_harmonic: recorded only.
        floor_db_rel: floor in dB relative to the sound's maximum (negative), or None.
    """

    kind: ClassVar[str] = "stft"
    _: KW_ONLY
    n_fft: Length = 80
    n_window: Length = 80
    hop_length: Length = 80
    window_type: str = "rectangular"
    bins_per_harmonic: BinsPerHarmonic = 1.0
    floor_db_rel: RelativeFloor | None = None

    @property
    def row_hz(self) -> Float64[np.ndarray, "H"]:
        """Bin k + 1 in row k."""
        return np.arange(1, self.height + 1) * self.sample_rate_hz / self.n_fft

    @property
    def hop_s(self) -> float:
        """Time from frame to frame in s."""
        return self.hop_length / self.sample_rate_hz

    @property
    def num_samples(self) -> int:
        """Samples up to the end of the last frame."""
        return (self.width - 1) * self.hop_length + self.n_window

    @property
    def block_numbers(self) -> int:
        """Numbers in the zero-padded frames."""
        return self.width * self.n_fft

    def check(self) -> None:
        """Refuse settings that make no image of this size; see :meth:`FrontEnd.check`."""
        if self.n_window > self.n_fft:
            raise RecipeError(
                f"stft.n_window is {self.n_window}; expected at most stft.n_fft, {self.n_fft}"
            )
        if self.block_numbers > _MAX_TRANSFORMED:
            raise RecipeError(
                f"stft.n_fft is {self.n_fft}; expected at most {_MAX_TRANSFORMED // self.width} "
                f"with an image.width of {self.width}, or an image takes too much memory"
            )
        most, why = self._most_rows()
        if self.height > most:
            raise RecipeError(
                f"image.height is {self.height}; expected at most {most} with a stft.n_fft of "
                f"{self.n_fft}, {why}"
            )
        _ = self._window

    def _most_rows(self) -> tuple[int, str]:
        return self.n_fft // 2, "the bins without DC"

    @property
    def _framing(self) -> str:
        return f" (n_window {self.n_window}, hop_length {self.hop_length})"

    @cached_property
    def _window(self) -> Float32[np.ndarray, "N"]:
        return periodic_window(self.window_type, self.n_window).astype(np.float32)

    def __call__(self, audio: Float32[np.ndarray, "B T"]) -> Float32[np.ndarray, "B H W"]:
        """Transform a batch; see :meth:`FrontEnd.__call__`."""
        self.check_length(audio.shape[1])
        magnitude = self._rows(scipy.fft.rfft(self._frames(audio), n=self.n_fft, axis=1))
        return decibels(magnitude, self.floor_db, self.floor_db_rel)

    def _frames(self, audio: Float32[np.ndarray, "B T"]) -> Float32[np.ndarray, "B N W"]:
        """Return the windowed frames, one a column."""
        heard = torch.from_numpy(self.emphasised(audio))
        columns = heard.unfold(1, self.n_window, self.hop_length).transpose(1, 2).numpy()
        return columns if self.window_type == "rectangular" else columns * self._window[:, None]

    def _rows(self, spectrum: Complex64[np.ndarray, "B F W"]) -> Float32[np.ndarray, "B H W"]:
        """Return the magnitude of the bins that are kept."""
        magnitude = np.abs(spectrum[:, 1 : self.height + 1])
        magnitude *= 1.0 / np.sqrt(self.n_fft)
        return magnitude

    def transform(self) -> StftTransform:
        """Return the same as a torch module; see :meth:`FrontEnd.transform`."""
        return StftTransform(
            heard=Heard(self.num_samples, self.pre_emphasis_coefficient),
            frames=Frames(self.width, self.n_window, self.hop_length),
            window=self._window,
            n_fft=self.n_fft,
            rows=self._transform_rows(),
            level=Level(self.floor_db, self.floor_db_rel),
        )

    def _transform_rows(self) -> Bins | Filters:
        return Bins(self.height, self.n_fft)

    def to_json(self) -> tuple[dict[str, object], dict[str, float]]:
        """Return the metadata's `spectrogram_config`; there is nothing in `mel_config`."""
        return {
            "sample_rate": self.sample_rate_hz,
            "type": self.kind,
            "n_fft": self.n_fft,
            "n_window": self.n_window,
            "hop_length": self.hop_length,
            "window_type": self.window_type,
            "bins_per_harmonic": self.bins_per_harmonic,
            "n_bins": self.height,
            "floor_db": self.floor_db,
            "floor_db_rel": self.floor_db_rel,
        }, {}


@dataclass(frozen=True)
class Mel(Stft):
    """`height` mel filters on the magnitude of the transform; see :func:`mel_filters`.

    Attributes:
        freq_min_hz: lower edge of the lowest filter.
        freq_max_ratio: upper edge of the highest one as a share of the Nyquist frequency.
    """

    kind: ClassVar[str] = "mel"
    _: KW_ONLY
    freq_min_hz: LowestFrequency = 40.0
    freq_max_ratio: NyquistShare = 0.9

    @property
    def row_hz(self) -> Float64[np.ndarray, "H"]:
        """The centre of filter k in row k."""
        rate_hz, bounds_hz = self.sample_rate_hz, (self.freq_min_hz, self._freq_max_hz)
        return mel_edges_hz(self.height, rate_hz, *bounds_hz)[1:-1]

    def check(self) -> None:
        """Refuse settings that make no image of this size; see :meth:`FrontEnd.check`."""
        super().check()
        _ = self._filters

    def _most_rows(self) -> tuple[int, str]:
        return _MAX_FILTERS // (self.n_fft // 2 + 1), "or the mel filters take too much memory"

    @property
    def _freq_max_hz(self) -> float:
        return self.freq_max_ratio * self.sample_rate_hz / 2

    @cached_property
    def _filters(self) -> scipy.sparse.csr_array:
        """The filters, sparse, as most of them is 0; scaled as the transform is."""
        filters = mel_filters(
            self.height, self.n_fft, self.sample_rate_hz, self.freq_min_hz, self._freq_max_hz
        )
        return scipy.sparse.csr_array((filters / np.sqrt(self.n_fft)).astype(np.float32))

    def __call__(self, audio: Float32[np.ndarray, "B T"]) -> Float32[np.ndarray, "B H W"]:
        """Transform a batch; see :meth:`FrontEnd.__call__`.

        A sound at a time: its frames stay in the cache, and no bit depends on the batch. Torch's
        transform, MKL's where it is built with it, takes half of SciPy's time for long frames.
        """
        self.check_length(audio.shape[1])
        heard = torch.from_numpy(self.emphasised(audio))
        window = torch.from_numpy(self._window)
        frames = torch.empty(self.width, self.n_window)
        images = np.empty((len(audio), self.height, self.width), np.float32)
        for sound, image in zip(heard, images, strict=True):
            torch.mul(sound.unfold(0, self.n_window, self.hop_length), window, out=frames)
            magnitude = np.abs(torch.fft.rfft(frames, n=self.n_fft).numpy())
            image[:] = self._filters @ np.ascontiguousarray(magnitude.T)
        return decibels(images, self.floor_db, self.floor_db_rel)

    def _transform_rows(self) -> Filters:
        return Filters(self._filters.toarray())

    def to_json(self) -> tuple[dict[str, object], dict[str, float]]:
        """Return the metadata's `spectrogram_config` and `mel_config`."""
        mel = {"freq_min": self.freq_min_hz, "freq_max_ratio": self.freq_max_ratio}
        return super().to_json()[0], mel
