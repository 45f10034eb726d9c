"""Sound files as samples: any format, rate, number of channels and length."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from math import gcd, isfinite, log10
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import numpy as np
import soundfile
from annotated_types import Interval
from jaxtyping import Bool, Float32, Float64
from scipy.signal import firwin, resample_poly

from src.recordings import arrays
from src.recordings.wav import WavFile, WavHeader, first_bytes
from src.schema.arguments import section
from src.schema.bounds import OneOf, Text
from src.synth.onset import onset
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata

# How files are named whose formats libsndfile reads.
SUFFIXES = (
    *(".wav", ".flac", ".aif", ".aiff", ".aifc", ".ogg", ".oga", ".opus", ".mp3", ".au", ".snd"),
    *(".caf", ".w64", ".rf64", ".voc", ".sf", ".ircam", ".sph", ".nist"),
)
RAW = ".raw"  # looked at only to say that it can not be read
STARTS = ("onset", "file")  # where in a file the first window begins
RECORDING_KEY = "recording"  # metadata: how the sounds were read
LEAD_S = 0.010  # of recordings, before the first loud sample
Channels = Literal["mix", "left", "right", "stereo"]
Frames: TypeAlias = soundfile.SoundFile | arrays.ArrayFile | WavFile
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
    """A sound file as one channel, or as left and right.

    Attributes:
        audio: the samples.
        start_s: where in the file they begin, s.
        notes: how the sound was changed and what is unusual about it, a sentence each.
    """

    audio: Float32[np.ndarray, "*S T"]
    start_s: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Listening:
    """How sounds are read; the defaults are those of synthesised sounds.

    Attributes:
        start: "onset": what is before :func:`~src.synth.onset.onset` is left out; "file": nothing.
        lead_s: with "onset", s kept before the first sample within 40 dB of the peak.
        channels: "mix": several are averaged, without the silent ones; "left", "right": that one;
            "stereo": both. A sound of one channel has it on both sides.
        array_key: of .npz files, the sound; None: the only array.
        rate_key: of .npz files, the rate; None: the rate that is wanted.
    """

    start: Annotated[str, OneOf(STARTS)] = "file"
    lead_s: Annotated[float, Interval(ge=0, le=1)] = 0.0
    channels: Channels = "mix"
    array_key: Text | None = None
    rate_key: Text | None = None

    @classmethod
    def of(cls, metadata: Metadata) -> "Listening | None":
        """Return how the recordings of a data set were read; None where it holds none.

        Raises:
            VIMHError: the metadata say it in another way.
        """
        given = metadata.raw.get(RECORDING_KEY)
        if given is None:
            return None
        try:
            return section(cls, given, RECORDING_KEY)
        except ConfigError as error:
            raise VIMHError(f"data set {metadata.dataset_name}: {error}") from error


def read_sound(
    path: Path,
    sample_rate_hz: int,
    how: Listening = Listening(),
    quietest: float = 0.0,
    content: bytes | None = None,
) -> Sound:
    """A file at the wanted rate; one that is like that already stays bit for bit.

    Another rate is resampled by `scipy.signal.resample_poly` (polyphase, with its Kaiser-windowed
    low-pass).

    Args:
        path: the file, in any format that libsndfile reads, .npy or .npz.
        sample_rate_hz: the rate wanted.
        how: which part and which channels.
        quietest: amplitude that counts as silence.
        content: the file's bytes, where they are read already.

    Raises:
        VIMHError: if it is no sound file, is empty or silent, or holds a number that is not finite.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise VIMHError(f"{str(path)!r}: the file's name is no Unicode text; rename it") from error
    sides, notes, rate_hz = _read(path, sample_rate_hz, how, content)
    levels = np.abs(sides[0]) if len(sides) == 1 else np.abs(sides).max(axis=0)
    peak = float(levels.max())
    if peak > FAR_OVER_FULL_SCALE:
        notes.append(f"its peak of {peak:.4g} is {20 * log10(peak):.0f} dB over full scale, 1.0")
    # Before resampling, which smears a sharp beginning.
    begin = onset(levels, rate_hz, quietest, how.lead_s) if how.start == "onset" else 0
    if begin:
        notes.append(
            f"the sound begins at {begin / rate_hz:.3f} s; start=file keeps what is before"
        )
        sides = [side[begin:] for side in sides]
    if rate_hz != sample_rate_hz:
        sides = [_resampled(side, rate_hz, sample_rate_hz) for side in sides]
        notes.append(f"resampled from {rate_hz} to {sample_rate_hz} Hz")
    audio = np.stack(sides) if how.channels == "stereo" else sides[0]
    samples = np.ascontiguousarray(audio, dtype=np.float32)
    return Sound(samples, begin / rate_hz, tuple(notes))


