"""Sound files as the windows that a model hears: any rate, any number of channels, any length."""

import os
from dataclasses import dataclass
from math import gcd, log10
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from jaxtyping import Bool, Float32
from scipy.signal import resample_poly

from src.synth.onset import onset
from src.vimh.errors import VIMHError

# How files are named whose formats libsndfile reads.
SUFFIXES = (
    *(".wav", ".flac", ".aif", ".aiff", ".aifc", ".ogg", ".oga", ".opus", ".mp3", ".au", ".snd"),
    *(".caf", ".w64", ".rf64", ".voc", ".sf", ".ircam", ".sph", ".nist"),
)
RAW = ".raw"  # looked at only to say that it can not be read
STARTS = ("onset", "file")  # where in a file the first window begins
RATES_HZ = (1_000, 768_000)  # what is taken for a sound; a filter for more would fill the memory
MAX_SECONDS = 3600
# Memory that a sound may take: packed silence unpacks to 50,000 times its size.
MEMORY_SHARE, MEMORY_FREE = 4, 128 * 2**20
MAX_FACTOR = 50_000  # of resampling, up or down: the filter has 20 values for each
BLOCK_VALUES = 1 << 18  # read at once: 1 MB; libsndfile knows at most 1024 channels
HEADER_BYTES = 1 << 16  # looked through for a WAV's data chunk
SILENT_CHANNEL = 1e-3  # of the loudest channel's peak: an open input has noise
FAR_OVER_FULL_SCALE = 2.0


@dataclass(frozen=True)
class Sound:
    """A sound file as one channel.

    Attributes:
        audio: the samples.
        start_s: where in the file they begin, s.
        notes: how the sound was changed and what is unusual about it, a sentence each.
    """

    audio: Float32[np.ndarray, "T"]
    start_s: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Windows:
    """A sound cut into pieces of equal length.

    Attributes:
        audio: the pieces.
        start_s: where in the file each begins, s.
        notes: how the sound was changed, a sentence each.
    """

    audio: Float32[np.ndarray, "N T"]
    start_s: tuple[float, ...]
    notes: tuple[str, ...]


def sound_files(folder: Path) -> list[Path]:
    """Return the sound files of a folder by name; subfolders are not looked into.

    Raises:
        VIMHError: if there are none.
    """
    known = (*SUFFIXES, RAW)
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in known)
    if not found:
        raise VIMHError(f"{folder}: there is no sound file in it ({', '.join(SUFFIXES)})")
    return found


def read_sound(
    path: Path, sample_rate_hz: int, start: str = "file", quietest: float = 0.0
) -> Sound:
    """A file as one channel at the wanted rate; one that is like that already stays bit for bit.

    Several channels are averaged, without the silent ones; another rate is resampled by
    `scipy.signal.resample_poly` (polyphase, with its Kaiser-windowed low-pass).

    Args:
        path: the file, in any format that libsndfile reads.
        sample_rate_hz: the rate wanted.
        start: "onset": what is before :func:`~src.synth.onset.onset` is left out.
        quietest: amplitude that counts as silence.

    Raises:
        VIMHError: if it is no sound file, is empty or silent, or holds a number that is not finite.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise VIMHError(f"{str(path)!r}: the file's name is no Unicode text; rename it") from error
    mono, notes, rate_hz = _read(path, sample_rate_hz)
    peak = float(np.abs(mono).max())
    if peak > FAR_OVER_FULL_SCALE:
        notes.append(f"its peak of {peak:.4g} is {20 * log10(peak):.0f} dB over full scale, 1.0")
    # Before resampling, which smears a sharp beginning.
    begin = onset(mono, rate_hz, quietest) if start == "onset" else 0
    if begin:
        notes.append(
            f"the sound begins at {begin / rate_hz:.3f} s; start=file keeps what is before"
        )
        mono = mono[begin:]
    if rate_hz != sample_rate_hz:
        shared = gcd(rate_hz, sample_rate_hz)
        mono = resample_poly(mono, sample_rate_hz // shared, rate_hz // shared)
        notes.append(f"resampled from {rate_hz} to {sample_rate_hz} Hz")
    samples = np.ascontiguousarray(mono, dtype=np.float32)
    return Sound(samples, begin / rate_hz, tuple(notes))


def _read(path: Path, wanted_hz: int) -> tuple[np.ndarray, list[str], int]:
    """Read the sound as one channel, with notes on its channels, and its rate.

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
            heard, notes = _heard_channels(file)
            mono = _mixed(path, file, heard, notes, np.float64 if double else np.float32, most)
    except soundfile.LibsndfileError as error:
        if path.suffix.lower() == RAW:
            raise VIMHError(
                f"{path}: not a sound file with a header; a raw file does not say its rate, "
                "channels and number format: make it a WAV file, for example with sox or ffmpeg"
            ) from error
        raise VIMHError(f"{path}: not a sound file ({error.error_string})") from error
    if len(mono) == 0:
        raise VIMHError(f"{path}: there are no samples in it{_unfinished(path)}")
    return mono, notes, rate_hz


