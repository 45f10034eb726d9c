"""What values sound like, and how far that is from the sound they were read from."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from src.evaluation.scoring.audio_metrics import MIN_RATE_HZ, audio_distances
from src.synth.resynthesis import resynthesise
from src.synth.synthesizers import Synthesizer


@dataclass(frozen=True)
class Rendition:
    """A sound rendered from values.

    Attributes:
        sound: of the data set's length; NaN where a value is.
        distances: to the sound that the values were read from, by the metrics' names; empty where
            there is none, as for a record of a data set.
    """

    sound: Float32[np.ndarray, "T"]
    distances: dict[str, float]


def rendition(
    synthesizer: Synthesizer,
    values: Mapping[str, float],
    heard: Float32[np.ndarray, "T"] | None = None,
) -> Rendition:
    """Render values and compare them with a sound, as far as the shorter of both goes.

    Args:
        synthesizer: what renders; in this thread alone.
        values: by parameter, in its unit.
        heard: the sound, at the synthesiser's rate; None: nothing is compared.

    Raises:
        VIMHError: if the sound cannot be made.
    """
    columns = {name: np.array([value]) for name, value in values.items()}
    sound, rate_hz = resynthesise(synthesizer, columns)[0], synthesizer.sample_rate_hz
    if heard is None or rate_hz < MIN_RATE_HZ:
        return Rendition(sound, {})
    length = min(len(sound), len(heard))
    found = audio_distances(heard[None, :length], {"": sound[None, :length]}, rate_hz)[""]
    return Rendition(sound, {name: float(column[0]) for name, column in found.items()})
