"""The constant-Q transform: rows that are equally spaced in pitch."""

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from itertools import groupby
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from annotated_types import Interval
from jaxtyping import Float32, Float64, Int64

from src.schema.bounds import Whole
from src.synth.errors import RecipeError
from src.synth.front_end import FrontEnd
from src.synth.spectrogram import Length, RelativeFloor, decibels, periodic_window
from src.synth.transforms import Frames, Heard, KernelTransform, Level, RowKernels
from src.vimh.fields import LEAST_SOUND, MOST_SOUND

LowestRow = Annotated[float, Interval(ge=LEAST_SOUND, le=MOST_SOUND)]
BinsPerOctave = Annotated[Whole, Interval(ge=1, le=360)]
# Rows that are multiplied at a time, and numbers of a product that NumPy's BLAS gives to one
# thread: with more of them, the number of threads would decide the last bits.
_ROWS, _ONE_THREAD = 8, 2**18
_MOST_TIMES = 1024
# Numbers in the kernels, and in the products of one image: 256 MB and a gigabyte of float32.
_MAX_KERNELS, _MAX_PRODUCTS = 2**26, 2**28


def quality(bins_per_octave: int) -> float:
    """Return Q, a row's frequency over the distance to the next row.

    Example:
        >>> round(quality(12), 2)
        16.82
    """
    return 1.0 / (2.0 ** (1.0 / bins_per_octave) - 1.0)


def longest_kernel(freq_min_hz: float, bins_per_octave: int, sample_rate_hz: int) -> int:
    """Return the length of the lowest row's kernel in samples.

    Example:
        >>> longest_kernel(100.0, 12, 8000)
        1345
    """
    return max(1, round(quality(bins_per_octave) * sample_rate_hz / freq_min_hz))


