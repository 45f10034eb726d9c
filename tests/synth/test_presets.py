"""Front ends by name, lengths as times, and a hop that spans the sound."""

import re
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from src.schema.plain import plain_values
from src.synth.errors import RecipeError
from src.synth.generate import dataset_name, generate_dataset
from src.synth.recipe import Recipe
from src.synth.settings import build_front_end, front_end_of, front_end_preset
from src.vimh.metadata import Metadata
from tests.synth.conftest import CONFIGS, MakeRecipe

NAMES = sorted(path.stem for path in (CONFIGS / "front_end").glob("*.yaml"))
RATES_HZ = (8000, 11025, 16000, 22050, 32000, 44100, 48000)


def build(name: str, rate_hz: int, duration_s: float, **changes: Any) -> Any:
    preset = front_end_preset(name)
    return build_front_end(
        {**preset["stft"], **changes},
        preset["mel"],
        sample_rate_hz=rate_hz,
        duration_s=duration_s,
        **preset["image"],
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_preset_spans_the_sound_at_any_rate(name: str, rate_hz: int) -> None:
    front_end = build(name, rate_hz, 1.0)
    # A hop more, and the last frame would not be in the sound.
    assert front_end.num_samples <= rate_hz < front_end.num_samples + front_end.width - 1
    assert front_end.row_hz[-1] < rate_hz / 2
    sound = np.random.default_rng(0).normal(size=(1, rate_hz)).astype(np.float32)
    db = front_end(sound)
    assert db.shape == (1, front_end.height, front_end.width)
    assert db.std() > 1.0
    assert db.max() - db.min() < 80.0  # no row is empty


@pytest.mark.parametrize(("name", "window_s"), [("mel_64", 0.064), ("stft_64", 0.032)])
def test_a_window_lasts_as_long_at_any_rate(name: str, window_s: float) -> None:
    for rate_hz in RATES_HZ:
        front_end = build(name, rate_hz, 1.0)
        assert front_end.n_window == round(window_s * rate_hz)
        assert front_end.n_window <= front_end.n_fft < 2 * front_end.n_window
        assert front_end.n_fft & (front_end.n_fft - 1) == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_group_of_the_command_line_and_a_key_of_a_recipe_are_the_same(
    name: str, make_recipe: MakeRecipe
) -> None:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        composed = plain_values(compose("generate_simple_3p", overrides=[f"front_end={name}"]))
    preset = front_end_preset(name)
    assert {key: composed["image"][key] for key in preset["image"]} == preset["image"]
    plain = make_recipe("simple_3p")
    for key in ("image", "stft", "mel"):
        del plain[key]
    by_key = Recipe.from_mapping({**plain, "front_end": name})
    assert by_key.digest() == Recipe.from_mapping(composed).digest()
    assert Recipe.from_mapping(by_key.to_json()).digest() == by_key.digest()


def test_a_recipes_own_keys_win(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("simple", "front_end=mel_64", "stft.floor_db_rel=null", "image.width=40")
    checked = Recipe.from_mapping(recipe)
    assert (checked.image.height, checked.image.width) == (64, 40)
    assert checked.stft["floor_db_rel"] is None
    del recipe["stft"], recipe["mel"]
    own = {**recipe, "front_end": "mel_128", "image": {"width": 40}, "stft": {"n_window": 100}}
    checked = Recipe.from_mapping(own)
    assert (checked.image.height, checked.image.width) == (128, 40)
    assert (checked.stft["n_window"], checked.stft["n_fft"]) == (100, 128)


def test_what_is_stored_are_samples(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("simple", "front_end=stft_64", "dataset.size=4", "stft.hop_length=10ms")
    metadata = Metadata.load(generate_dataset(recipe, progress=False).dataset_dir)
    config = metadata.spectrogram_config
    assert (config["n_fft"], config["n_window"], config["hop_length"]) == (256, 256, 80)
    assert metadata.recipe is not None
    assert metadata.recipe["stft"]["hop_length"] == 80
    assert "front_end" not in metadata.recipe
    assert front_end_of(metadata) == Recipe.from_mapping(recipe).image_maker.front_end
    spelled = {
        **recipe,
        "stft": {**recipe["stft"], "n_fft": 256, "n_window": 256, "hop_length": 80},
    }
    assert not generate_dataset(spelled, progress=False).made


def test_a_hop_follows_the_duration(make_recipe: MakeRecipe) -> None:
    hops = {}
    for duration in (0.5, 1.0, 2.0):
        recipe = make_recipe("simple", "stft.hop_length=auto", f"duration={duration}")
        hops[duration] = Recipe.from_mapping(recipe).image_maker.front_end.hop_length
    assert hops == {0.5: (4000 - 80) // 31, 1.0: (8000 - 80) // 31, 2.0: (16000 - 80) // 31}
    one = make_recipe("simple", "stft.hop_length=auto", "image.width=1")
    assert Recipe.from_mapping(one).image_maker.front_end.num_samples == 80


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["stft.n_window=4 s"], r"^stft.n_window is '4 s'; .* or a time such as 64 ms"),
        (["stft.n_window=auto"], r"^stft.n_window is 'auto'; .* or a time such as 64 ms"),
        (["stft.hop_length=wide"], r"^stft.hop_length is 'wide'; .* or one of auto"),
        (["stft.n_window=999999ms"], r"^duration is 1, too short: .* frame alone hears 7999992"),
        (
            ["duration=0.05"],
            r"^duration is 0.05, too short: 400 samples, where a frame alone hears 512 and",
        ),
    ],
)
def test_lengths_without_sense(make_recipe: MakeRecipe, overrides: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        dataset_name(make_recipe("simple", "front_end=mel_64", *overrides))


def test_wrong_presets(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("simple")
    with pytest.raises(RecipeError, match=r"^front_end is mel_64, but image and stft give all"):
        dataset_name({**recipe, "front_end": "mel_64"})
    for name in ("mel_65", "../front_end/mel_64", 64, ["mel_64"]):
        with pytest.raises(RecipeError, match=r"^front_end is .*; expected one of .*mel_128"):
            dataset_name({**recipe, "front_end": name})
    with pytest.raises(RecipeError, match=r"^stft is 5; expected a mapping"):
        dataset_name({**recipe, "image": {}, "front_end": "mel_64", "stft": 5})


def test_auto_needs_a_duration() -> None:
    preset = front_end_preset("mel_64")
    with pytest.raises(RecipeError, match=r"^stft.hop_length is auto; expected a number of samp"):
        build_front_end(preset["stft"], preset["mel"], sample_rate_hz=8000, height=64, width=64)


def test_every_recipe_takes_a_front_end() -> None:
    for path in sorted(CONFIGS.glob("generate_*.yaml")):
        text = path.read_text(encoding="utf-8")
        assert re.search(r"^  - front_end: (null|mel_64)$", text, re.MULTILINE), path
    for path in sorted((CONFIGS / "data").glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        if "  - /recipe@source.recipe: " in text:
            chosen = r"^  - /front_end@source\.recipe: (null|mel_64)$"
            assert re.search(chosen, text, re.MULTILINE), path
