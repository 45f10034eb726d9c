"""Audio to decibels: the spectrogram that data sets are made with and sounds are predicted from."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import scipy.fft
import scipy.sparse
import torch
from annotated_types import Interval
from jaxtyping import Float32, Float64

from src.schema.arguments import check_value, section
from src.schema.bounds import Whole
from src.schema.plain import plain_values
from src.synth.errors import RecipeError, recipe_errors
from src.vimh.errors import VIMHError
from src.vimh.fields import MOST_SOUND
from src.vimh.metadata import Metadata

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
_Length = Annotated[Whole, Interval(ge=1, le=2**24)]
# No further than float32 goes, in which magnitudes are.
Decibels = Annotated[float, Interval(ge=-750, le=750)]
SampleRate = Annotated[Whole, Interval(ge=1, le=MOST_SOUND)]
PreEmphasis = Annotated[float, Interval(ge=0, lt=1)]
# Numbers in the transforms of one image and in its mel filters: a gigabyte of float32 each.
_MAX_TRANSFORMED, _MAX_FILTERS = 2**28, 2**24

DEFAULT_FLOOR_DB = -200.0


def periodic_window(window_type: str, length: int) -> Float64[np.ndarray, "{length}"]:
    """The window's periodic form: a period of N points, not symmetric over N - 1.

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


def mel_filters(
    num_filters: int, n_fft: int, sample_rate_hz: int, freq_min_hz: float, freq_max_hz: float
) -> Float64[np.ndarray, "{num_filters} F"]:
    """Triangular filters with edges equally spaced in mel, each summing to 1.

    The scale is ``2595·log10(1 + f/700)`` (O'Shaughnessy, "Speech Communication", 1987); a
    triangle rises and falls linearly in Hz, from the centre before it to the centre after it.

    Raises:
        VIMHError: where the frequencies are not in order, or a filter is narrower than a bin.
    """
    nyquist_hz = sample_rate_hz / 2
    if not 0 <= freq_min_hz < freq_max_hz <= nyquist_hz:
        raise RecipeError(
            f"mel.freq_min is {freq_min_hz:g}; expected at least 0 and less than {freq_max_hz:g} "
            f"Hz, mel.freq_max_ratio of Nyquist, which is at most {nyquist_hz:g} Hz"
        )
    low_mel, high_mel = (2595.0 * np.log10(1.0 + f / 700.0) for f in (freq_min_hz, freq_max_hz))
    edges_mel = np.linspace(low_mel, high_mel, num_filters + 2)
    edges_hz = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
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


@dataclass(frozen=True)
class StftSection:
    """The config `stft`; see :class:`Spectrogram`."""

    type: Literal["stft", "mel"]
    n_fft: _Length
    n_window: _Length
    hop_length: _Length
    window_type: Literal["rectangular", "hann", "hamming", "blackman"]
    bins_per_harmonic: Annotated[float, Interval(ge=0, le=1e6)] = 1.0  # 0: not known
    floor_db: Decibels = DEFAULT_FLOOR_DB
    floor_db_rel: Annotated[float, Interval(ge=-1500, lt=0)] | None = None


@dataclass(frozen=True)
class MelSection:
    """The config `mel`; see :class:`Spectrogram`."""

    freq_min: Annotated[float, Interval(ge=0, le=MOST_SOUND)] = 40.0
    freq_max_ratio: Annotated[float, Interval(gt=0, le=1)] = 0.9


