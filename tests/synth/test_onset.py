"""Where a sound begins: after silence, after noise, and with the first sample."""

import numpy as np
import pytest

from src.synth.onset import onset
from src.synth.recipe import Recipe
from src.synth.samples import SampleMaker
from tests.synth.conftest import MakeRecipe

RATE = 8000
TIME_S = np.arange(RATE) / RATE
WAVE = np.exp(-TIME_S) * np.sin(2 * np.pi * 100 * TIME_S)  # begins with a zero
RECIPES = [
    *("simple", "simple_wide", "simple_3p", "simple_noisy"),
    *("resonator", "resonator_noise", "moog_basic", "moog_envelope"),
]


@pytest.mark.parametrize("silent", [2, 5, 24, 40, 80, 800, 8000])
def test_silence_before_a_sound_is_found_to_the_sample(silent: int) -> None:
    assert onset(np.concatenate([np.zeros(silent), WAVE]), RATE) == silent


@pytest.mark.parametrize("below_db", [60, 80, 96])
@pytest.mark.parametrize("before", [40, 80, 800])
def test_noise_before_a_sound_too(before: int, below_db: float) -> None:
    noise = 10 ** (-below_db / 20) * np.random.default_rng(1).standard_normal(before)
    assert 0 <= onset(np.concatenate([noise, WAVE]), RATE) - before <= 1


def test_silence_has_no_beginning() -> None:
    assert onset(np.zeros(100), RATE) == 0
    assert onset(np.zeros(0), RATE) == 0
    assert onset(np.full(100, 1e-11), RATE, quietest=1e-10) == 0


@pytest.mark.parametrize("name", RECIPES)
def test_every_sound_of_ours_begins_with_its_first_sample(
    name: str, make_recipe: MakeRecipe
) -> None:
    maker = SampleMaker(Recipe.from_mapping(make_recipe(name, "dataset.size=64")))
    rate = maker.synthesizer.sample_rate_hz
    assert [onset(sound, rate, 1e-10) for sound in maker.audio(np.arange(64))] == [0] * 64