def length_s(path: Path, how: Listening, sample_rate_hz: int) -> float:
    """Return how long a sound file is in s, by its header.

    Raises:
        VIMHError: if it is no sound file.
    """
    try:
        head, size = first_bytes(path)
    except OSError:
        head, size = b"", 0
    if header := WavHeader.of(head, size):
        return header.frames / header.samplerate if header.samplerate else 0.0
    with _opened(path, how, sample_rate_hz, None) as file:
        return float(file.frames / file.samplerate)


def _resampled(side: np.ndarray, rate_hz: int, wanted_hz: int) -> np.ndarray:
    shared = gcd(rate_hz, wanted_hz)
    up, down = wanted_hz // shared, rate_hz // shared
    return resample_poly(side, up, down, window=_low_pass(up, down))


@lru_cache(maxsize=4)
def _low_pass(up: int, down: int) -> Float64[np.ndarray, "L"]:
    """The filter that `resample_poly` designs by default, which takes longer than a short sound."""
    largest = max(up, down)
    return firwin(20 * largest + 1, 1.0 / largest, window=("kaiser", 5.0))


@contextmanager
def _opened(path: Path, how: Listening, wanted_hz: int, content: bytes | None) -> Iterator[Frames]:
    """Open a sound file; its frames are read while it is open."""
    if content is not None and (header := WavHeader.of(content, len(content))):
        yield WavFile(header, content)
        return
    if not os.path.isfile(path):  # False also for a name that is too long
        raise VIMHError(f"{path}: there is no such file")
    if path.stat().st_size == 0:
        raise VIMHError(f"{path}: the file is empty")
    if path.suffix.lower() in arrays.SUFFIXES:
        yield arrays.ArrayFile(path, how.array_key, how.rate_key, wanted_hz)
        return
    try:
        # Opened by us: libsndfile takes a file called .raw for samples without a header.
        with path.open("rb") as opened, soundfile.SoundFile(opened.fileno(), closefd=False) as file:
            yield file
    except soundfile.LibsndfileError as error:
        if path.suffix.lower() == RAW:
            raise VIMHError(
                f"{path}: not a sound file with a header; a raw file does not say its rate, "
                "channels and number format: make it a WAV file, for example with sox or ffmpeg"
            ) from error
        raise VIMHError(f"{path}: not a sound file ({error.error_string})") from error


class _Blocks:
    """A sound's frames by blocks, from the beginning for each loop; a short sound is read once."""

    def __init__(self, file: Frames) -> None:
        self._file = file
        self._size = BLOCK_VALUES // file.channels
        self._first = self._next()

    def _next(self) -> Float32[np.ndarray, "C n"]:
        # A row a channel: NumPy is slow along an axis of two.
        frames = self._file.read(self._size, "float32", always_2d=True)
        return np.ascontiguousarray(frames.T)

    def __iter__(self) -> Iterator[Float32[np.ndarray, "C n"]]:
        part = self._first
        if part.shape[1] == self._size:
            self._file.seek(self._size)
        while part.shape[1]:
            yield part
            part = self._next() if part.shape[1] == self._size else part[:, :0]


