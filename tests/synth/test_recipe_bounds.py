"""Every key of every recipe with every kind of value: a data set's name, or one sentence."""

import json
import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from src.data.sources.generator import GeneratorSource
from src.schema.arguments import check_arguments, signature_of
from src.schema.bounds import FolderPath, Whole
from src.synth.errors import RecipeError
from src.synth.generate import dataset_name, generate_dataset
from src.synth.images import ImageMaker
from src.synth.parameter_sections import ParameterSection
from src.synth.recipe import PartText, Recipe
from src.synth.resynthesis import synthesizer_of
from src.synth.settings import CqtSection, StftSection, front_end_of
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError
from src.vimh.metadata import METADATA_FILE, Metadata
from tests.synth.conftest import MakeRecipe

RECIPES = ("simple", "simple_noisy", "resonator_noise", "stk", "moog_envelope")
VALUES = [
    "abc", "", "a/b", "\0", "\ud800", "1", 7, 0.5, -3, -0.5, 0, 10**6, 2**31, 10**23, 10**400,
    1e12, 1e300, -1e300, 5e-324, math.nan, math.inf, -math.inf, True, False, None,
    [], [1, 2], ["abc"], {}, {"a": 1}, {1: 2},
]  # fmt: skip
SENSELESS = [10**23, 10**400, 1e300, -1e300, math.nan, math.inf, -math.inf, [1, 2], {1: 2}]


