"""Plain WAV files read without libsndfile, whose objects take longer than a short sound's samples.

Only what is as it should be to the byte is read here: whole chunks of RIFF, none but `fact` and
`PEAK` before the samples, PCM of 16, 24 or 32 bits or floats of 32. All else is left to libsndfile,
which gives the same samples, to the bit.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.recordings.arrays import SoundInMemory

HEADER_BYTES = 4096  # in which the sound has to begin
MOST_BYTES = 2**24  # of a file that is read at once
_PCM, _FLOAT = 1, 3
_FULL_SCALE = np.float32(2.0**-31)  # of 32 bits; narrower samples are their upper ones


@dataclass(frozen=True)
class WavHeader:
    """What a plain WAV file says of its sound.

    Attributes:
        samplerate: samples a second.
        channels: how many, in turn in each frame.
        frames: how many.
        kind: of a sample: PCM or float, and its bits.
        start: the first byte of the sound.
    """

    samplerate: int
    channels: int
    frames: int
    kind: tuple[int, int]
    start: int

    @classmethod
    def of(cls, head: bytes, size: int) -> "WavHeader | None":
        """Look at the beginning of a file of so many bytes; None: leave it to libsndfile."""
        if head[:4] != b"RIFF" or head[8:12] != b"WAVE" or head[12:16] != b"fmt ":
            return None
        if len(head) < 44 or struct.unpack_from("<I", head, 4)[0] != size - 8:
            return None
        length, tag, channels, rate_hz, a_second, a_frame, bits = struct.unpack_from(
            "<IHHIIHH", head, 16
        )
        known = (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32)
        if length != 16 or (tag, bits) not in known or not 1 <= channels <= 64:
            return None
        if a_frame != channels * bits // 8 or a_second != a_frame * rate_hz:
            return None
        place = 36
        while place + 8 <= len(head):
            name, length = struct.unpack_from("<4sI", head, place)
            place += 8
            if name == b"data":
                is_whole = place + length <= size and length % a_frame == 0
                frames = length // a_frame
                return cls(rate_hz, channels, frames, (tag, bits), place) if is_whole else None
            if length != {b"fact": 4, b"PEAK": 8 + 8 * channels}.get(name):
                return None
            place += length
        return None


class WavFile(SoundInMemory):
    """A plain WAV file in memory.

    Args:
        header: what it says of itself.
        content: its bytes.
    """

    def __init__(self, header: WavHeader, content: bytes) -> None:
        bits = header.kind[1]
        count = header.frames * header.channels * (bits // 8 if bits == 24 else 1)
        dtype = {16: "<i2", 24: "u1", 32: "<i4"}[bits] if header.kind[0] == _PCM else "<f4"
        values = np.frombuffer(content, dtype, count, header.start)
        if header.kind[0] == _FLOAT:
            samples = values.astype(np.float32)
        elif bits == 16:
            samples = values * np.float32(2.0**-15)
        else:
            samples = (_widened(values) if bits == 24 else values).astype(np.float32) * _FULL_SCALE
        super().__init__(samples.reshape(-1, header.channels), header.samplerate)


def _widened(packed: np.ndarray) -> np.ndarray:
    """Return samples of 24 bits as the upper bits of 32."""
    wide = np.zeros((len(packed) // 3, 4), np.uint8)
    wide[:, 1:] = packed.reshape(-1, 3)
    return wide.view("<i4")[:, 0]


def first_bytes(path: Path) -> tuple[bytes, int]:
    """Return the bytes of a file in which a header would be, and the file's size.

    Raises:
        OSError: it cannot be read.
    """
    return _bytes_of(path, HEADER_BYTES)


def all_bytes(path: Path) -> bytes | None:
    """Return all bytes of a file; None: it is too large to be read at once.

    Raises:
        OSError: it cannot be read.
    """
    content, size = _bytes_of(path, MOST_BYTES + 1)
    return content if size <= MOST_BYTES and len(content) == size else None


def _bytes_of(path: Path, most: int) -> tuple[bytes, int]:
    # Python's file objects take as long as all the rest.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        return os.read(descriptor, min(size, most)), size
    finally:
        os.close(descriptor)