def _read(
    path: Path, wanted_hz: int, how: Listening, content: bytes | None
) -> tuple[list[np.ndarray], list[str], int]:
    """Read one channel or two, with notes on the channels, and the rate.

    In float64 where something is still to be calculated from it, else in float32.
    """
    with _opened(path, how, wanted_hz, content) as file:
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
        is_mixed = channels > 1 and how.channels == "mix"
        dtype = np.float64 if is_mixed or rate_hz != wanted_hz else np.float32
        # what is kept, and what resampling makes of it in float64 and float32
        a_frame = np.dtype(dtype).itemsize + 12 * wanted_hz / rate_hz * (rate_hz != wanted_hz)
        most = int((MEMORY_SHARE * path.stat().st_size + MEMORY_FREE) / a_frame)
        blocks = _Blocks(file)
        wanted, notes = _wanted_channels(path, channels, blocks, how.channels)
        sides = [_mixed(path, blocks, heard, notes, dtype, most) for heard in wanted]
    if len(sides[0]) == 0:
        raise VIMHError(f"{path}: there are no samples in it{_unfinished(path)}")
    if how.channels != "mix" and not any(side.any() for side in sides):
        raise VIMHError(f"{path}: it is silent")
    return sides if how.channels != "stereo" else [sides[0], sides[-1]], notes, rate_hz


def _wanted_channels(
    path: Path, count: int, blocks: _Blocks, channels: Channels
) -> tuple[list[Bool[np.ndarray, "C"]], list[str]]:
    """Return a mask of channels for each side, with notes on what is left out."""
    if channels == "mix":
        heard, notes = _heard_channels(count, blocks)
        return [heard], notes
    if count > 2:
        raise VIMHError(
            f"{path}: it has {count} channels; expected 1 or 2 with channels={channels}"
        )
    places = [place % count for place in {"left": (0,), "right": (1,)}.get(channels, (0, 1))]
    masks = [np.arange(count) == place for place in dict.fromkeys(places)]
    return masks, [f"the {channels} channel"] if count > 1 and channels != "stereo" else []


def _heard_channels(count: int, blocks: _Blocks) -> tuple[Bool[np.ndarray, "C"], list[str]]:
    """Find the channels that are not silent, with notes on the others."""
    if count == 1:
        return np.ones(1, bool), []
    peaks = np.zeros(count)
    for part in blocks:
        peaks = np.maximum(peaks, np.nan_to_num(np.abs(part).max(axis=1)))
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
    blocks: _Blocks,
    heard: Bool[np.ndarray, "C"],
    notes: list[str],
    dtype: type[np.floating],
    most: int,
) -> np.ndarray:
    """All frames, by blocks: memory is taken for what is there, not for what a header claims.

    Adds to the notes where the channels cancel each other.
    """
    kept: list[np.ndarray] = []
    power, mixed, silent, first = 0.0, 0.0, True, 0
    for part in blocks:
        if first + part.shape[1] > most:
            raise VIMHError(
                f"{path}: its samples take more memory than {MEMORY_SHARE} times the file's size "
                f"and {MEMORY_FREE // 2**20} MB; cut it into shorter sounds"
            )
        loudest = float(np.abs(part).max(initial=0.0))
        if not isfinite(loudest):
            frame = int(np.flatnonzero(~np.isfinite(part).all(axis=0))[0])
            found = ", ".join(f"{value:g}" for value in part[:8, frame])
            raise VIMHError(f"{path}: sample {first + frame} is [{found}], not a finite number")
        first += part.shape[1]
        silent = silent and loudest == 0.0
        wide = (part if heard.all() else part[heard]).astype(dtype, copy=False)
        mono = wide[0] if len(wide) == 1 else wide.mean(axis=0)
        if len(wide) > 1:
            power += float(np.square(wide).sum()) / len(wide)
            mixed += float(np.square(mono).sum())
        kept.append(mono)
    if kept and silent:
        raise VIMHError(f"{path}: it is silent")
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
    return kept[0] if len(kept) == 1 else np.concatenate([np.zeros(0, dtype), *kept])


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