def keys_of(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in node.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from keys_of(value, f"{prefix}{name}.")


def changed(recipe: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    result = node = deepcopy(recipe)
    *parents, last = key.split(".")
    for parent in parents:
        node = node[parent]
    node[last] = value
    return result


def complete(recipe: dict[str, Any]) -> dict[str, Any]:
    """With the keys that configs leave out."""
    recipe["noise"] = recipe["noise"] or {"snr_min_db": 20.0, "snr_max_db": 60.0}
    for parameter in recipe["synth"]["parameters"].values():
        parameter.update(scale="linear", kind="continuous", class_names=[])
    return recipe


# Those that take long; tests/test_wrong_overrides.py tries some of their keys in each fast run.
LONG = {RECIPES[0], "moog_envelope"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in RECIPES]
)
@pytest.mark.sampled(3)
def test_any_value_is_meant_or_refused_in_one_sentence_that_names_the_key(
    name: str, make_recipe: MakeRecipe
) -> None:
    recipe = complete(make_recipe(name))
    assert dataset_name(recipe)
    keys = list(keys_of(recipe))
    # The first recipe's keys are tried with all values, of the others what only they have.
    known = set() if name == RECIPES[0] else set(keys_of(complete(make_recipe(RECIPES[0]))))
    for key in (key for key in keys if key not in known):
        for value in VALUES:
            try:
                dataset_name(changed(recipe, key, value))
            except RecipeError as error:
                text = str(error)
            else:
                is_text = key.endswith("description")
                assert is_text or not any(value is wrong for wrong in SENSELESS), (key, value)
                continue
            assert "\n" not in text
            assert len(text) < 500
            first = text.split(" ")[0].rstrip(":")
            assert first.split(".")[0] in recipe, (key, value, text)
            # A value that alone is right may not go with another key's: both are named.
            assert key in text or key.split(".")[-1] in text or first in keys, (key, value, text)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("dataset.size", -3, "dataset.size is -3; expected a whole number of at least 2 and"),
        ("dataset.size", 10**12, "dataset.size is 1000000000000; .* at most 4294967295"),
        ("dataset.name", "", "dataset.name is ''; expected a text of 1 to 64 letters"),
        ("dataset.name", "a/b", "dataset.name is 'a/b'; expected a text of 1 to 64 letters"),
        ("dataset.name", "a" * 65, "dataset.name is 'a+…; expected a text of 1 to 64 letters"),
        ("stft.bins_per_harmonic", -1, "stft.bins_per_harmonic is -1; .* at least 0"),
        ("stft.floor_db", -1e4, "stft.floor_db is -10000.0; .* at least -750"),
        ("stft.floor_db_rel", 0, "stft.floor_db_rel is 0; .* less than 0 or null"),
        ("stft.n_fft", 2**24, "stft.n_fft is 16777216; expected at most 8388608 .*image.width"),
        ("mel.freq_min", -1, "mel.freq_min is -1; expected a number of at least 0"),
        ("mel.freq_max_ratio", 0, "mel.freq_max_ratio is 0; expected a number of more than 0"),
        ("noise", {"snr_min_db": 0, "snr_max_db": 1e6}, "noise.snr_max_db is 1000000.0; .*750"),
        ("sample_rate", 7, r"duration is 1, too short at a sample_rate of 7: a signal of 7 .* 32"),
        ("duration", 1e5, "duration is 100000; expected at most 2097.15 with a sample_rate of"),
        ("image.channels", 65535, "image.channels is 65535; an image of 32x32x196605 is too"),
        ("seed", 10**23, "seed is 10+; whole numbers have at most 64 bits"),
        ("generate.output_dir", "", "generate.output_dir is ''; expected the path of a folder"),
        ("generate.output_dir", "a\0", "generate.output_dir is .*; expected the path of a folder"),
        ("generate.threads", 10**6, "generate.threads is 1000000; .* at most 1024 or null"),
        ("generate.chunk_size", 10**9, "generate.chunk_size is .* at most 1000000"),
        ("generate.wav", 16385, "generate.wav is 16385; .* 16384 samples"),
        ("generate.part", "1/99999", "generate.part is 1/99999; the data set has 16384 samples"),
        ("synth.parameters.note_number.step", 1e300, "{key} is 1e.300; expected a number of at"),
        ("synth.parameters.note_number.min", 44, r"{key} is 44.0; min must not exceed 'max'"),
        ("synth.parameters.note_velocity.step", -1, "{key} is -1; expected a number of at least 0"),
        ("synth.parameters.note_velocity.unit", "\n", r"{key} is '\\n'; expected a text of"),
        ("synth.parameters.note_velocity.kind", "abc", "{key} is 'abc'; expected one of cont"),
        ("synth.parameters.note_velocity.class_names", ["a"], "{key} is .'a'.*; .* needs kind"),
        ("synth.parameters.note_velocity", 5, "{key} is 5; expected a mapping"),
        ("synth.parameters", None, "{key} is null; expected a mapping"),
        ("synth.sample_rate_hz", 8000, "{key} is not read; sample_rate and duration say it"),
        ("synth.parameters.1", {}, "{key} is unknown"),
        ("synth._target_", "os.path.join", "{key} is 'os.path.join', which is no class"),
    ],
)  # fmt: skip
def test_what_was_accepted_once_is_refused_by_the_whole_key(
    key: str, value: Any, message: str, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    envelopes = ("temporal_envelope=true", "spectral_envelope=true")
    recipe = changed(make_recipe("simple", *envelopes), key, value)
    message = message.replace("{key}", key)
    with pytest.raises(RecipeError, match=f"^{message}"):
        dataset_name(recipe)
    if key != "generate.part":  # which no source makes
        with pytest.raises(RecipeError, match=rf"^data\.source\.recipe\.{message}"):
            GeneratorSource(recipe, tmp_path)


def test_a_source_makes_no_part(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    message = r"^data\.source\.recipe\.generate\.part is '1/2'; expected null"
    with pytest.raises(RecipeError, match=message):
        GeneratorSource(changed(make_recipe(), "generate.part", "1/2"), tmp_path)


def test_a_grid_that_never_ends_is_refused(make_recipe: MakeRecipe) -> None:
    with pytest.raises(RecipeError, match=r"^avix is True; the grid has \d+ samples, too many"):
        dataset_name(make_recipe("moog_envelope", "avix=true"))


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("resonator", "synth.parameters.log10_frequency", {"min": 400, "max": 400}),
        ("stk", "synth.parameters.note_number", {"min": 1e12, "max": 1e12}),
        ("stk", "synth.contact_s", 3600),
    ],
)
def test_a_power_that_overflows_is_one_sentence(
    name: str, key: str, value: Any, make_recipe: MakeRecipe
) -> None:
    with pytest.raises(RecipeError, match=f"^{key}"):
        dataset_name(changed(make_recipe(name), key, value))