def _heard_channels(file: soundfile.SoundFile) -> tuple[Bool[np.ndarray, "C"], list[str]]:
    """Find the channels that are not silent, with notes on the others."""
    count = file.channels
    if count == 1:
        return np.ones(1, bool), []
    peaks = np.zeros(count)
    while len(part := file.read(BLOCK_VALUES // count, "float32", always_2d=True)):
        peaks = np.maximum(peaks, np.nan_to_num(np.abs(part).max(axis=0)))
    file.seek(0)
    heard = peaks > SILENT_CHANNEL * peaks.max()
    if heard.all() or not heard.any():
        return np.ones(count, bool), [f"{count} channels mixed down to one"]
    silent = ", ".join(str(number + 1) for number in np.flatnonzero(~heard))
    notes = [f"of {count} channels, silent and left out: {silent}"]
    if heard.sum() > 1:
        notes.append(f"{int(heard.sum())} channels mixed down to one")
    return heard, notes


def _mixed(
    path: Path,
    file: soundfile.SoundFile,
    heard: Bool[np.ndarray, "C"],
    notes: list[str],
    dtype: type[np.floating],
    most: int,
) -> np.ndarray:
    """All frames, by blocks: memory is taken for what is there, not for what a header claims.

    Adds to the notes where the channels cancel each other.
    """
    kept, power, mixed = bytearray(), 0.0, 0.0
    silent = True
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
        part = part if heard.all() else part[:, heard]
        mono = part[:, 0] if part.shape[1] == 1 else part.mean(axis=1, dtype=np.float64)
        if part.shape[1] > 1:
            power += float(np.square(part, dtype=np.float64).mean(axis=1).sum())
            mixed += float(np.square(mono).sum())
        kept += mono.astype(dtype).tobytes()
    if kept and silent:
        raise VIMHError(f"{path}: it is silent, there is nothing to predict from")
    count = int(heard.sum())
    if power > 0 and mixed == 0:
        raise VIMHError(
            f"{path}: its {count} channels cancel each other (antiphase); their mean is silent"
        )
    # Channels that have nothing to do with each other leave 1/count of the power.
    if mixed < 0.5 * power / count:
        notes.append(
            f"its channels cancel each other in part (antiphase): the mix is "
            f"{10 * log10(power / mixed):.0f} dB below them"
        )
    return np.frombuffer(kept, dtype)


def _unfinished(path: Path) -> str:
    """Explain a WAV file whose header says 0 bytes of sound although there are more."""
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    place = header.find(b"data")
    there = path.stat().st_size - place - 8
    if not header.startswith(b"RIFF") or place < 0 or there <= 0:
        return ""
    if int.from_bytes(header[place + 4 : place + 8], "little"):
        return ""
    return (
        f", says its header, but {there} bytes follow it: the recording was not closed. Write it "
        "anew, for example with `sox --ignore-length`"
    )


def windows(
    audio: Float32[np.ndarray, "T"],
    length: int,
    sample_rate_hz: int,
    quietest: float = 0.0,
    start: str = "file",
) -> Windows:
    """Cut a sound into windows, one after the other.

    A sound shorter than a window is padded with silence at its end. A rest at the end counts
    from half a window on and is padded too. Windows with no sample above `quietest` are left out.

    Args:
        audio: the sound.
        length: samples of a window.
        sample_rate_hz: samples a second.
        quietest: amplitude that counts as silence.
        start: "onset": where a sound begins later than a window, the window moves there; a rest
            in which a sound begins counts.

    Raises:
        VIMHError: if all windows are silent.

    Example:
        >>> cut = windows(np.ones(25, dtype=np.float32), 10, 10)
        >>> cut.audio.shape, cut.start_s, cut.notes[-1]
        ((3, 10), (0.0, 1.0, 2.0), 'the last window padded from 0.500 to 1.000 s')
    """
    cut = _cut(audio, length, sample_rate_hz, quietest, start)
    if not cut.places:
        raise VIMHError("it is silent, there is nothing to predict from")
    notes = []
    if (count := len(cut.places) + cut.silent) > 1:
        notes.append(f"cut into {count} windows of {length / sample_rate_hz:.3f} s")
    if cut.moved:
        notes.append(f"{cut.moved} windows moved to where a sound begins")
    heard = len(audio) - cut.places[-1]
    if heard < length:
        what = "padded" if count == 1 else "the last window padded"
        notes.append(f"{what} from {heard / sample_rate_hz:.3f} to {length / sample_rate_hz:.3f} s")
    if cut.left_out:
        notes.append(f"the last {cut.left_out / sample_rate_hz:.3f} s left out")
    if cut.silent:
        notes.append(f"{cut.silent} silent windows left out")
    pieces = np.zeros((len(cut.places), length), np.float32)
    for row, first in enumerate(cut.places):
        piece = audio[first : first + length]
        pieces[row, : len(piece)] = piece
    return Windows(pieces, tuple(first / sample_rate_hz for first in cut.places), tuple(notes))


class _Cut(NamedTuple):
    """Where windows begin, and the numbers of silent ones, moved ones and samples left out."""

    places: list[int]
    silent: int
    moved: int
    left_out: int


def _cut(
    audio: Float32[np.ndarray, "T"], length: int, sample_rate_hz: int, quietest: float, start: str
) -> _Cut:
    """Find the places of the windows; see :func:`windows`."""
    places: list[int] = []
    place = silent = moved = 0
    after_silence = False  # whether the window before was silent
    while place < len(audio):
        piece = audio[place : place + length]
        # The first window begins where the file does, or where read_sound has found the beginning.
        ahead = onset(piece, sample_rate_hz, quietest) if start == "onset" and place else 0
        is_silent = bool(np.abs(piece).max() <= quietest)
        begins = start == "onset" and not is_silent and (ahead > 0 or after_silence)
        if place and not begins and 2 * len(piece) < length:
            return _Cut(places, silent, moved, left_out=len(piece))
        if is_silent:
            silent += 1
        else:
            places.append(place + ahead)
            moved += ahead > 0
        after_silence = is_silent
        place += ahead + length
    return _Cut(places, silent, moved, left_out=0)
