"""Windows that widen: short times and long resonances of a struck sound in one image."""

from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
import scipy.fft
import scipy.sparse
from annotated_types import Interval
from jaxtyping import Float32, Float64

from src.synth.cqt import LowestRow
from src.synth.errors import RecipeError
from src.synth.front_end import FrontEnd
from src.synth.spectrogram import RelativeFloor, decibels, periodic_window
from src.synth.transforms import ColumnsTransform, Heard, Level, WindowedColumn

_PADDED = 2  # a transform is at least so many times as long as its window
_MOST = 2**24  # samples of a transform

_Seconds = Annotated[float, Interval(gt=0, le=3600)]


@dataclass(frozen=True)
class Widening(FrontEnd):
    """Frames that all begin with the sound, each longer than the one before by the same ratio.

    Column k is the first L_k samples times a Hann window of sum 1, with L_k from `shortest_s` to
    `longest_s`. Row h is the root of the mean power between its frequency's neighbours, and rows
    lie by equal ratios from `freq_min` to `freq_max`. So short windows tell the waves that arrive
    one after the other, and long ones the resonances. Where all frequencies of a sound are
    multiplied, its image moves, and does not stretch, which is what convolutions are good at.

    Attributes:
        freq_min: frequency of the lowest row in Hz.
        freq_max: of the highest.
        shortest_s: length of the first window.
        longest_s: length of the last.
        floor_db_rel: floor in dB relative to the sound's maximum (negative), or None.
    """

    _: KW_ONLY
    freq_min: LowestRow
    freq_max: LowestRow
    shortest_s: _Seconds
    longest_s: _Seconds
    floor_db_rel: RelativeFloor | None = None

    @property
    def row_hz(self) -> Float64[np.ndarray, "H"]:
        """Equal ratios from `freq_min` to `freq_max`."""
        return np.geomspace(self.freq_min, self.freq_max, self.height)

    @property
    def frame_s(self) -> Float64[np.ndarray, "W"]:
        """The middle of each window in s, where it is highest."""
        return self._lengths / (2.0 * self.sample_rate_hz)

    @property
    def hop_s(self) -> float:
        """From the last window's middle to its end in s, the end of what the image tells of."""
        return float(self.frame_s[-1])

    @property
    def num_samples(self) -> int:
        """Samples of the longest window."""
        return round(self.longest_s * self.sample_rate_hz)

    @property
    def block_numbers(self) -> int:
        """Numbers in the longest transform, and in its powers."""
        return 2 * self._n_fft(self.num_samples)

    @property
    def _lengths(self) -> Float64[np.ndarray, "W"]:
        """Samples of each window, whole numbers."""
        seconds = np.geomspace(self.shortest_s, self.longest_s, self.width)
        return np.round(seconds * self.sample_rate_hz)

    @staticmethod
    def _n_fft(length: int) -> int:
        return 1 << (_PADDED * length - 1).bit_length()

    def check(self) -> None:
        """Refuse settings that make no image; see :meth:`FrontEnd.check`."""
        if self.height < 2 or self.width < 2:
            raise RecipeError(
                f"image is {self.height}x{self.width}; expected at least 2x2, with rows and "
                "columns at both ends of their ranges"
            )
        if not self.freq_min < self.freq_max <= self.sample_rate_hz / 2:
            raise RecipeError(
                f"stft.freq_max is {self.freq_max:g}; expected more than stft.freq_min, "
                f"{self.freq_min:g}, and at most half the sample rate, {self.sample_rate_hz / 2:g}"
            )
        if not self.shortest_s < self.longest_s:
            raise RecipeError(
                f"stft.longest_s is {self.longest_s:g}; expected more than stft.shortest_s, "
                f"{self.shortest_s:g}"
            )
        if self._lengths[0] < 2 or self._n_fft(self.num_samples) > _MOST:
            raise RecipeError(
                f"stft.shortest_s is {self.shortest_s:g} and stft.longest_s {self.longest_s:g}; "
                f"expected from 2 to {_MOST // _PADDED} samples at {self.sample_rate_hz} Hz"
            )

    @cached_property
    def _columns(self) -> tuple[WindowedColumn, ...]:
        ratio = (self.freq_max / self.freq_min) ** (0.5 / (self.height - 1))
        columns = []
        for length in self._lengths.astype(int).tolist():
            window = periodic_window("hann", length)
            n_fft = self._n_fft(length)
            bins = self.row_hz * n_fft / self.sample_rate_hz
            window = (window / window.sum()).astype(np.float32)
            columns.append(
                WindowedColumn(window, n_fft, _bands(bins / ratio, bins * ratio, n_fft // 2))
            )
        return tuple(columns)

    def __call__(self, audio: Float32[np.ndarray, "B T"]) -> Float32[np.ndarray, "B H W"]:
        """Transform a batch; see :meth:`FrontEnd.__call__`."""
        self.check_length(audio.shape[1])
        heard = self.emphasised(audio)
        magnitude = np.empty((len(audio), self.height, self.width), np.float32)
        # What is as faint as a displacement in m has squares that float32 does not hold.
        peak = np.abs(heard).max(axis=1, keepdims=True)
        peak[peak == 0] = 1.0
        heard = heard / peak
        for k, (window, n_fft, bands) in enumerate(self._columns):
            spectrum = scipy.fft.rfft(heard[:, : len(window)] * window, n=n_fft, axis=1)
            power = np.square(spectrum.real) + np.square(spectrum.imag)
            magnitude[:, :, k] = np.sqrt(bands @ power.T).T
        return decibels(magnitude * peak[:, :, None], self.floor_db, self.floor_db_rel)

    def transform(self) -> ColumnsTransform:
        """Return the same as a torch module; see :meth:`FrontEnd.transform`."""
        heard = Heard(self.num_samples, self.pre_emphasis_coefficient)
        level = Level(self.floor_db, self.floor_db_rel)
        return ColumnsTransform(heard, self._columns, level)


def _bands(
    low: Float64[np.ndarray, "H"], high: Float64[np.ndarray, "H"], last: int
) -> scipy.sparse.csr_array:
    """Return the matrix of means between two edges in bins, (H, last + 1), each bin 1 wide."""
    rows, columns, weights = [], [], []
    for row, (start, end) in enumerate(zip(low, np.minimum(high, last + 0.5), strict=True)):
        bins = np.arange(round(start), round(end) + 1)
        share = np.minimum(bins + 0.5, end) - np.maximum(bins - 0.5, start)
        bins, share = bins[share > 0], share[share > 0]
        rows.append(np.full(len(bins), row))
        columns.append(np.minimum(bins, last))
        weights.append(share / share.sum())
    indices = np.concatenate(rows), np.concatenate(columns)
    values = np.concatenate(weights).astype(np.float32)
    return scipy.sparse.csr_array((values, indices), shape=(len(low), last + 1))
