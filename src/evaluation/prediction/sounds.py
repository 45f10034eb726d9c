"""Sounds as the windows that a model hears, and how loud those of its data set are."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from src.recordings.sounds import RAW, SUFFIXES
from src.synth.draws import derived
from src.synth.images import ImageMaker
from src.synth.levels import Levels, floor_shares
from src.synth.onset import onset
from src.synth.resynthesis import resynthesise
from src.synth.samples import drawn
from src.synth.synthesizers import Synthesizer
from src.vimh.errors import VIMHError

SOUNDS = (*SUFFIXES, RAW)
DRAWN = 64  # sounds at random, and as many from the corners of the parameters' ranges
MAX_NUMBERS = 1 << 22  # samples rendered at a time: 16 MB
ALMOST_ONE = np.nextafter(1.0, 0.0)  # that is still the last class
MAX_SAMPLES = 1 << 19  # of a sound: rendering more would take too long


@dataclass(frozen=True)
class Windows:
    """A sound cut into pieces of equal length."""

    audio: Float32[np.ndarray, "N *S T"]  # the pieces
    start_s: tuple[float, ...]  # where in the file each begins, s
    notes: tuple[str, ...]  # how the sound was changed, a sentence each


def sound_files(folder: Path, suffixes: tuple[str, ...] = SOUNDS) -> list[Path]:
    """Return the sound files of a folder by name; subfolders are not looked into.

    Raises:
        VIMHError: if there are none.
    """
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    if not found:
        what = "sound file" if suffixes == SOUNDS else "picture"
        raise VIMHError(f"{folder}: there is no {what} in it ({', '.join(suffixes)})")
    return found


def windows(
    audio: Float32[np.ndarray, "*S T"],
    length: int,
    sample_rate_hz: int,
    quietest: float = 0.0,
    start: str = "file",
    lead_s: float = 0.0,
    window: str = "all",
) -> Windows:
    """Cut a sound into windows, one after the other, or read its first one alone.

    A sound shorter than a window is padded with silence at its end. A rest at the end counts
    from half a window on and is padded too. Windows with no sample above `quietest` are left out.

    Args:
        audio: the sound, or its left and right.
        length: samples of a window.
        sample_rate_hz: samples a second.
        quietest: amplitude that counts as silence.
        start: "onset": where a sound begins later than a window, the window moves there; a rest
            in which a sound begins counts.
        lead_s: as of :func:`~src.synth.onset.onset`.
        window: "all", or "first": only the first that is not silent.

    Raises:
        VIMHError: if all windows are silent.

    Example:
        >>> cut = windows(np.ones(25, dtype=np.float32), 10, 10)
        >>> cut.audio.shape, cut.start_s, cut.notes[-1]
        ((3, 10), (0.0, 1.0, 2.0), 'the last window padded from 0.500 to 1.000 s')
    """
    loudest = audio if audio.ndim == 1 else np.abs(audio).max(axis=0)
    most = 1 if window == "first" else None
    cut = _cut(loudest, length, sample_rate_hz, quietest, start, lead_s, most)
    if not cut.places:
        raise VIMHError("it is silent, there is nothing to predict from")
    notes = []
    count = len(cut.places) + cut.silent
    rest = audio.shape[-1] - cut.places[-1] - length
    if most and rest > 0:
        notes.append(
            f"only its first {length / sample_rate_hz:.3f} s are read, {rest / sample_rate_hz:.3f} "
            "s follow; window=all reads them too"
        )
    elif count > 1:
        notes.append(f"cut into {count} windows of {length / sample_rate_hz:.3f} s")
    if cut.moved:
        notes.append(f"{cut.moved} windows moved to where a sound begins")
    heard = audio.shape[-1] - cut.places[-1]
    if heard < length:
        what = "padded" if count == 1 else "the last window padded"
        notes.append(f"{what} from {heard / sample_rate_hz:.3f} to {length / sample_rate_hz:.3f} s")
    if cut.left_out and not most:
        notes.append(f"the last {cut.left_out / sample_rate_hz:.3f} s left out")
    if cut.silent:
        notes.append(f"{cut.silent} silent windows left out")
    pieces = np.zeros((len(cut.places), *audio.shape[:-1], length), np.float32)
    for row, first in enumerate(cut.places):
        piece = audio[..., first : first + length]
        pieces[row, ..., : piece.shape[-1]] = piece
    return Windows(pieces, tuple(first / sample_rate_hz for first in cut.places), tuple(notes))


class _Cut(NamedTuple):
    """Where windows begin, and the numbers of silent ones, moved ones and samples left out."""

    places: list[int]
    silent: int
    moved: int
    left_out: int


def _cut(
    audio: Float32[np.ndarray, "T"],
    length: int,
    sample_rate_hz: int,
    quietest: float,
    start: str,
    lead_s: float,
    most: int | None,
) -> _Cut:
    """Find the places of the windows, or of so many; see :func:`windows`."""
    places: list[int] = []
    place = silent = moved = 0
    after_silence = False  # whether the window before was silent
    while place < len(audio) and len(places) != most:
        piece = audio[place : place + length]
        # The first window begins where the file does, or where read_sound has found the beginning.
        is_later = start == "onset" and place > 0
        ahead = onset(piece, sample_rate_hz, quietest, lead_s) if is_later else 0
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


def levels_of(synthesizer: Synthesizer, image_maker: ImageMaker) -> Levels | None:
    """Measure the levels of a synthesiser's sounds, by rendering some.

    Sounds are drawn at random and at the ends of the ranges, with a fixed seed. Noise that the
    recipe adds is not counted.

    Returns:
        What is known of them; None where the sounds are too long to render so many.
    """
    if synthesizer.num_samples > MAX_SAMPLES:
        return None
    space = synthesizer.draws or synthesizer.parameters
    heads = space.heads
    uniform = np.random.default_rng(0).random((2 * DRAWN, len(heads)))
    uniform[DRAWN:] = uniform[DRAWN:].round()
    values = {
        name: drawn(p, uniform[:, k].clip(max=ALMOST_ONE) if p.is_categorical else uniform[:, k])
        for k, (name, p) in enumerate(heads.items())
    }
    if synthesizer.draws:
        fixed = {name: np.full(len(uniform), p.min) for name, p in space.fixed.items()}
        values = derived(synthesizer, {**values, **fixed})
    batch = max(1, MAX_NUMBERS // synthesizer.num_samples)
    found: Levels | None = None
    for start in range(0, len(uniform), batch):
        some = {name: column[start : start + batch] for name, column in values.items()}
        decibels = image_maker.front_end(resynthesise(synthesizer, some))
        shares = floor_shares(image_maker.from_db(decibels[:, None])[0])
        found = Levels.of(decibels.max(axis=(1, 2)), shares) | found
    return found