@dataclass(frozen=True)
class Spectrogram:
    """The settings of a spectrogram, and the function from audio to dB.

    Frame k is the `n_window` samples from ``k·hop_length`` times the window, zero-padded at the
    end to `n_fft`; no centring. The transform is scaled by ``1/sqrt(n_fft)``. "stft" drops the DC
    bin and keeps bins 1…height; "mel" puts `height` filters on the magnitude. Then
    ``20·log10(max(|X|, 10^(floor_db/20)))``, and with `floor_db_rel` a floor that many dB under
    the sample's own maximum.

    Computed in float32, as the audio comes: a transform's rounding errors lie some 160 dB under
    the strongest bin, where those of the audio's own 24 bits are. By operations that treat every
    sample by itself: one sound gives the same bits alone and in a batch.

    Attributes:
        sample_rate_hz: samples a second.
        height: frequency bins (or mel filters) of the image.
        width: frames of the image; the first ones are kept.
        spectrogram_type: "stft" or "mel".
        n_fft: length of the transform in samples.
        n_window: length of a frame in samples.
        hop_length: samples from frame to frame.
        window_type: "rectangular", "hann", "hamming" or "blackman".
        bins_per_harmonic: recorded only.
        floor_db: absolute floor in dB.
        floor_db_rel: floor in dB relative to the sample's maximum (negative), or None.
        freq_min_hz: lower edge of the mel filters.
        freq_max_ratio: their upper edge as a share of the Nyquist frequency.
        pre_emphasis_coefficient: c in ``y[n] = x[n] - c·x[n-1]``, before anything else; 0: none.

    Raises:
        VIMHError: for settings that do not make an image of this size.
    """

    sample_rate_hz: int
    height: int
    width: int
    spectrogram_type: str = "stft"
    n_fft: int = 80
    n_window: int = 80
    hop_length: int = 80
    window_type: str = "rectangular"
    bins_per_harmonic: float = 1.0
    floor_db: float = DEFAULT_FLOOR_DB
    floor_db_rel: float | None = None
    freq_min_hz: float = 40.0
    freq_max_ratio: float = 0.9
    pre_emphasis_coefficient: float = 0.0

    def __post_init__(self) -> None:
        if self.n_window > self.n_fft:
            raise RecipeError(
                f"stft.n_window is {self.n_window}; expected at most stft.n_fft, {self.n_fft}"
            )
        if self.n_fft * self.width > _MAX_TRANSFORMED:
            raise RecipeError(
                f"stft.n_fft is {self.n_fft}; expected at most {_MAX_TRANSFORMED // self.width} "
                f"with an image.width of {self.width}, or an image takes too much memory"
            )
        bins, why = self.n_fft // 2, "the bins without DC"
        if self.spectrogram_type == "mel":
            bins, why = _MAX_FILTERS // (bins + 1), "or the mel filters take too much memory"
        if self.height > bins:
            raise RecipeError(
                f"image.height is {self.height}; expected at most {bins} with a stft.n_fft of "
                f"{self.n_fft}, {why}"
            )
        _ = self._window, self._mel  # checks the window's name and the filters now, not later

    @property
    def num_samples(self) -> int:
        """Samples that the image is made of; what comes after them is not heard."""
        return (self.width - 1) * self.hop_length + self.n_window

    def check_length(self, num_samples: int) -> None:
        """Refuse a signal that is too short for the image.

        Raises:
            VIMHError: naming the frames there are and those that are needed.
        """
        if num_samples < self.num_samples:
            frames = max(0, 1 + (num_samples - self.n_window) // self.hop_length)
            raise VIMHError(
                f"a signal of {num_samples} samples gives {frames} frames (n_window "
                f"{self.n_window}, hop_length {self.hop_length}), the image needs {self.width}"
            )

    @cached_property
    def _window(self) -> Float32[np.ndarray, "N"]:
        return periodic_window(self.window_type, self.n_window).astype(np.float32)

    @cached_property
    def _mel(self) -> scipy.sparse.csr_array | None:
        if self.spectrogram_type != "mel":
            return None
        freq_max_hz = self.freq_max_ratio * self.sample_rate_hz / 2
        # Sparse, because the filters are; and a BLAS product's bits may depend on the batch.
        return scipy.sparse.csr_array(
            mel_filters(
                self.height, self.n_fft, self.sample_rate_hz, self.freq_min_hz, freq_max_hz
            ).astype(np.float32)
        )

    def __call__(self, audio: Float32[np.ndarray, "B T"]) -> Float32[np.ndarray, "B H W"]:
        """The spectrogram in dB, frequency low to high, then time.

        Raises:
            VIMHError: if the signals are too short.
        """
        self.check_length(audio.shape[1])
        magnitude = self._magnitude(self._frames(audio))  # (B, F, W)
        mel = self._mel
        if mel is not None:
            batch, bins, width = magnitude.shape
            filtered = mel @ magnitude.transpose(1, 0, 2).reshape(bins, batch * width)
            magnitude = filtered.reshape(self.height, batch, width).transpose(1, 0, 2)
        np.maximum(magnitude, 10.0 ** (self.floor_db / 20.0), out=magnitude)
        # NumPy has a vectorised logarithm for AVX-512 only, torch for every processor.
        db = torch.from_numpy(magnitude).log10_().numpy()
        db *= 20.0
        if self.floor_db_rel is not None:
            np.maximum(db, db.max(axis=(1, 2), keepdims=True) + self.floor_db_rel, out=db)
        return db

    def _frames(self, audio: Float32[np.ndarray, "B T"]) -> Float32[np.ndarray, "B N W"]:
        """The windowed frames, one a column."""
        heard = audio[:, : self.num_samples]
        if self.pre_emphasis_coefficient:
            emphasised = heard.astype(np.float64)
            emphasised[:, 1:] -= self.pre_emphasis_coefficient * heard[:, :-1].astype(np.float64)
            heard = emphasised.astype(np.float32)
        frames = torch.from_numpy(heard).unfold(1, self.n_window, self.hop_length)
        columns = frames.transpose(1, 2).numpy()
        return columns if self.window_type == "rectangular" else columns * self._window[:, None]

    def _magnitude(self, frames: Float32[np.ndarray, "B N W"]) -> Float32[np.ndarray, "B F W"]:
        """``|X|`` of the bins that are needed."""
        spectrum = scipy.fft.rfft(frames, n=self.n_fft, axis=1)
        if self.spectrogram_type == "stft":
            spectrum = spectrum[:, 1 : self.height + 1]
        magnitude = np.abs(spectrum)
        magnitude *= 1.0 / np.sqrt(self.n_fft)
        return magnitude

    def to_json(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The metadata's `spectrogram_config` and `mel_config`."""
        spectrogram_config = {
            "sample_rate": self.sample_rate_hz,
            "type": self.spectrogram_type,
            "n_fft": self.n_fft,
            "n_window": self.n_window,
            "hop_length": self.hop_length,
            "window_type": self.window_type,
            "bins_per_harmonic": self.bins_per_harmonic,
            "n_bins": self.height,
            "floor_db": self.floor_db,
            "floor_db_rel": self.floor_db_rel,
        }
        return spectrogram_config, {
            "freq_min": self.freq_min_hz,
            "freq_max_ratio": self.freq_max_ratio,
        }

    @classmethod
    def from_metadata(cls, metadata: Metadata) -> "Spectrogram":
        """The spectrogram that a data set was made with, from its JSON.

        Raises:
            VIMHError: if the data set does not say how its images were made.
        """
        stft = metadata.spectrogram_config
        needed = ("type", "n_fft", "n_window", "hop_length", "window_type")
        missing = [key for key in needed if key not in stft]
        rate = stft.get("sample_rate", metadata.sample_rate)
        if missing or rate is None:
            raise VIMHError(
                f"data set {metadata.dataset_name}: spectrogram_config lacks "
                f"{', '.join(missing) or 'sample_rate'}, so a sound cannot be turned into its image"
            )
        known = {f.name for f in (*fields(StftSection), *fields(MelSection))}
        given, mel = (
            {key: value for key, value in config.items() if key in known}
            for config in (stft, metadata.mel_config)
        )
        with recipe_errors(f"data set {metadata.dataset_name}: "):
            return cls.from_sections(
                section(StftSection, given, "spectrogram_config"),
                section(MelSection, mel, "mel_config"),
                sample_rate_hz=check_value(SampleRate, int(rate), "sample_rate"),
                height=metadata.height,
                width=metadata.width,
                pre_emphasis_coefficient=metadata.raw.get("pre_emphasis_coefficient") or 0.0,
            )

    @classmethod
    def from_config(
        cls,
        stft: Mapping[str, Any],
        mel: Mapping[str, Any],
        *,
        sample_rate_hz: int,
        height: int,
        width: int,
        pre_emphasis_coefficient: float = 0.0,
    ) -> "Spectrogram":
        """From the configs `stft` and `mel`, with the keys that signal.md gives them.

        Raises:
            RecipeError: for an unknown or missing key, or a value of the wrong type.
        """
        with recipe_errors():
            return cls.from_sections(
                section(StftSection, plain_values(stft), "stft"),
                section(MelSection, plain_values(mel), "mel"),
                sample_rate_hz=sample_rate_hz,
                height=height,
                width=width,
                pre_emphasis_coefficient=pre_emphasis_coefficient,
            )

    @classmethod
    def from_sections(
        cls,
        stft: StftSection,
        mel: MelSection,
        *,
        sample_rate_hz: int,
        height: int,
        width: int,
        pre_emphasis_coefficient: float,
    ) -> "Spectrogram":
        """The same from checked sections."""
        settings = dict(vars(stft))
        key = "pre_emphasis_coefficient"
        return cls(
            sample_rate_hz=sample_rate_hz,
            height=height,
            width=width,
            spectrogram_type=settings.pop("type"),
            freq_min_hz=mel.freq_min,
            freq_max_ratio=mel.freq_max_ratio,
            pre_emphasis_coefficient=check_value(PreEmphasis, pre_emphasis_coefficient, key),
            **settings,
        )
