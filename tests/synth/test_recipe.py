from typing import Any

import pytest
from omegaconf import OmegaConf

from src.synth.errors import RecipeError
from src.synth.generate import dataset_name
from src.synth.recipe import Recipe
from src.vimh.errors import VIMHError
from tests.synth.conftest import MakeRecipe

BOTH = ("temporal_envelope=true", "spectral_envelope=true")


@pytest.mark.parametrize(
    ("name", "overrides", "expected"),
    [
        (
            "simple",
            ("avix=true", "shuffle=true", *BOTH, "normalize=true"),
            "avix-vimh-32x32x3_8000Hz_1p0s_72dss_simple_2p_normalized_shuffled",
        ),
        ("simple", ("avix=true",), "avix-vimh-32x32x1_8000Hz_1p0s_72dss_simple_2p"),
        ("simple", ("dataset.size=256",), "vimh-32x32x1_8000Hz_1p0s_256dss_simple_2p"),
        ("simple", BOTH, "vimh-32x32x3_8000Hz_1p0s_16384dss_simple_2p_envelopes"),
        (
            "simple",
            (BOTH[0], "normalize=true", "generate.scale=dataset"),
            "vimh-32x32x2_8000Hz_1p0s_16384dss_simple_2p_normalized_temporal_dscale",
        ),
        (
            "simple",
            (*BOTH, "image.channels=3", "duration=0.5"),
            "vimh-32x32x9_8000Hz_0p5s_16384dss_simple_2p_envelopes",
        ),
        ("simple_wide", (), "vimh-32x32x1_8000Hz_1p0s_16384dss_simple_wide_2p"),
        ("simple_3p", (), "vimh-64x64x1_8000Hz_1p0s_32768dss_simple_3p_3p"),
        ("simple_noisy", (), "vimh-64x64x1_8000Hz_1p0s_32768dss_simple_noisy_3p"),
        (
            "simple",
            ("stft=whole_note_256", "image.height=64", "image.width=64", "dataset.name=null"),
            "vimh-64x64x1_8000Hz_1p0s_16384dss_simple_2p",
        ),
    ],
)
def test_names(
    make_recipe: MakeRecipe, name: str, overrides: tuple[str, ...], expected: str
) -> None:
    assert dataset_name(make_recipe(name, *overrides)) == expected


@pytest.mark.parametrize(
    ("name", "stft", "window"),
    [
        ("pitch_sync_80", (80, 80, 80), "rectangular"),
        ("filter_analysis_128", (128, 64, 32), "hann"),
        ("high_res_256", (256, 128, 32), "hann"),
        ("pitch_512", (512, 512, 64), "hann"),
        ("whole_note_256", (256, 256, 120), "hann"),
    ],
)
def test_presets(
    make_recipe: MakeRecipe, name: str, stft: tuple[int, int, int], window: str
) -> None:
    config = make_recipe("simple", f"stft={name}")["stft"]
    assert (config["n_fft"], config["n_window"], config["hop_length"]) == stft
    assert config["window_type"] == window
    assert config["floor_db"] == -200.0


def test_recipes_are_those_of_the_specification(make_recipe: MakeRecipe) -> None:
    def ranges(name: str) -> dict[str, tuple[float, float, float]]:
        parameters = make_recipe(name)["synth"]["parameters"]
        return {n: (p["min"], p["max"], p["step"]) for n, p in parameters.items()}

    decay = (-2.0, 0.3, 0.1)
    assert ranges("simple")["note_velocity"] == (126, 127, 0.5)
    assert ranges("simple")["note_number"][:2] == (43.35, 43.35)
    assert ranges("simple_wide")["note_velocity"] == (10, 126, 2)
    assert ranges("simple_3p")["note_number"] == (33, 57, 0.25)
    assert ranges("simple_noisy") == ranges("simple_3p")
    noisy = make_recipe("simple_noisy")
    assert noisy["noise"] == {"snr_min_db": 20.0, "snr_max_db": 60.0}
    assert noisy["stft"]["floor_db_rel"] == -80.0
    for name in ("simple", "simple_wide", "simple_3p", "simple_noisy"):
        assert ranges(name)["log10_decay_time"] == decay


DIGESTS = {
    "simple": "fb2160f3322a",
    "simple_wide": "85c2f2f411a9",
    "simple_3p": "021eed077970",
    "simple_noisy": "8a1810176319",
    "resonator": "78f051e4393f",
    "resonator_noise": "b35296771c41",
    "stk": "7921ffa06035",
    "moog_basic": "76454dcfdd47",
    "moog_envelope": "6f02e6d943ac",
}


def test_recipes_keep_their_digests(make_recipe: MakeRecipe) -> None:
    """A set that is there is found again: its recipe is the same as long as its digest is."""
    found = {name: Recipe.from_mapping(make_recipe(name)).digest()[:12] for name in DIGESTS}
    assert found == DIGESTS


