"""How loud the sounds of a synthesised data set are."""

import numpy as np

from src.synth.draws import derived
from src.synth.images import ImageMaker
from src.synth.resynthesis import resynthesise
from src.synth.samples import drawn
from src.synth.synthesizers import Synthesizer

DRAWN = 64  # sounds at random, and as many from the corners of the parameters' ranges
MAX_NUMBERS = 1 << 22  # samples rendered at a time: 16 MB
ALMOST_ONE = np.nextafter(1.0, 0.0)  # that is still the last class
MAX_SAMPLES = 1 << 19  # of a sound: rendering more would take too long


def level_range_db(synthesizer: Synthesizer, image_maker: ImageMaker) -> tuple[float, float] | None:
    """Measure the lowest and the highest level of a synthesiser's sounds, by rendering some.

    A sound's level is the highest value of its spectrogram in dB. Sounds are drawn at random and
    at the ends of the ranges, with a fixed seed. Noise that the recipe adds is not counted.

    Returns:
        Both levels; None where the sounds are too long to render so many.
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
    levels: list[float] = []
    for start in range(0, len(uniform), batch):
        some = {name: column[start : start + batch] for name, column in values.items()}
        decibels = image_maker.front_end(resynthesise(synthesizer, some))
        levels += decibels.max(axis=(1, 2)).tolist()
    return min(levels), max(levels)
