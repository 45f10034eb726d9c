"""Sound files as the windows that a model hears: any rate, any number of channels, any length."""

import os
from dataclasses import dataclass
from math import gcd
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float32
from scipy.signal import resample_poly

from src.vimh.errors import VIMHError

SUFFIXES = (".wav", ".flac", ".aif", ".aiff")
RATES_HZ = (1_000, 768_000)  # what is taken for a sound; a filter for more would fill the memory
MAX_SECONDS = 3600
# Memory that a sound may take: packed silence unpacks to 50,000 times its size.
MEMORY_SHARE, MEMORY_FREE = 4, 128 * 2**20
MAX_FACTOR = 50_000  # of resampling, up or down: the filter has 20 values for each
BLOCK_VALUES = 1 << 18  # read at once: 1 MB; libsndfile knows at most 1024 channels


@dataclass(frozen=True)
class Windows:
    """A sound cut into pieces of equal length.

    Attributes:
        audio: the pieces.
        start_s: where in the file each begins, s.
        notes: what was done to the sound, a sentence each.
    """

    audio: Float32[np.ndarray, "N T"]
    start_s: tuple[float, ...]
    notes: tuple[str, ...]


def sound_files(folder: Path) -> list[Path]:
    """The sound files of a folder by name; subfolders are not looked into.

    Raises:
        VIMHError: if there are none.
    """
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not found:
        raise VIMHError(f"{folder}: there is no sound file in it ({', '.join(SUFFIXES)})")
    return found


