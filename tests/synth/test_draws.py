"""A synthesiser that draws other quantities than it reports, outside of the package."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from jaxtyping import Float32, Float64

from src.evaluation.prediction.sounds import levels_of
from src.synth.errors import RecipeError
from src.synth.generate import dataset_name, generate_dataset
from src.synth.philox import uniforms
from src.synth.recipe import Recipe
from src.synth.resynthesis import resynthesise
from src.synth.samples import SampleMaker
from src.synth.synthesizers import Synthesizer, build_synthesizer
from src.vimh.records import check_dataset
from tests.synth.conftest import MakeRecipe


class BarSynth(Synthesizer):
    """The first mode of a free bar, drawn by its make: ``f = 1.028 · h/l² · sqrt(E/ρ)``.

    N. Fletcher and T. Rossing, "The Physics of Musical Instruments", 2nd ed., 1998, chapter 2.
    """

    synth_type = "bar"
    parameter_names = ("frequency", "decay_time")
    draw_names = ("length", "thickness", "stiffness", "loss")

    def derive(
        self, draws: Mapping[str, Float64[np.ndarray, "B"]]
    ) -> Mapping[str, Float64[np.ndarray, "B"]]:
        frequency = 1.028 * draws["thickness"] / draws["length"] ** 2 * np.sqrt(draws["stiffness"])
        return {"frequency": frequency, "decay_time": 1.0 / (np.pi * frequency * draws["loss"])}

    def render(
        self, values: Mapping[str, Float64[np.ndarray, "B"]], num_samples: int | None = None
    ) -> Float32[np.ndarray, "B T"]:
        assert tuple(values) == self.parameter_names
        time_s = np.arange(self.num_samples if num_samples is None else num_samples)
        time_s = time_s / self.sample_rate_hz
        decay = np.exp(-time_s / values["decay_time"][:, None])
        sound = decay * np.sin(2 * np.pi * values["frequency"][:, None] * time_s)
        return sound.astype(np.float32)


BAR: dict[str, Any] = {
    "_target_": "tests.synth.test_draws.BarSynth",
    "draws": {
        "length": {"min": 0.2, "max": 0.4, "unit": "m"},
        "thickness": {"min": 0.002, "max": 0.004, "unit": "m"},
        "stiffness": {"min": 1e6, "max": 1e7, "spacing": "log", "unit": "m²/s²"},
        "loss": {"min": 0.01, "max": 0.01},
    },
    "parameters": {
        "frequency": {"min": 10.0, "max": 640.0, "step": 10.0, "unit": "Hz"},
        "decay_time": {"min": 0.05, "max": 2.5, "step": 0.05, "unit": "s"},
    },
}


def bar(make_recipe: MakeRecipe, *overrides: str, **changes: Any) -> dict[str, Any]:
    recipe = make_recipe("simple", "dataset.name=bar", "dataset.size=20", *overrides)
    recipe["synth"] = deepcopy(BAR)
    for key, value in changes.items():
        *parents, last = key.split("__")
        node = recipe["synth"]
        for parent in parents:
            node = node[parent]
        node[last] = value
    return recipe


def test_what_is_reported_follows_from_what_is_drawn(make_recipe: MakeRecipe) -> None:
    maker = SampleMaker(Recipe.from_mapping(bar(make_recipe, "dataset.size=500")))
    indices = np.arange(500)
    u = uniforms(42, indices, 3)
    length, thickness = 0.2 + 0.2 * u[:, 0], 0.002 + 0.002 * u[:, 1]
    stiffness = 1e6 * 10.0 ** u[:, 2]
    values = maker.values(indices)
    frequency = 1.028 * thickness / length**2 * np.sqrt(stiffness)
    np.testing.assert_allclose(values["frequency"], frequency, rtol=1e-12)
    # Both follow from the same draws: what is low rings long.
    np.testing.assert_allclose(values["decay_time"] * values["frequency"], 1 / (np.pi * 0.01))
    for i in (0, 3, 499):
        alone = maker.values(indices[i : i + 1])
        assert all(alone[name][0] == values[name][i] for name in values)


def test_a_data_set_and_its_sounds(make_recipe: MakeRecipe) -> None:
    recipe = bar(make_recipe)
    dataset = check_dataset(generate_dataset(recipe, progress=False).dataset_dir)
    metadata = dataset.metadata
    assert metadata.parameters.names == ("frequency", "decay_time")
    assert metadata.recipe is not None
    assert metadata.recipe["synth"]["draws"] == BAR["draws"]
    checked = Recipe.from_mapping(metadata.recipe)
    assert checked.digest() == metadata.raw["recipe_hash"]
    assert not generate_dataset(recipe, progress=False).made
    values = SampleMaker(checked).values(np.arange(16))
    labels = metadata.parameters["frequency"].quantise(values["frequency"])
    np.testing.assert_array_equal(dataset.train.labels[:, 0], labels)
    # Values that are given are rendered as they are: nothing is drawn.
    without = {key: value for key, value in BAR.items() if key != "draws"}
    synthesizer = build_synthesizer(without, sample_rate_hz=8000, duration_s=1.0)
    sounds = resynthesise(synthesizer, {"frequency": [100.0, 600.0], "decay_time": [2.0, 0.5]})
    whole = synthesizer.render({"frequency": np.array([100.0]), "decay_time": np.array([2.0])})
    np.testing.assert_array_equal(sounds[:1], whole)


def test_the_levels_of_its_sounds_are_those_of_what_is_drawn(make_recipe: MakeRecipe) -> None:
    recipe = Recipe.from_mapping(bar(make_recipe, "dataset.size=200"))
    maker = SampleMaker(recipe)
    levels = maker.image_maker(maker.audio(np.arange(200)))[1][:, 1]
    found = levels_of(recipe.synthesizer, maker.image_maker)
    assert found is not None
    assert found.lowest_db - 0.5 < levels.min()
    assert levels.max() < found.highest_db + 0.5
    # Of all pairs that the ranges hold, some fade long before: a low bar that stops at once.
    lone = {key: value for key, value in BAR.items() if key != "draws"}
    without = build_synthesizer(lone, sample_rate_hz=8000, duration_s=1.0)
    every_pair = levels_of(without, maker.image_maker)
    assert every_pair is not None
    assert every_pair.lowest_db < found.lowest_db - 3.0


def test_draws_are_part_of_the_identity(make_recipe: MakeRecipe) -> None:
    def digest(**changes: Any) -> str:
        return Recipe.from_mapping(bar(make_recipe, **changes)).digest()

    same = {"min": 0.2, "max": 0.4, "spacing": "linear", "description": "of the bar"}
    assert digest(draws__length=same) == digest()
    assert digest(draws__length__max=0.39) != digest()
    assert digest(draws__stiffness__spacing="linear") != digest()
    assert "draws" not in Recipe.from_mapping(make_recipe("simple")).identity()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"draws__width": {"min": 0, "max": 1}}, r"^synth.draws.width is unknown.* are length, th"),
        ({"draws": {}}, r"^synth.draws.length is missing; expected min and max \(bar draws leng"),
        ({"draws__length": {"min": 1}}, r"^synth.draws.length.max is missing; expected a number"),
        ({"draws__length": 5}, r"^synth.draws.length is 5; expected a mapping"),
        ({"draws__length__min": 0.5}, r"^synth.draws.length.min is 0.5; .* must not exceed"),
        ({"draws__length__spacing": "even"}, r"^synth.draws.length.spacing is 'even'; expected"),
        (
            {"draws__length": {"min": 0, "max": 1, "spacing": "log"}},
            r"^synth.draws.length.min is 0",
        ),
        ({"draws__length__step": 1}, r"^synth.draws.length.step is unknown"),
        ({"draws": [1]}, r"^synth.draws is \[1\]; expected a mapping"),
        (
            {"parameters__frequency__max": 200.0},
            r"^synth.parameters.frequency is 325.* where the draws are length=0.2, "
            r"thickness=0.004, stiffness=1e\+07, loss=0.01; expected 10 to 200: widen",
        ),
        ({"parameters__decay_time__min": 0.1}, r"^synth.parameters.decay_time is 0.0.* are length"),
        (
            {"_target_": "src.synth.synthesizers.SimpleSawSynth"},
            r"^synth.parameters.frequency is u",
        ),
    ],
)
def test_wrong_draws(make_recipe: MakeRecipe, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        dataset_name(bar(make_recipe, **changes))


def test_there_is_no_complete_grid(make_recipe: MakeRecipe) -> None:
    with pytest.raises(RecipeError, match=r"^avix is True; expected false: bar draws other"):
        dataset_name(bar(make_recipe, "avix=true"))


def test_draws_of_a_synthesiser_that_has_none(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("simple")
    recipe["synth"]["draws"] = {"length": {"min": 0.0, "max": 1.0}}
    with pytest.raises(RecipeError, match=r"^synth.draws is not read: simple draws its parameters"):
        dataset_name(recipe)


def test_draws_that_do_not_vary(make_recipe: MakeRecipe) -> None:
    fixed = {name: {"min": d["max"], "max": d["max"]} for name, d in BAR["draws"].items()}
    with pytest.raises(RecipeError, match=r"^synth.draws: every range is a single value"):
        dataset_name(bar(make_recipe, draws=fixed))


class WrongBar(BarSynth):
    """Derives what `wrong` makes of it."""

    wrong: Any = None

    def derive(self, draws: Mapping[str, Float64[np.ndarray, "B"]]) -> Any:
        return type(self).wrong(dict(super().derive(draws)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda v: v["frequency"], "WrongBar.derive must return the values of frequency, decay_"),
        (lambda v: {"frequency": v["frequency"]}, "of frequency, decay_time, found frequency$"),
        (lambda v: {**v, "more": v["frequency"]}, "found frequency, decay_time, more"),
        (lambda v: {**v, "frequency": 100.0}, r"one frequency a sample, found .* shape \(\)"),
        (lambda v: {**v, "frequency": v["frequency"][:2]}, r"one frequency a sample, found"),
        (lambda v: {**v, "frequency": v["frequency"] * np.nan}, "frequency is nan where the draws"),
        (lambda v: {**v, "frequency": v["frequency"] / 0.0}, "frequency is inf where the draws"),
    ],
)
def test_values_that_are_no_values(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch, wrong: Any, message: str
) -> None:
    monkeypatch.setattr(WrongBar, "wrong", staticmethod(wrong))
    recipe = bar(make_recipe, _target_="tests.synth.test_draws.WrongBar")
    with np.errstate(divide="ignore"), pytest.raises(RecipeError, match=message):
        dataset_name(recipe)


def test_rounding_at_the_end_of_a_range_is_no_error(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        WrongBar, "wrong", staticmethod(lambda v: {**v, "frequency": 0 * v["frequency"] + top})
    )
    recipe = bar(make_recipe, _target_="tests.synth.test_draws.WrongBar")
    top = 640.0 * (1 + 1e-12)
    values = SampleMaker(Recipe.from_mapping(recipe)).values(np.arange(3))
    assert (values["frequency"] == 640.0).all()
    top = 640.0 * (1 + 1e-6)
    with pytest.raises(RecipeError, match=r"frequency is 640.001 where"):
        dataset_name(recipe)
