"""Parameters to sound: an instance for each thread, and checks of what comes back."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from jaxtyping import Bool, Float32, Float64

from src.synth.errors import LostSounds, described
from src.synth.synthesizers import Synthesizer
from src.vimh.errors import VIMHError

Columns = Mapping[str, Float64[np.ndarray, "B"]]

# Of the sound's peak, -100 dB: roundings are smaller, and what is heard in an image is larger.
SAME_SHARE = 1e-5
_CHECKED_EVERY = 256  # so many samples are rendered for two that are rendered again
_BEGINNING = 256  # samples that a fresh instance renders: enough to tell two sounds apart


def render(
    synthesizer: Synthesizer, values: Columns, num_samples: int | None = None
) -> Float32[np.ndarray, "B T"]:
    """Render a batch and check the form of what comes back.

    Args:
        synthesizer: what renders.
        values: every parameter's value for each sample; it gets copies of them.
        num_samples: T, the length wanted; None: the whole sound.

    Raises:
        VIMHError: if that is no float32 array (B, T).
    """
    copies = {name: column.copy() for name, column in values.items()}
    audio: object = synthesizer.render(copies, num_samples)
    count = len(next(iter(values.values())))
    shape = (count, synthesizer.num_samples if num_samples is None else num_samples)
    if isinstance(audio, np.ndarray) and audio.shape == shape and audio.dtype == np.float32:
        return audio
    found = f"{type(audio).__name__}"
    if isinstance(audio, np.ndarray):
        found = f"{audio.dtype} of shape {audio.shape}"
    raise VIMHError(
        f"synth: {type(synthesizer).__name__}.render must return a NumPy array, float32 of shape "
        f"{shape}, found {found}, for {count} samples, the first of {described(values, 0)}"
    )


def check_finite(
    synthesizer: Synthesizer, audio: Float32[np.ndarray, "B T"], values: Columns
) -> None:
    """Refuse sounds with a NaN or an infinity in them.

    Raises:
        VIMHError: naming the first such sound's parameter values.
    """
    finite = np.isfinite(audio).all(axis=1)
    if not finite.all():
        refuse_sound(synthesizer, audio, values, ~finite)


def refuse_sound(
    synthesizer: Synthesizer,
    audio: Float32[np.ndarray, "B T"],
    values: Columns,
    wrong: Bool[np.ndarray, "B"],
) -> NoReturn:
    """Raise an error that names the sound that makes no image.

    Args:
        synthesizer: what rendered.
        audio: the sounds.
        values: their parameters.
        wrong: which of them; there is one.

    Raises:
        VIMHError: naming the first such sound's parameter values.
    """
    row = int(wrong.argmax())
    places = np.flatnonzero(~np.isfinite(audio[row]))
    what = f"a sound that is too loud to transform, up to {np.abs(audio[row]).max():g},"
    if len(places):
        what = f"{audio[row, places[0]]} at sample {places[0]} of a sound"
    raise VIMHError(
        f"synth: {type(synthesizer).__name__}.render returned {what} for "
        f"{described(values, row)}; a sound has to be finite for every value of its parameters: "
        "correct render, or the parameters' ranges"
    )


@dataclass(frozen=True)
class _Kept:
    """Sounds to render again."""

    values: dict[str, Float64[np.ndarray, "K"]]
    audio: Float32[np.ndarray, "K T"]

    @classmethod
    def of(cls, values: Columns, audio: Float32[np.ndarray, "B T"], rows: list[int]) -> "_Kept":
        """Copies of these rows."""
        return cls({name: column[rows] for name, column in values.items()}, audio[rows])


class _Own(threading.local):
    """The synthesiser of one thread."""

    synthesizer: Synthesizer | None = None


class Renderer:
    """Renders in any number of threads, each with a synthesiser of its own.

    It also checks that a sound depends on its parameters alone. Sounds of the first batch are
    rendered by a fresh instance, backwards, and only their beginnings. Later, two sounds of a batch
    (or of each 256 samples, where batches are smaller) are rendered once more in the next batch,
    whichever thread makes it: other sounds came before, others stand beside them. That costs less
    than one sample in a hundred.

    Args:
        build: gives a new synthesiser.
    """

    def __init__(self, build: Callable[[], Synthesizer]) -> None:
        self._build = build
        self._own = _Own()
        self._lock = threading.Lock()
        self._kept: _Kept | None = None
        self._since_kept = 0
        self._is_first = True

    def __call__(
        self, values: Columns, num_samples: int | None = None
    ) -> Float32[np.ndarray, "B T"]:
        """Render a batch, as :func:`render`.

        Raises:
            LostSounds: for sounds that an engine did not make.
            VIMHError: if what comes back has another form, or a sound that is rendered again
                differs.
        """
        synthesizer = self._instance()
        if synthesizer.varies:
            return render(synthesizer, values, num_samples)
        count = len(next(iter(values.values())))
        with self._lock:
            kept, self._kept = self._kept, None
            is_first, self._is_first = self._is_first, False
        both = values
        if kept is not None:
            both = {n: np.concatenate([column, kept.values[n]]) for n, column in values.items()}
        try:
            audio, reasons = render(synthesizer, both, num_samples), {}
        except LostSounds as lost:
            audio, reasons = lost.audio, {r: lost.reasons[r] for r in lost.reasons if r < count}
        if kept is not None:
            self._compare(synthesizer, kept, audio[count:])
            audio = audio[:count]
        if reasons:
            raise LostSounds(audio, reasons, values)
        if is_first and not synthesizer.is_audited:
            self._compare_with_fresh(values, audio)
        self._keep(values, audio)
        return audio

    def _instance(self) -> Synthesizer:
        """This thread's synthesiser."""
        if self._own.synthesizer is None:
            with self._lock:  # constructors are not asked to run at the same time
                self._own.synthesizer = self._build()
        return self._own.synthesizer

    def _keep(self, values: Columns, audio: Float32[np.ndarray, "B T"]) -> None:
        count = len(audio)
        with self._lock:
            self._since_kept += count
            if self._since_kept >= _CHECKED_EVERY:
                self._since_kept = 0
                self._kept = _Kept.of(values, audio, sorted({count // 2, count - 1}, reverse=True))

    def _compare_with_fresh(self, values: Columns, audio: Float32[np.ndarray, "B T"]) -> None:
        count = len(audio)
        kept = _Kept.of(values, audio, sorted({0, count // 2, count - 1}, reverse=True))
        fresh = self._build()
        beginning = render(fresh, kept.values, min(_BEGINNING, audio.shape[1]))
        self._compare(fresh, kept, beginning)

    def _compare(
        self, synthesizer: Synthesizer, kept: _Kept, again: Float32[np.ndarray, "K S"]
    ) -> None:
        """Refuse sounds that differ when they are rendered again, as far as both go."""
        length = min(kept.audio.shape[1], again.shape[1])
        with np.errstate(invalid="ignore"):  # what is not finite is refused where it is used
            difference = np.abs(kept.audio[:, :length] - again[:, :length]).max(axis=1)
            peak = np.abs(kept.audio).max(axis=1)
            wrong = difference > SAME_SHARE * peak
        if wrong.any():
            row = int(wrong.argmax())
            raise VIMHError(
                f"synth: {type(synthesizer).__name__}.render gave another sound when it was asked "
                f"again for {described(kept.values, row)} (they differ by up to "
                f"{difference[row]:.3g}, the peak is {peak[row]:.3g}). A sound may depend on its "
                "parameters alone: not on what was rendered before or beside it, not on how much "
                "of it is asked for, and not on random numbers without a seed of their own"
            )