def spanning_hop(longest: int, num_samples: int, width: int) -> int:
    """Return the longest hop of an image of which all is inside a sound; less than 1: none.

    `longest` is of the lowest row's kernel, in samples.

    Example:
        >>> spanning_hop(2057, 8000, 64)
        94
    """
    # What a frame hears with kernels shorter than two hops ends less than 2.5 hops from its start.
    return min((num_samples - longest) // max(1, width - 1), 2 * num_samples // (2 * width + 3))


class _Kernels(NamedTuple):
    """Kernels of some rows, cut into K pieces of L samples; real and imaginary parts in turn."""

    rows: slice
    times: int  # in a hop
    pieces: Float32[np.ndarray, "K P L"]  # P = 2R


@dataclass(frozen=True)
class Cqt(FrontEnd):
    """The constant-Q transform of Brown, JASA 89 (1991), equation 5, from its kernels.

    Row k lies at ``f_k = freq_min · 2^(k/b)``, b rows an octave, so a pitch a row higher moves the
    image up by a row. What it hears from sample s on are ``N_k = round(Q·rate/f_k)`` samples,
    ``Q = 1/(2^(1/b) − 1)``, times the window:
    ``X = 1/N_k · Σ w[n] · x[s + n] · exp(−2πi·f_k·n/rate)``. Frame j is |X| of
    ``s = j·hop_length``; all rows of a frame begin together, no centring.

    A kernel shorter than two hops would miss what is between the frames. There a frame is the root
    mean square of |X| at the m samples ``s = j·hop_length + floor(i·hop_length/m)``, with m the
    smallest power of two for which hop_length/m is at most half the kernel (at most 1024). Then dB
    and floors as :class:`~src.synth.spectrogram.Stft`.

    As kernels in Brown and Puckette, JASA 92 (1992), but in time and complete: theirs leave out
    what is small, and with it what is far below the maximum.

    Computed in float32; rounding errors lie some 130 dB under the strongest row.
    """

    kind: ClassVar[str] = "cqt"
    _: KW_ONLY
    hop_length: Length  # samples from frame to frame
    freq_min: LowestRow  # frequency of the lowest row in Hz
    bins_per_octave: BinsPerOctave = 12  # rows an octave; 12: a row a semitone
    window_type: str = "hann"  # or "rectangular", "hamming", "blackman"
    floor_db_rel: RelativeFloor | None = None  # in dB relative to the sound's maximum (negative)

    @property
    def row_hz(self) -> Float64[np.ndarray, "H"]:
        """Frequency k in row k."""
        self._check_rows()
        return self.freq_min * 2.0 ** (np.arange(self.height) / self.bins_per_octave)

    @property
    def hop_s(self) -> float:
        """Time from frame to frame in s."""
        return self.hop_length / self.sample_rate_hz

    @property
    def longest(self) -> int:
        """Samples of the lowest row's kernel."""
        return longest_kernel(self.freq_min, self.bins_per_octave, self.sample_rate_hz)

    @property
    def num_samples(self) -> int:
        """Samples up to the end of all that the last frame hears."""
        lengths = self._lengths.tolist()
        reach = (self._start(m - 1, m) + n for n in lengths for m in [self._times(n)])
        return (self.width - 1) * self.hop_length + max(reach)

    @property
    def block_numbers(self) -> int:
        """Numbers in the sound and in the products of one group of rows."""
        return max(self.num_samples, -(-self.longest // self._piece) * 2 * _ROWS * self.width)

    @property
    def _piece(self) -> int:
        """Samples that are multiplied at a time.

        No more than a hop, so that a matrix of frames is the sound itself, not copied.
        """
        return max(1, min(self.hop_length, _ONE_THREAD // (2 * _ROWS * self.width)))

    def _times(self, length: int) -> int:
        """How often a kernel of this length is taken in a hop: a power of two."""
        wanted = 1 << (-(-2 * self.hop_length // length) - 1).bit_length()
        return min(wanted, 1 << (self.hop_length.bit_length() - 1), _MOST_TIMES)

    def _start(self, number: int, times: int) -> int:
        """Samples from a frame's start to that of one of so many values in it."""
        return number * self.hop_length // times

    def _check_rows(self) -> None:
        nyquist_hz = self.sample_rate_hz / 2
        most = int(np.ceil(np.log2(nyquist_hz / self.freq_min) * self.bins_per_octave))
        if self.height > most:
            raise RecipeError(
                f"image.height is {self.height}; expected at most {max(0, most)} with a "
                f"stft.freq_min of {self.freq_min:g} Hz and {self.bins_per_octave} "
                f"stft.bins_per_octave, so that all rows lie below Nyquist, {nyquist_hz:g} Hz"
            )

    def check(self) -> None:
        """Refuse settings that make no image of this size; see :meth:`FrontEnd.check`."""
        self._check_rows()
        numbers = 2.0 * self._lengths.sum(dtype=np.float64)
        if numbers > _MAX_KERNELS or self.block_numbers > _MAX_PRODUCTS:
            raise RecipeError(
                f"stft.freq_min is {self.freq_min:g}: the kernel of the lowest row has "
                f"{self.longest} samples, which takes too much memory; expected a higher one, "
                "fewer stft.bins_per_octave or a longer stft.hop_length"
            )
        periodic_window(self.window_type, 1)

    @property
    def _framing(self) -> str:
        return (
            f" (hop_length {self.hop_length}; the kernel of the lowest row, {self.freq_min:g} Hz, "
            f"has {self.longest} samples)"
        )

    @property
    def _lengths(self) -> Int64[np.ndarray, "H"]:
        exact = quality(self.bins_per_octave) * self.sample_rate_hz / self.row_hz
        return np.maximum(1, np.round(exact)).astype(np.int64)

    def _groups(self) -> Iterator[tuple[slice, int]]:
        """Yield rows that are worked on together, and how often in a hop."""
        first = 0
        for times, same in groupby(self._lengths.tolist(), self._times):
            end = first + len(list(same))
            for start in range(first, end, _ROWS):
                yield slice(start, min(start + _ROWS, end)), times
            first = end

    @cached_property
    def _kernels(self) -> tuple[_Kernels, ...]:
        lengths, rows_hz = self._lengths.tolist(), self.row_hz
        groups = []
        for rows, times in self._groups():
            count, piece = rows.stop - rows.start, min(lengths[rows.start], self._piece)
            pieces = -(-lengths[rows.start] // piece)
            kernels = np.zeros((count, 2, pieces * piece), np.float32)
            for kernel, length, row_hz in zip(kernels, lengths[rows], rows_hz[rows], strict=True):
                window = periodic_window(self.window_type, length) / length
                angle = 2.0 * np.pi * row_hz / self.sample_rate_hz * np.arange(length)
                kernel[0, :length] = window * np.cos(angle)
                kernel[1, :length] = -window * np.sin(angle)
            cut = kernels.reshape(2 * count, pieces, piece).transpose(1, 0, 2)
            groups.append(_Kernels(rows, times, np.ascontiguousarray(cut)))
        return tuple(groups)

    def __call__(self, audio: Float32[np.ndarray, "B T"]) -> Float32[np.ndarray, "B H W"]:
        """Transform a batch; see :meth:`FrontEnd.__call__`."""
        self.check_length(audio.shape[1])
        # A kernel's last piece is filled up with zeros, and so is the sound under it.
        heard = np.pad(self.emphasised(audio), ((0, 0), (0, self._piece)))
        magnitude = np.empty((len(audio), self.height, self.width), np.float32)
        for rows, times, kernels in self._kernels:
            power = np.zeros((len(audio), rows.stop - rows.start, self.width), np.float32)
            for number in range(times):
                frames = self._frames(heard[:, self._start(number, times) :], kernels)
                parts = np.matmul(kernels, frames).sum(axis=1)
                power += np.square(parts[:, 0::2]) + np.square(parts[:, 1::2])
            np.sqrt(power / times, out=magnitude[:, rows])
        return decibels(magnitude, self.floor_db, self.floor_db_rel)

    def transform(self) -> KernelTransform:
        """Return the same as a torch module; see :meth:`FrontEnd.transform`."""
        groups = []
        for _, times, kernels in self._kernels:
            whole = kernels.transpose(1, 0, 2).reshape(kernels.shape[1], -1)
            starts = [self._start(number, times) for number in range(times)]
            frames = [Frames(self.width, whole.shape[1], self.hop_length, n) for n in starts]
            groups.append(RowKernels(frames, whole))
        heard = Heard(self.num_samples, self.pre_emphasis_coefficient)
        return KernelTransform(heard, groups, Level(self.floor_db, self.floor_db_rel))

    def _frames(
        self, heard: Float32[np.ndarray, "B S"], kernels: Float32[np.ndarray, "K P L"]
    ) -> Float32[np.ndarray, "B K L W"]:
        """Return the pieces of the frames under kernels, one frame a column: a view."""
        pieces, _, length = kernels.shape
        views = np.lib.stride_tricks.sliding_window_view(heard, pieces * length, axis=1)
        frames = views[:, :: self.hop_length][:, : self.width]
        return frames.reshape(len(heard), self.width, pieces, length).transpose(0, 2, 3, 1)

    def to_json(self) -> tuple[dict[str, object], dict[str, float]]:
        """Return the metadata's `spectrogram_config`; there is nothing in `mel_config`."""
        return {
            "sample_rate": self.sample_rate_hz,
            "type": self.kind,
            "freq_min": self.freq_min,
            "bins_per_octave": self.bins_per_octave,
            "hop_length": self.hop_length,
            "window_type": self.window_type,
            "n_bins": self.height,
            "floor_db": self.floor_db,
            "floor_db_rel": self.floor_db_rel,
        }, {}
