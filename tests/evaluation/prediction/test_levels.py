"""The levels of a data set's sounds, from a few of them."""

import numpy as np
import pytest

from src.evaluation.prediction import sounds
from src.synth.levels import floor_shares
from src.synth.recipe import Recipe
from src.synth.samples import SampleMaker
from tests.synth.conftest import MakeRecipe, make_recipe  # noqa: F401 - a fixture


@pytest.mark.parametrize("name", ["simple", "simple_3p", "resonator", "moog_basic"])
def test_the_range_holds_the_levels_of_a_data_set(name: str, make_recipe: MakeRecipe) -> None:  # noqa: F811
    maker = SampleMaker(Recipe.from_mapping(make_recipe(name, "dataset.size=300")))
    found = sounds.levels_of(maker.synthesizer, maker.image_maker)
    assert found is not None
    samples = maker(np.arange(300))
    own, low, high = samples.scale_factors[:, 1], found.lowest_db, found.highest_db
    # And not much wider, or it would say nothing.
    assert low - 1.0 <= own.min() <= low + 12.0
    assert high - 3.0 <= own.max() <= high + 1.0
    assert found.floor_share == pytest.approx(floor_shares(samples.images).max(), abs=0.15)


def test_very_long_sounds_are_not_rendered(make_recipe: MakeRecipe, monkeypatch) -> None:  # noqa: F811
    maker = SampleMaker(Recipe.from_mapping(make_recipe("simple", "dataset.size=10")))
    monkeypatch.setattr(sounds, "MAX_SAMPLES", 7999)
    assert sounds.levels_of(maker.synthesizer, maker.image_maker) is None