def test_a_burst_is_no_longer_than_the_sound(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("resonator_noise", "dataset.size=4", "synth.burst_s=3600")
    assert Recipe.from_mapping(recipe).build_synthesizer()._burst.shape == (8000,)  # type: ignore[attr-defined]


@pytest.mark.parametrize("height", [4000, 60_000])
def test_mel_filters_take_no_memory_for_what_is_claimed(
    make_recipe: MakeRecipe, height: int
) -> None:
    recipe = make_recipe("simple", "stft.type=mel", "stft.n_fft=1048576", f"image.height={height}")
    with pytest.raises(RecipeError, match=f"^image.height is {height}; expected at most 31 .*mel"):
        dataset_name(recipe)


def test_a_filter_without_a_width_is_refused(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("simple", "stft.type=mel", "stft.n_fft=512", "image.height=4")
    recipe["mel"]["freq_min"] = math.nextafter(3600.0, 0.0)
    with pytest.raises(RecipeError, match="holds none of the"):
        dataset_name(recipe)


def test_equal_settings_are_equal_recipes(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("simple_noisy")
    other = deepcopy(recipe)
    for key in ("stft.n_fft", "seed", "dataset.size", "image.height", "sample_rate"):
        other = changed(other, key, float(_at(recipe, key)))
    for key in ("duration", "stft.floor_db", "noise.snr_min_db"):
        other = changed(other, key, int(_at(recipe, key)))
    first, second = Recipe.from_mapping(recipe), Recipe.from_mapping(other)
    assert first == second
    assert first.digest() == second.digest()
    assert repr(first.to_json()) == repr(second.to_json())


def _at(node: Any, key: str) -> Any:
    for part in key.split("."):
        node = node[part]
    return node


def test_every_number_and_text_of_a_recipe_has_bounds() -> None:
    waiting, seen = [Recipe, ParameterSection, StftSection, CqtSection], []
    while waiting:
        section = waiting.pop()
        hints = {name: a.hint for name, a in signature_of(section).arguments.items()}
        for field in fields(section):
            nested = [h for h in (hints[field.name], *_options(hints[field.name])) if _is_class(h)]
            waiting += nested
            is_bare = {int, float, str} & {hints[field.name], *_options(hints[field.name])}
            assert not is_bare or field.name in ("description", "scale"), (section, field.name)
        seen.append(section)
    assert len(seen) == 9


def _options(hint: Any) -> tuple[Any, ...]:
    return getattr(hint, "__args__", ()) if type(None) in getattr(hint, "__args__", ()) else ()


def _is_class(hint: Any) -> bool:
    return isinstance(hint, type) and is_dataclass(hint)


def metadata_of(make_recipe: MakeRecipe, tmp_path: Path) -> dict[str, Any]:
    report = generate_dataset(make_recipe("simple", "dataset.size=4"), progress=False)
    return dict(Metadata.load(report.dataset_dir).raw)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dataset.size", -3), ("image.height", 10**9), ("stft.n_fft", "many"), ("duration", 1e9),
        ("synth.parameters.note_velocity.step", 1e300), ("synth.parameters.note_velocity", None),
        ("stft.unknown", 1), ("dataset", []), ("synth.parameters.note_velocity.max", 3),
    ],
)  # fmt: skip
def test_a_recipe_out_of_a_file_names_the_file_and_the_key(
    key: str, value: Any, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    raw = metadata_of(make_recipe, tmp_path)
    raw["recipe"] = changed(raw["recipe"], key, value)
    with pytest.raises(VIMHError) as caught:
        synthesizer_of(Metadata.from_json(raw))
    name = raw["dataset_name"]
    assert str(caught.value).startswith(f"data set {name}: recipe.{key.split('.', maxsplit=1)[0]}")
    assert key.split(".")[-1] in str(caught.value)


def test_a_set_with_a_senseless_recipe_is_named(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("simple", "dataset.size=4")
    directory = generate_dataset(recipe, progress=False).dataset_dir
    info = directory / METADATA_FILE
    raw = json.loads(info.read_text())
    raw = {**changed(raw, "recipe.dataset.size", -4), "recipe_hash": "another"}
    info.write_text(json.dumps(raw))
    with pytest.raises(VIMHError) as caught:
        generate_dataset(recipe, progress=False)
    assert str(caught.value).startswith(f"{directory}: recipe.dataset.size is -4; expected")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("spectrogram_config.n_fft", 80.5, "spectrogram_config.n_fft is 80.5; expected a whole"),
        ("spectrogram_config.type", "cq", "spectrogram_config.type is 'cq'; expected one of"),
        ("mel_config.freq_max_ratio", 9, "mel_config.freq_max_ratio is 9; expected"),
        ("pre_emphasis_coefficient", 2, "pre_emphasis_coefficient is 2; expected"),
    ],
)
def test_a_spectrogram_out_of_a_file_names_the_file_and_the_key(
    key: str, value: Any, message: str, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    raw = changed(metadata_of(make_recipe, tmp_path), key, value)
    metadata = Metadata.from_json(raw)
    for make in (front_end_of, ImageMaker.from_metadata):
        with pytest.raises(VIMHError) as caught:
            make(metadata)
        assert str(caught.value).startswith(f"data set {raw['dataset_name']}: {message}")


def test_a_key_that_is_no_text_is_unknown() -> None:
    class Thing:
        def __init__(self, units: int) -> None: ...

    with pytest.raises(ConfigError, match=r"thing\.1 is unknown \(there are units\)"):
        check_arguments(Thing, {1: 2}, "thing")


def test_the_types_say_what_they_admit() -> None:
    from src.schema.arguments import check_value, describe

    assert check_value(Whole, 3.0, "k") == 3
    assert type(check_value(Whole, 3.0, "k")) is int
    assert describe(FolderPath) == "the path of a folder"
    assert describe(PartText | None).endswith("or null")
    for wrong in (3.5, True, "3", math.inf):
        with pytest.raises(ConfigError, match=r"^k is .*; expected a whole number"):
            check_value(Whole, wrong, "k")