def test_the_spacing_is_part_of_what_decides_the_samples(make_recipe: MakeRecipe) -> None:
    log = make_recipe("resonator_hz", "synth.parameters.q.step=1.0")
    linear = make_recipe(
        "resonator_hz", "synth.parameters.q.step=1.0", "synth.parameters.q.spacing=linear"
    )
    assert Recipe.from_mapping(log).digest() != Recipe.from_mapping(linear).digest()
    parameters = Recipe.from_mapping(log).identity()["parameters"]
    assert parameters[1] == ["q", 1.0, 100.0, 1.0, "continuous", [], "log"]
    assert parameters[2] == ["note_velocity", 127.0, 127.0, 2.0, "continuous", []]
    kind = "+synth.parameters.q.step_kind=tolerance"
    called = make_recipe("resonator_hz", "synth.parameters.q.step=1.0", kind)
    assert Recipe.from_mapping(called).digest() == Recipe.from_mapping(log).digest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sed": 1}, r"^sed is unknown; did you mean seed\? \(there are sample_rate"),
        ({"dataset": {"sise": 3}}, r"^dataset.sise is unknown; .* \(there are name, size\)"),
        ({"stft": {"hop": 3}}, r"^stft.hop is unknown.* \(there are type"),
        ({"stft": None}, "^stft is null; expected a mapping"),
        ({"image": 3}, "^image is 3; expected a mapping"),
        ({"stft": {"n_fft": "many"}}, "^stft.n_fft is 'many'; expected a whole number of"),
        ({"seed": 1.5}, "^seed is 1.5; expected a whole number of at least 0"),
        ({"seed": -1}, "^seed is -1; expected a whole number of at least 0"),
        ({"avix": 1}, "^avix is 1; expected true or false"),
        ({"duration": float("nan")}, "^duration is nan; expected a number of at least 0.001"),
        ({"duration": 0.0}, "^duration is 0.0; expected a number of at least 0.001"),
        (
            {"output_format": "hdf5"},
            "^output_format is 'hdf5'; expected one of binary, pickle, both",
        ),
        (
            {"generate": {"scale": "batch"}},
            "^generate.scale is 'batch'; expected one of sample, dataset",
        ),
        (
            {"generate": {"chunk_size": 0}},
            "^generate.chunk_size is 0; expected a whole number of at least 1",
        ),
        (
            {"generate": {"threads": 0}},
            "^generate.threads is 0; expected a whole number of at least 1",
        ),
        (
            {"avix": True, "dataset": {"size": -3}},
            "^dataset.size is -3; expected a whole number of at least 2",
        ),
        (
            {"dataset": {"name": "", "size": 8}},
            "^dataset.name is ''; expected a text of .* or null",
        ),
        ({"generate": {"wav": -1}}, "^generate.wav is -1; expected a whole number of at least 0"),
        ({"generate": {"part": "0/2"}}, "^generate.part is '0/2'; expected a part such as 3/16"),
        ({"generate": {"part": "3/2"}}, "^generate.part is '3/2'; .* join or null"),
        ({"generate": {"part": "all"}}, "^generate.part is 'all'; .* join or null"),
        ({"dataset": {"size": 1}}, "^dataset.size is 1; expected a whole number of at least 2"),
        (
            {"dataset": {"size": None}},
            "^dataset.size is null; expected a whole number of at least 2",
        ),
        ({"normalize": True}, "set temporal_envelope=true or spectral_envelope=true"),
        (
            {"noise": {"snr_min_db": 60, "snr_max_db": 20}},
            "^noise.snr_min_db is 60; expected at most noise.snr_max_db, 20",
        ),
        ({"noise": {"snr_min_db": 60}}, "^noise.snr_max_db is missing; expected a number"),
    ],
)
def test_a_wrong_recipe_is_one_clear_error(
    make_recipe: MakeRecipe, change: dict[str, Any], message: str
) -> None:
    recipe = make_recipe()
    for key, value in change.items():
        merge = isinstance(value, dict) and isinstance(recipe.get(key), dict)
        recipe[key] = {**recipe[key], **value} if merge else value
    with pytest.raises(VIMHError, match=message):
        dataset_name(recipe)


def test_missing_keys(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe()
    del recipe["synth"]
    with pytest.raises(RecipeError, match=r"^synth is missing; expected a mapping"):
        dataset_name(recipe)


def test_recipe_from_omegaconf_and_back_from_json(make_recipe: MakeRecipe) -> None:
    plain = make_recipe("simple_noisy")
    recipe = Recipe.from_mapping(OmegaConf.create(plain))
    assert recipe == Recipe.from_mapping(plain)
    again = Recipe.from_mapping(recipe.to_json())
    assert again.digest() == recipe.digest()
    assert again.to_json() == recipe.to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"generate": {"chunk_size": 7, "wav": 3, "threads": 1, "output_dir": "elsewhere"}},
        {"overwrite": True},
        {"output_format": "both"},
        {"mel": {"freq_min": 50.0}},  # not read where the type is stft
    ],
)
def test_what_changes_no_sample_does_not_change_the_digest(
    make_recipe: MakeRecipe, change: dict[str, Any]
) -> None:
    recipe = make_recipe()
    digest = Recipe.from_mapping(recipe).digest()
    assert Recipe.from_mapping({**recipe, **change}).digest() == digest


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "shuffle=true",
        "temporal_envelope=true",
        "sample_rate=8001",
        "pre_emphasis_coefficient=0.5",
        "dataset.size=100",
        "generate.scale=dataset",
        "stft.window_type=hann",
        "stft.floor_db_rel=-80",
        "synth.parameters.note_velocity.max=128",
        "noise={snr_min_db: 20, snr_max_db: 60}",
    ],
)
def test_what_changes_samples_changes_the_digest(make_recipe: MakeRecipe, override: str) -> None:
    other = Recipe.from_mapping(make_recipe("simple", override))
    assert other.digest() != Recipe.from_mapping(make_recipe()).digest()
