"""Sounds in NumPy's files: .npy, and .npz with a key; never pickled, and within bounds."""

import io
import math
import struct
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError

import numpy as np
from jaxtyping import Float32, Shaped
from numpy.lib import format as npy

from src.vimh.errors import VIMHError
from src.vimh.plain import shown

SUFFIXES = (".npy", ".npz")
MAX_BYTES = 2**28  # of an array
_MAX_CHANNELS = 64
# What zipfile and NumPy raise for files that are broken or of another kind.
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, SyntaxError),
    *(NotImplementedError, RuntimeError, KeyError, struct.error, OverflowError, TypeError),
    *(TokenError, MemoryError),  # of a header that is an expression of any form
)


class SoundInMemory:
    """A sound that is read as `soundfile.SoundFile` is.

    Args:
        samples: all of it, (frames, channels).
        rate_hz: frames a second.
    """

    def __init__(self, samples: Shaped[np.ndarray, "T C"], rate_hz: int) -> None:
        self._samples, self.samplerate = samples, rate_hz
        self.frames, self.channels = samples.shape
        self._place = 0

    def read(self, frames: int, dtype: str, always_2d: bool) -> Float32[np.ndarray, "T C"]:
        """Return the next frames."""
        assert always_2d
        part = self._samples[self._place : self._place + frames]
        self._place += len(part)
        return part.astype(dtype, copy=False)

    def seek(self, place: int) -> None:
        """Go to a frame."""
        self._place = place


class ArrayFile(SoundInMemory):
    """The sound of one of NumPy's files.

    Args:
        path: the file.
        array_key: of the sound in a .npz file; None: the only array.
        rate_key: of the rate in a .npz file; None: `rate_hz`.
        rate_hz: of what does not say it.

    Raises:
        VIMHError: the file holds no sound, or not by these keys.
    """

    def __init__(
        self, path: Path, array_key: str | None, rate_key: str | None, rate_hz: int
    ) -> None:
        try:
            arrays = _arrays(path, array_key, rate_key)
        except VIMHError:
            raise
        except _BROKEN as error:
            kind = path.suffix.lower()
            raise VIMHError(f"{path}: not a {kind} file of numbers ({_short(error)})") from error
        super().__init__(
            _samples(path, arrays[0]), rate_hz if arrays[1] is None else _rate(path, arrays[1])
        )


def _arrays(
    path: Path, array_key: str | None, rate_key: str | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Read the sound's array, and the rate's."""
    if path.suffix.lower() == ".npy":
        with path.open("rb") as file:
            return _array(path, file.read(MAX_BYTES + 1)), None
    with zipfile.ZipFile(path) as archive:
        sizes = {i.filename.removesuffix(".npy"): i.file_size for i in archive.infolist()}
        names = [name for name in sizes if name != rate_key]
        if array_key is None and len(names) != 1:
            raise VIMHError(
                f"{path}: holds {len(names)} arrays ({shown(names)}), expected one; name the "
                "sound's with array_key=..., and the rate's with rate_key=..."
            )
        found = []
        for key, name in (("array_key", array_key or names[0]), ("rate_key", rate_key)):
            if name is None:
                continue
            if name not in sizes:
                raise VIMHError(f"{path}: {key} is {shown(name)}, it holds {shown(list(sizes))}")
            with archive.open(f"{name}.npy") as member:
                found.append(_array(path, member.read(MAX_BYTES + 1)))
    return found[0], found[1] if len(found) > 1 else None


def _array(path: Path, data: bytes) -> np.ndarray:
    """Make an array of a .npy file's bytes, after a look at what its header claims."""
    if len(data) > MAX_BYTES:
        raise VIMHError(f"{path}: an array of more than {MAX_BYTES} bytes; cut it")
    stream = io.BytesIO(data)
    version = npy.read_magic(stream)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise VIMHError(f"{path}: expected version 1 or 2 of the .npy format, found {version}")
    shape, is_fortran, dtype = readers[version](stream)
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise VIMHError(f"{path}: expected an array of numbers, found {dtype}")
    start, size = stream.tell(), math.prod(shape) * dtype.itemsize
    if len(data) - start != size:
        raise VIMHError(
            f"{path}: its header claims {size} bytes {shown(shape)}, {len(data) - start} follow"
        )
    array = np.frombuffer(data, dtype, offset=start)
    return array.reshape(shape, order="F" if is_fortran else "C")


def _samples(path: Path, array: Shaped[np.ndarray, "..."]) -> Float32[np.ndarray, "T C"]:
    """Make frames of a sound: (T,), (T, C) or (C, T), whole numbers as shares of full scale."""
    if array.ndim not in (1, 2) or (array.ndim == 2 and min(array.shape) > _MAX_CHANNELS):
        raise VIMHError(
            f"{path}: expected a sound, (samples,) or (samples, channels), found an array of "
            f"shape {shown(array.shape)}"
        )
    frames = array[:, None] if array.ndim == 1 else array
    if frames.shape[1] > frames.shape[0]:
        frames = frames.T
    if array.dtype.kind == "f":
        return frames.astype(np.float32)
    full_scale = 2.0 ** (np.iinfo(array.dtype).bits - 1)
    middle = 0.0 if array.dtype.kind == "i" else full_scale
    return ((frames.astype(np.float64) - middle) / full_scale).astype(np.float32)


def _rate(path: Path, array: Shaped[np.ndarray, "..."]) -> int:
    number = float(array.reshape(-1)[0]) if array.size == 1 else math.nan
    if not (math.isfinite(number) and number == round(number)):
        raise VIMHError(f"{path}: expected the rate, one whole number of Hz, found {array!s:.40}")
    return int(number)


def _short(error: Exception) -> str:
    return str(error).partition("\n")[0][:200] or type(error).__name__