def read_sound(path: Path, sample_rate_hz: int) -> tuple[Float32[np.ndarray, "T"], tuple[str, ...]]:
    """A file as one channel at the wanted rate; one that is like that already stays bit for bit.

    Several channels are averaged; another rate is resampled by `scipy.signal.resample_poly`
    (polyphase, with its Kaiser-windowed low-pass).

    Args:
        path: the file, in any format that libsndfile reads.
        sample_rate_hz: the rate wanted.

    Returns:
        The sound, and what was done to it, a sentence each.

    Raises:
        VIMHError: if it is no sound file, is empty or silent, or holds a number that is not finite.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise VIMHError(f"{str(path)!r}: the file's name is no Unicode text; rename it") from error
    mono, channels, rate_hz = _read(path, sample_rate_hz)
    notes = []
    if channels > 1:
        notes.append(f"{channels} channels mixed down to one")
    if rate_hz != sample_rate_hz:
        shared = gcd(rate_hz, sample_rate_hz)
        mono = resample_poly(mono, sample_rate_hz // shared, rate_hz // shared)
        notes.append(f"resampled from {rate_hz} to {sample_rate_hz} Hz")
    return np.ascontiguousarray(mono, dtype=np.float32), tuple(notes)


def _read(path: Path, wanted_hz: int) -> tuple[np.ndarray, int, int]:
    """The sound as one channel, how many there were, and its rate.

    In float64 where something is still to be calculated from it, else in float32.
    """
    if not os.path.isfile(path):  # False also for a name that is too long
        raise VIMHError(f"{path}: there is no such file")
    size = path.stat().st_size
    if size == 0:
        raise VIMHError(f"{path}: the file is empty")
    try:
        # Opened by us: libsndfile takes a file called .raw for samples without a header.
        with path.open("rb") as opened, soundfile.SoundFile(opened.fileno(), closefd=False) as file:
            channels, rate_hz, frames = file.channels, file.samplerate, file.frames
            if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
                raise VIMHError(
                    f"{path}: its rate is {rate_hz} Hz, expected {RATES_HZ[0]} to {RATES_HZ[1]}"
                )
            if max(rate_hz, wanted_hz) // gcd(rate_hz, wanted_hz) > MAX_FACTOR:
                raise VIMHError(
                    f"{path}: its rate is {rate_hz} Hz, which cannot be resampled to {wanted_hz} "
                    "Hz; resample it to a usual rate"
                )
            if frames > MAX_SECONDS * rate_hz:
                raise VIMHError(
                    f"{path}: it is {frames / rate_hz:.0f} s long, expected at most {MAX_SECONDS}"
                )
            double = channels > 1 or rate_hz != wanted_hz
            # what is kept, and what resampling makes of it in float64 and float32
            a_frame = (8 if double else 4) + 12 * wanted_hz / rate_hz * (rate_hz != wanted_hz)
            most = int((MEMORY_SHARE * size + MEMORY_FREE) / a_frame)
            mono = _mixed(path, file, np.float64 if double else np.float32, most)
    except soundfile.LibsndfileError as error:
        raise VIMHError(f"{path}: not a sound file ({error.error_string})") from error
    if len(mono) == 0:
        raise VIMHError(f"{path}: there are no samples in it")
    return mono, channels, rate_hz


def _mixed(
    path: Path, file: soundfile.SoundFile, dtype: type[np.floating], most: int
) -> np.ndarray:
    """All frames, by blocks: memory is taken for what is there, not for what a header claims."""
    kept, silent = bytearray(), True
    item_bytes = np.dtype(dtype).itemsize
    while len(part := file.read(BLOCK_VALUES // file.channels, "float32", always_2d=True)):
        first = len(kept) // item_bytes
        if first + len(part) > most:
            raise VIMHError(
                f"{path}: its samples take more memory than {MEMORY_SHARE} times the file's size "
                f"and {MEMORY_FREE // 2**20} MB; cut it into shorter sounds"
            )
        if not np.isfinite(part).all():
            row = int(np.flatnonzero(~np.isfinite(part).all(axis=1))[0])
            found = ", ".join(f"{value:g}" for value in part[row, :8])
            raise VIMHError(f"{path}: sample {first + row} is [{found}], not a finite number")
        silent = silent and not part.any()
        mono = part[:, 0] if file.channels == 1 else part.mean(axis=1, dtype=np.float64)
        kept += mono.astype(dtype).tobytes()
    if kept and silent:
        raise VIMHError(f"{path}: it is silent, there is nothing to predict from")
    return np.frombuffer(kept, dtype)


def windows(
    audio: Float32[np.ndarray, "T"], length: int, sample_rate_hz: int, quietest: float = 0.0
) -> Windows:
    """Cuts a sound into windows, one after the other.

    A sound shorter than a window is padded with silence at its end. A rest at the end counts
    from half a window on and is padded too. Windows with no sample above `quietest` are left out.

    Args:
        audio: the sound.
        length: samples of a window.
        sample_rate_hz: samples a second.
        quietest: amplitude that counts as silence.

    Raises:
        VIMHError: if all windows are silent.

    Example:
        >>> cut = windows(np.ones(25, dtype=np.float32), 10, 10)
        >>> cut.audio.shape, cut.start_s, cut.notes[-1]
        ((3, 10), (0.0, 1.0, 2.0), 'the last window padded from 0.500 to 1.000 s')
    """
    notes = []
    whole, rest = divmod(len(audio), length)
    count = whole + (whole == 0 or 2 * rest >= length)
    if count > whole:
        what = "padded" if whole == 0 else "the last window padded"
        heard_s = rest / sample_rate_hz
        notes.append(f"{what} from {heard_s:.3f} to {length / sample_rate_hz:.3f} s")
        audio = np.pad(audio, (0, length - rest))
    elif rest:
        notes.append(f"the last {rest / sample_rate_hz:.3f} s left out")
    pieces = audio[: count * length].reshape(count, length)
    if count > 1:
        notes.insert(0, f"cut into {count} windows of {length / sample_rate_hz:.3f} s")
    loud = np.abs(pieces).max(axis=1) > quietest
    if not loud.any():
        raise VIMHError("it is silent, there is nothing to predict from")
    if not loud.all():
        notes.append(f"{int((~loud).sum())} silent windows left out")
    starts = np.flatnonzero(loud) * (length / sample_rate_hz)
    return Windows(pieces[loud], tuple(starts.tolist()), tuple(notes))
