import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.synth.engines.listing import listed_controls
from src.synth.engines.programs import program_digest
from src.synth.errors import LostSounds, RecipeError
from src.synth.generate import generate_dataset, metadata_json
from src.synth.parts import generate
from src.synth.recipe import Recipe
from src.synth.resynthesis import resynthesise, synthesizer_of
from src.synth.samples import SampleMaker
from src.utils.trust import trusting
from src.vimh.errors import VIMHError
from src.vimh.metadata import METADATA_FILE, Metadata
from src.vimh.records import open_dataset
from tests.synth.conftest import MakeRecipe

TARGET = "tests.synth.engines.mock.MockSynth"
MakeMock = Callable[..., dict[str, Any]]


@pytest.fixture
def make_mock(make_recipe: MakeRecipe) -> MakeMock:
    """A recipe whose synthesiser is the mock engine's."""

    def make(parameters: Mapping[str, object] | None = None, size: int = 20, **own: Any):
        recipe = make_recipe("simple", f"dataset.size={size}", "dataset.name=mock")
        recipe["synth"] = {"_target_": TARGET, "parameters": dict(parameters or {}), **own}
        recipe["image"] = {"height": 8, "width": 8, "channels": 1}
        recipe["generate"]["threads"] = 2
        return recipe

    return make


def completed(recipe: dict[str, Any]) -> dict[str, Any]:
    return Recipe.from_mapping(recipe).completed().synth


def test_all_controls_vary_but_those_of_the_note(make_mock: MakeMock) -> None:
    synth = completed(make_mock())
    assert list(synth["parameters"]) == ["pitch", "level", "wave"]
    assert synth["parameters"]["pitch"] | {"description": ""} == {
        "min": 100.0, "max": 1000.0, "unit": "Hz", "description": "", "spacing": "log",
        "step": None,
    }  # fmt: skip
    assert synth["parameters"]["wave"]["class_names"] == ["sine", "square"]
    assert synth["engine"] == {"name": "mock", "version": "1.2", "sha256": None}


def test_a_user_names_some_and_fixes_others(make_mock: MakeMock) -> None:
    own = {"pitch": {"max": 500, "spacing": "linear", "step": 100}, "velocity": {}}
    recipe = make_mock(own, fixed={"wave": "square", "level": 0.25})
    synth = completed(recipe)
    given = {name: (p["min"], p["max"]) for name, p in synth["parameters"].items()}
    assert given == {
        "pitch": (100.0, 500), "velocity": (1.0, 127.0), "wave": (1.0, 1.0), "level": (0.25, 0.25),
    }  # fmt: skip
    assert completed({**recipe, "synth": synth}) == synth
    synthesizer = Recipe.from_mapping({**recipe, "synth": synth}).synthesizer
    assert synthesizer.parameters.heads.names == ("pitch", "velocity")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parameters": {"pich": {}}}, r"synth\.parameters\.pich is no control.*mean pitch\?"),
        ({"fixed": {"wave": "saw"}}, r"synth\.fixed\.wave is 'saw'; expected one of sine, square"),
        ({"fixed": {"level": 2.0}}, r"synth\.fixed\.level is 2; expected 0 to 1"),
        ({"parameters": {"pitch": {"min": 1}}}, r"pitch\.min is 1; expected 100 to 1000 Hz"),
        ({"parameters": {"pitch": 3}}, r"pitch is 3; expected a mapping, such as \{\}"),
        ({"plugin": "none.vst3"}, r"none\.vst3: there is no such file"),
        ({"troubel": "x"}, r"synth\.troubel is unknown; did you mean trouble\?"),
        ({"trouble": "refuses"}, r"did not start: this engine cannot be used"),
    ],
)
def test_a_mistake_is_one_sentence(make_mock: MakeMock, change: dict, message: str) -> None:
    recipe = make_mock()
    recipe["synth"] |= change
    with pytest.raises(VIMHError, match=message):
        completed(recipe)


