"""Generating at 44.1 kHz, with images of any size: what is made for 8 kHz holds there too."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from src.evaluation.presentation.image_axes import ImageAxes
from src.synth.errors import RecipeError
from src.synth.generate import generate_dataset
from src.synth.images import ImageMaker
from src.synth.recipe import Recipe
from src.synth.resynthesis import resynthesise, synthesizer_of
from src.synth.samples import SampleMaker
from src.vimh.records import check_dataset
from tests.helpers import ENGINES
from tests.synth.conftest import CONFIGS, MakeRecipe

# moog_envelope varies all that moog_basic does, and its loop over time is slow.
GENERATED = {path.stem.removeprefix("generate_") for path in CONFIGS.glob("generate_*.yaml")}
RECIPES = sorted(GENERATED - {"moog_basic", *ENGINES})
RATE_HZ = 44100


def at_44100(make_recipe: MakeRecipe, name: str, *overrides: str) -> dict:
    # A preset does not replace a front end that is a class of its own.
    own = ["stft=pitch_512"] if name == "plate" else []
    words = [*own, "front_end=mel_64", "sample_rate=44100", "dataset.size=2", *overrides]
    return make_recipe(name, *words)


def test_a_preset_does_not_replace_a_class(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("plate", "front_end=mel_64", "dataset.size=2")
    with pytest.raises(RecipeError, match="stft=pitch_512 front_end=mel_64"):
        Recipe.from_mapping(recipe).image_maker  # noqa: B018 - it is built when it is asked for


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.sampled(3)
def test_every_recipe(make_recipe: MakeRecipe, name: str) -> None:
    recipe = at_44100(make_recipe, name, "duration=0.07")
    dataset = check_dataset(generate_dataset(recipe, progress=False).dataset_dir)
    metadata = dataset.metadata
    assert "_44100Hz_0p07s_2dss_" in metadata.dataset_name
    front_end = ImageMaker.from_metadata(metadata).front_end
    assert front_end.num_samples <= 3087 < front_end.num_samples + 63
    assert front_end.row_hz[-1] > 15_000
    assert (np.ptp(dataset.train.images.reshape(1, -1), axis=1) == 255).all()
    # The sound of the values is the sound of the image, where nothing is added to it.
    maker = SampleMaker(Recipe.from_mapping(recipe))
    synthesizer = synthesizer_of(metadata)
    assert synthesizer is not None
    if maker.recipe.noise is None:
        values = maker.values(np.arange(1))
        images, _ = maker.image_maker(resynthesise(synthesizer, values))
        np.testing.assert_array_equal(images, dataset.train.images)


@pytest.mark.parametrize("name", ["simple_3p", "stk"])
def test_a_pitch_is_the_same_at_any_rate(make_recipe: MakeRecipe, name: str) -> None:
    found = []
    for rate in (8000, RATE_HZ):
        changes = (f"sample_rate={rate}", "duration=0.2", "front_end=mel_64")
        maker = SampleMaker(Recipe.from_mapping(make_recipe(name, *changes)))
        values = {n: np.array([p.max]) for n, p in maker.synthesizer.parameters.items()}
        sound = maker.synthesizer.render(values)[0]
        spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 2**18))
        assert maker.synthesizer.parameters["note_number"].max == 57
        low = int(330 / rate * 2**18)  # below the second harmonic of 220 Hz
        found.append(spectrum[:low].argmax() * rate / 2**18)
    np.testing.assert_allclose(found, 220.0, atol=1.0)


def test_many_long_sounds_at_a_time_take_no_gigabytes(make_recipe: MakeRecipe) -> None:
    short = SampleMaker(Recipe.from_mapping(make_recipe("moog_basic")))
    assert short.batch_size == short.synthesizer.batch_size == 2048
    long = SampleMaker(Recipe.from_mapping(at_44100(make_recipe, "moog_basic", "duration=2")))
    assert 100 < long.batch_size * 2 * RATE_HZ <= 2**26
    longest = at_44100(make_recipe, "moog_basic", "duration=300")
    assert SampleMaker(Recipe.from_mapping(longest)).batch_size >= 1


def test_labels_of_a_tall_picture_do_not_touch(make_recipe: MakeRecipe) -> None:
    recipe = at_44100(make_recipe, "simple", "duration=0.2", "image.height=128")
    metadata = check_dataset(generate_dataset(recipe, progress=False).dataset_dir).metadata
    axes = Figure().subplots()
    ImageAxes(metadata).draw(axes, np.zeros((1, 128, 64), np.uint8), 0, time=True, frequency=True)
    texts = [label.get_text() for label in axes.get_yticklabels()]
    assert texts[0] == "100"
    assert texts[-1] == "10k"
    assert np.diff(axes.get_yticks()).min() >= 0.06 * 128
    assert axes.get_images()[0].get_extent()[1] == pytest.approx(0.2, abs=0.065)
