"""Front ends as torch modules of plain operators, for models that run elsewhere.

Gathers, products with constant matrices and arithmetic of real numbers, which every runtime of
ONNX has; there is no Fourier operator. Sums are float64: they are more exact than the float32
transforms of the front ends, and differ from those by the rounding of those.

Shapes: B batch, S samples, W frames (columns), L samples of a frame, H rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor, nn


class Heard(nn.Module):
    """Pad or cut sounds to what an image hears, and emphasise as `FrontEnd.emphasised` does.

    Args:
        num_samples: what an image hears.
        pre_emphasis_coefficient: c in ``y[n] = x[n] - c·x[n-1]``; 0: none.
    """

    def __init__(self, num_samples: int, pre_emphasis_coefficient: float) -> None:
        super().__init__()
        self.num_samples = num_samples
        self.coefficient = pre_emphasis_coefficient

    def forward(self, audio: Float32[Tensor, "B T"]) -> Float32[Tensor, "B S"]:
        """Return the sounds at the length of what is heard."""
        heard = nn.functional.pad(audio, (0, self.num_samples))[:, : self.num_samples]
        if not self.coefficient:
            return heard
        exact = heard.double()
        later = exact[:, 1:] - self.coefficient * exact[:, :-1]
        return torch.cat([exact[:, :1], later], dim=1).float()


class Frames(nn.Module):
    """Cut sounds into frames at equal distances.

    The sound is cut into pieces of a hop, of which each frame gathers its own: a table of pieces is
    small, one of samples would be larger than many a network.

    Args:
        count: W, of frames.
        length: L, samples of a frame.
        hop: samples from frame to frame.
        first: the first frame's first sample.
    """

    pieces: Tensor

    def __init__(self, count: int, length: int, hop: int, first: int = 0) -> None:
        super().__init__()
        self.count, self.length, self.hop, self.first = count, length, hop, first
        self.needed = -(-length // hop)  # pieces of a frame
        self.end = (count - 1 + self.needed) * hop  # of what is cut, from the first sample on
        pieces = torch.arange(count)[:, None] + torch.arange(self.needed)
        self.register_buffer("pieces", pieces.flatten())

    def forward(self, heard: Float[Tensor, "B S"]) -> Float[Tensor, "B W L"]:
        """Return the frames; what they hear after the sound's end is silence."""
        whole = nn.functional.pad(heard[:, self.first :], (0, self.end))[:, : self.end]
        pieces = whole.reshape(-1, self.end // self.hop, self.hop).index_select(1, self.pieces)
        return pieces.reshape(-1, self.count, self.needed * self.hop)[:, :, : self.length]


class Dft(nn.Module):
    """The discrete Fourier transform of real numbers, in two steps of matrix products.

    With N = P·Q, t = Q·a + b and k = c + P·d, the transform is P-point transforms over a, factors
    ``exp(−2πi·b·c/N)``, and Q-point transforms over b: Cooley and Tukey, "An algorithm for the
    machine calculation of complex Fourier series", Math. Comp. 19 (1965). P and Q are as close as
    the factors of N admit, so that the matrices are small: N·(P + Q) products instead of N².

    Args:
        length: N, of the transform.
    """

    first: Tensor
    twiddle_re: Tensor
    twiddle_im: Tensor
    second: Tensor

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length
        root = int(np.sqrt(length))
        p = next(p for p in range(root, 0, -1) if length % p == 0)
        q = length // p
        self.p, self.q, self.kept = p, q, q // 2 + 1  # of the second half only what is read
        re, im = _factors(np.outer(np.arange(p), np.arange(p)), p)
        self.register_buffer("first", torch.from_numpy(np.concatenate([re, im])))  # (2P, P)
        re, im = _factors(np.outer(np.arange(p), np.arange(q)), length)
        self.register_buffer("twiddle_re", torch.from_numpy(re))
        self.register_buffer("twiddle_im", torch.from_numpy(im))
        re, im = _factors(np.outer(np.arange(q), np.arange(self.kept)), q)
        self.register_buffer("second", torch.from_numpy(np.block([[re, im], [-im, re]])))

    def forward(
        self, frames: Float64[Tensor, "B W L"]
    ) -> tuple[Float64[Tensor, "B W K"], Float64[Tensor, "B W K"]]:
        """Return the real and imaginary parts of bins 0…N/2 and a few more; L is at most N."""
        width = frames.shape[1]
        padded = nn.functional.pad(frames, (0, self.length - frames.shape[2]))
        re, im = (self.first @ padded.reshape(-1, width, self.p, self.q)).chunk(2, dim=2)
        turned = torch.cat(
            [
                re * self.twiddle_re - im * self.twiddle_im,
                re * self.twiddle_im + im * self.twiddle_re,
            ],
            dim=3,
        )
        # (B, W, c, d) to k = c + P·d
        parts = (turned @ self.second).chunk(2, dim=3)
        re, im = (part.transpose(2, 3).reshape(-1, width, self.p * self.kept) for part in parts)
        return re, im


def _factors(
    turns: Int64[np.ndarray, "R C"], length: int
) -> tuple[Float64[np.ndarray, "R C"], Float64[np.ndarray, "R C"]]:
    """Return ``exp(−2πi·turns/length)``, exact also for many turns."""
    angle = 2.0 * np.pi * (turns % length) / length
    return np.cos(angle), -np.sin(angle)


class Level(nn.Module):
    """Magnitudes to dB, as :func:`src.synth.spectrogram.decibels`."""

    def __init__(self, floor_db: float, floor_db_rel: float | None) -> None:
        super().__init__()
        self.least = 10.0 ** (floor_db / 20.0)
        self.floor_db_rel = floor_db_rel

    def forward(self, magnitude: Float64[Tensor, "B H W"]) -> Float32[Tensor, "B H W"]:
        """Return ``20·log10(magnitude)`` over both floors."""
        db = magnitude.float().clamp_min(self.least).log10() * 20.0
        if self.floor_db_rel is None:
            return db
        return torch.maximum(db, db.amax(dim=(1, 2), keepdim=True) + self.floor_db_rel)


class Bins(nn.Module):
    """The bins of a spectrum from the first one above 0 Hz on, over ``sqrt(n_fft)``."""

    def __init__(self, height: int, n_fft: int) -> None:
        super().__init__()
        self.height = height
        self.root = float(np.sqrt(n_fft))

    def forward(self, magnitude: Float64[Tensor, "B W K"]) -> Float64[Tensor, "B W H"]:
        """Return the rows of an image."""
        return magnitude[:, :, 1 : self.height + 1] / self.root


class Filters(nn.Module):
    """Filters on the magnitude of a spectrum, (H, n_fft/2 + 1)."""

    filters: Tensor

    def __init__(self, filters: Float32[np.ndarray, "H F"]) -> None:
        super().__init__()
        self.register_buffer("filters", torch.from_numpy(filters))

    def forward(self, magnitude: Float64[Tensor, "B W K"]) -> Float64[Tensor, "B W H"]:
        """Return the rows of an image."""
        return magnitude[:, :, : self.filters.shape[1]] @ self.filters.double().T


class StftTransform(nn.Module):
    """Windowed frames, their spectrum, and rows of it.

    Args:
        heard: what comes first.
        frames: cuts the sound.
        window: of a frame.
        n_fft: length of the transform.
        rows: makes rows of the magnitude.
        level: what comes last.
    """

    window: Tensor

    def __init__(
        self,
        heard: Heard,
        frames: Frames,
        window: Float32[np.ndarray, "L"],
        n_fft: int,
        rows: Bins | Filters,
        level: Level,
    ) -> None:
        super().__init__()
        self.heard = heard
        self.frames = frames
        self.register_buffer("window", torch.from_numpy(window))
        self.dft = Dft(n_fft)
        self.rows = rows
        self.level = level

    def forward(self, audio: Float32[Tensor, "B T"]) -> Float32[Tensor, "B H W"]:
        """Return images in dB."""
        frames = self.frames(self.heard(audio)) * self.window
        re, im = self.dft(frames.double())
        rows: Tensor = self.rows((re * re + im * im).sqrt())
        level: Tensor = self.level(rows.transpose(1, 2))
        return level


class RowKernels(NamedTuple):
    """Kernels of some rows; those of a row are taken at several places of a frame."""

    frames: Sequence[Frames]  # for each place
    kernels: Float32[np.ndarray, "P L"]  # P = 2R: real and imaginary parts in turn


class KernelTransform(nn.Module):
    """Frames times a kernel for each row: the root mean square over a frame's places.

    Args:
        heard: what comes first.
        groups: kernels of one length, in the order of the rows.
        level: what comes last.
    """

    def __init__(self, heard: Heard, groups: Sequence[RowKernels], level: Level) -> None:
        super().__init__()
        self.heard = heard
        self.places = nn.ModuleList(nn.ModuleList(group.frames) for group in groups)
        for number, group in enumerate(groups):
            self.register_buffer(f"kernels_{number}", torch.from_numpy(group.kernels))
        self.level = level

    def forward(self, audio: Float32[Tensor, "B T"]) -> Float32[Tensor, "B H W"]:
        """Return images in dB."""
        heard = self.heard(audio)
        rows = []
        for number, places in enumerate(self.places):
            kernels = self.get_buffer(f"kernels_{number}").double().T
            assert isinstance(places, nn.ModuleList)
            power = [_power(frames(heard).double() @ kernels) for frames in places]
            rows.append(torch.stack(power).mean(dim=0))
        magnitude = torch.cat(rows, dim=2).sqrt()
        level: Tensor = self.level(magnitude.transpose(1, 2))
        return level


def _power(parts: Float64[Tensor, "B W P"]) -> Float64[Tensor, "B W R"]:
    """Return the squared magnitude of real and imaginary parts in turn."""
    pairs = parts.reshape(-1, parts.shape[1], parts.shape[2] // 2, 2)
    return (pairs * pairs).sum(dim=3)


class WindowedColumn(NamedTuple):
    """A column of its own window: the sound's first samples, transformed, in bands."""

    window: Float32[np.ndarray, "L"]
    n_fft: int
    bands: scipy.sparse.csr_array  # (H, n_fft/2 + 1), float32


class ColumnsTransform(nn.Module):
    """A spectrum of the sound's beginning for each column, and the power of its bands.

    Args:
        heard: what comes first.
        columns: from left to right.
        level: what comes last.
    """

    def __init__(self, heard: Heard, columns: Sequence[WindowedColumn], level: Level) -> None:
        super().__init__()
        self.heard = heard
        self.level = level
        self.num_rows = columns[0].bands.shape[0]
        self.lengths = [len(column.window) for column in columns]
        # Columns of one length share a transform.
        sizes = sorted({column.n_fft for column in columns})
        self.transforms = nn.ModuleList(Dft(size) for size in sizes)
        self.numbers = [sizes.index(column.n_fft) for column in columns]
        for k, column in enumerate(columns):
            bands = column.bands.tocoo()
            own = {"window": column.window, "row": bands.row, "bin": bands.col}
            for name, values in (own | {"share": bands.data}).items():
                whole = values.astype(np.int64) if values.dtype.kind == "i" else values
                self.register_buffer(f"{name}_{k}", torch.from_numpy(whole))

    def forward(self, audio: Float32[Tensor, "B T"]) -> Float32[Tensor, "B H W"]:
        """Return images in dB."""
        heard = self.heard(audio)
        magnitude = [self._column(heard, k).sqrt() for k in range(len(self.lengths))]
        level: Tensor = self.level(torch.stack(magnitude, dim=2))
        return level

    def _column(self, heard: Float32[Tensor, "B S"], k: int) -> Float64[Tensor, "B H"]:
        window, row, bin_, share = (
            self.get_buffer(f"{name}_{k}") for name in ("window", "row", "bin", "share")
        )
        frame = heard[:, : self.lengths[k]].double() * window.double()
        re, im = self.transforms[self.numbers[k]](frame[:, None])
        power = (re * re + im * im)[:, 0].index_select(1, bin_) * share.double()
        empty = power.new_zeros(power.shape[0], self.num_rows)
        return empty.index_add(1, row, power)