def test_a_missing_package_is_said(make_mock: MakeMock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.synth.engines.mock.MockSynth.packages", ("no_such_package",))
    message = r"synth=mock needs the package no_such_package.*pip install -e '\.\[mock\]'"
    with pytest.raises(RecipeError, match=message):
        completed(make_mock())


def test_the_listed_controls_are_all_of_the_engine(make_mock: MakeMock) -> None:
    listed = listed_controls(make_mock({"pitch": {}}))
    assert [control.name for control in listed] == ["pitch", "level", "wave", "velocity"]
    own = listed_controls(make_mock() | {"synth": make_simple()})
    assert [control.name for control in own] == ["note_number", "note_velocity", "log10_decay_time"]


def make_simple() -> dict[str, object]:
    ranges = {"note_number": (57, 57), "note_velocity": (10, 126), "log10_decay_time": (-2, 0)}
    parameters = {name: {"min": low, "max": high} for name, (low, high) in ranges.items()}
    return {"_target_": "src.synth.synthesizers.SimpleSawSynth", "parameters": parameters}


def test_lost_samples_cost_themselves_and_are_named(make_mock: MakeMock) -> None:
    own = {"pitch": {"min": 103.6, "max": 110.0, "spacing": "linear"}}
    recipe = make_mock(own, size=24, trouble="faults")
    report = generate_dataset(recipe, progress=False)
    opened = open_dataset(report.dataset_dir)
    values = np.concatenate([opened.train.values, opened.test.values])[:, 0]
    assert len(values) == 24
    assert report.lost.count > 1
    assert f"{report.lost.count} sounds were not made" in str(report)
    assert "pitch=10" in str(report)
    assert not np.isin(np.round(values), [104.0, 105.0]).any()
    entry = json.loads((report.dataset_dir / METADATA_FILE).read_text())["lost_samples"]
    assert entry["count"] == report.lost.count
    reasons = " ".join(sample["reason"] for sample in entry["samples"])
    assert "shape" in reasons
    assert "KeyError" in reasons


@pytest.mark.slow  # several processes start
def test_what_is_lost_is_the_same_in_any_number_of_threads_and_in_parts(
    make_mock: MakeMock, tmp_path: Path
) -> None:
    own = {"pitch": {"min": 105.0, "max": 107.0, "spacing": "linear"}}
    recipe = make_mock(own, size=12, trouble="faults")
    contents = []
    for name, change in {
        "one": {"threads": 1, "chunk_size": 5},
        "two": {"threads": 2, "chunk_size": 3},
    }.items():
        recipe["generate"] |= {**change, "output_dir": str(tmp_path / name)}
        folder = generate_dataset(recipe, progress=False).dataset_dir
        contents.append(
            [(folder / f).read_bytes() for f in ("train_values", "test", METADATA_FILE)]
        )
    recipe["generate"] |= {"output_dir": str(tmp_path / "parts")}
    for part in ("1/2", "2/2", "join"):
        recipe["generate"]["part"] = part
        report = generate(recipe, progress=False)
    folder = report.dataset_dir
    contents.append([(folder / f).read_bytes() for f in ("train_values", "test", METADATA_FILE)])
    assert report.lost.count > 0
    assert contents[0] == contents[1] == contents[2]


def test_a_complete_grid_with_a_hole_is_refused(make_mock: MakeMock) -> None:
    own = {"pitch": {"min": 105, "max": 108, "step": 1, "spacing": "linear"}}
    recipe = make_mock(own, trouble="faults", fixed={"level": 0.5}) | {"avix": True}
    with pytest.raises(VIMHError, match=r"pitch=105.* was not made.*shape.*each combination"):
        generate_dataset(recipe, progress=False)


@pytest.mark.slow  # several processes start
def test_an_engine_that_carries_over_gets_a_fresh_one(make_mock: MakeMock) -> None:
    recipe = make_mock({"pitch": {}}, size=4, trouble="carries")
    folder = generate_dataset(recipe, progress=False).dataset_dir
    audit = Metadata.load(folder).recipe["synth"]["audit"]
    assert audit == {"settings": 8, "fresh": True, "variation_db": None, "spectrum_db": None}


@pytest.mark.slow  # several processes start
def test_variation_is_refused_or_measured(make_mock: MakeMock) -> None:
    recipe = make_mock({"pitch": {}}, size=4, trouble="varies")
    with pytest.raises(RecipeError, match=r"differ, by -?\d+\.\d dB.*allow_variation=true"):
        generate_dataset(recipe, progress=False)
    recipe["synth"]["allow_variation"] = True
    folder = generate_dataset(recipe, progress=False).dataset_dir
    audit = Metadata.load(folder).recipe["synth"]["audit"]
    assert not audit["fresh"]
    assert -10 < audit["variation_db"] < 10
    assert 0 < audit["spectrum_db"] < 80


@pytest.fixture
def made(make_mock: MakeMock, tmp_path: Path) -> tuple[Metadata, Path]:
    """Metadata of a set that a plug-in made, and the plug-in."""
    plugin = tmp_path / "my.plugin"
    plugin.write_bytes(b"a plug-in")
    recipe = make_mock({"pitch": {}}, size=4, plugin=str(plugin))
    maker = SampleMaker(Recipe.from_mapping(recipe).completed())
    described = json.loads(json.dumps(metadata_json(maker)))
    return Metadata.from_json(described, "metadata"), plugin


VALUES = {"pitch": np.array([200.0, 300.0])}


def test_a_set_is_read_without_the_engine_and_rendered_with_the_users_own_file(
    made: tuple[Metadata, Path], tmp_path: Path
) -> None:
    metadata, plugin = made
    with trusting(["tests.synth"], programs=[str(plugin)]):
        sounds = resynthesise(synthesizer_of(metadata), VALUES)
    other = tmp_path / "elsewhere"
    plugin.rename(other)
    with trusting(["tests.synth"], programs=[str(other)]):
        assert np.array_equal(resynthesise(synthesizer_of(metadata), VALUES), sounds)


@pytest.mark.parametrize("trusted", [[], ["another"]])
def test_what_a_file_names_is_not_loaded(
    made: tuple[Metadata, Path], tmp_path: Path, trusted: list[str]
) -> None:
    metadata, plugin = made
    paths = [tmp_path / name for name in trusted]
    for path in paths:
        path.write_bytes(b"another plug-in")
    with trusting(["tests.synth"], programs=list(map(str, paths))):
        message = rf"my\.plugin.*{program_digest(plugin)}.*neither run nor loaded.*trusted_programs"
        with pytest.raises(VIMHError, match=message):
            synthesizer_of(metadata)
        del metadata.recipe["synth"]["engine"]
        with pytest.raises(VIMHError, match=r"synth\.engine is null; expected a mapping"):
            synthesizer_of(metadata)


def test_a_lost_sound_is_silent_in_no_list(make_mock: MakeMock) -> None:
    recipe = Recipe.from_mapping(make_mock({"pitch": {}}, trouble="faults")).completed()
    synthesizer = recipe.build_synthesizer()
    values = {"pitch": np.array([200.0, 103.0])}
    with pytest.raises(LostSounds, match=r"1 of 2 sounds .* pitch=103: the engine gave a NaN"):
        synthesizer.render(values)
    sounds = resynthesise(synthesizer, values)
    assert np.isfinite(sounds[0]).all()
    assert np.isnan(sounds[1]).all()
