"""The synthesiser of a Faust program: data sets and resynthesis, by worker processes."""

import hashlib
import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.synth.engines import worker
from src.synth.engines.listing import listed_controls
from src.synth.engines.programs import program_digest
from src.synth.errors import RecipeError
from src.synth.generate import generate_dataset, metadata_json
from src.synth.recipe import Recipe
from src.synth.resynthesis import resynthesise, synthesizer_of
from src.synth.samples import SampleMaker
from src.utils.trust import trusting
from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata
from src.vimh.records import open_dataset
from tests.synth.conftest import MakeRecipe

TARGET = "src.synth.engines.faust.FaustSynth"
EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "faust"
PROGRAM = """
import("stdfaust.lib");
cutoff = hslider("cutoff[unit:Hz][scale:log][jnd:0.03]", 1000, 100, 3000, 1);
wave = nentry("wave[style:menu{'saw':0;'noise':1}]", 0, 0, 1, 1);
freq = hslider("freq", 110, 50, 500, 1);
process = (os.sawtooth(freq), no.noise : select2(wave)) * button("gate") : fi.lowpass(2, cutoff);
"""
MakeFaust = Callable[..., dict[str, Any]]

needs_faust = pytest.mark.skipif(
    importlib.util.find_spec("cyfaust") is None, reason="needs cyfaust"
)


@pytest.fixture
def make_faust(make_recipe: MakeRecipe, tmp_path: Path) -> MakeFaust:
    """A recipe of a program, 8 kHz and 0.25 s."""

    def make(text: str = PROGRAM, size: int = 12, **own: Any) -> dict[str, Any]:
        path = tmp_path / "my.dsp"
        path.write_text(text)
        recipe = make_recipe("faust", f"dataset.size={size}", f"synth.dsp={path}")
        recipe["synth"] |= own
        recipe |= {"sample_rate": 8000, "duration": 0.25}
        recipe["image"] = {"height": 8, "width": 8, "channels": 1}
        return recipe

    return make


def test_without_the_package_the_extra_is_named(
    make_faust: MakeFaust, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        RecipeError, match=r"needs the package cyfaust.*pip install -e '\.\[faust\]'"
    ):
        Recipe.from_mapping(make_faust()).completed()


@needs_faust
def test_the_recipe_is_completed_from_the_program(make_faust: MakeFaust) -> None:
    recipe = make_faust()
    synth = Recipe.from_mapping(recipe).completed().synth
    assert list(synth["parameters"]) == ["cutoff", "wave"]  # freq is the note's, gate plays it
    assert synth["parameters"]["cutoff"]["step"] == 0.03
    assert synth["program"] == PROGRAM
    assert synth["engine"]["version"].startswith("Faust 2.")
    assert [c.name for c in listed_controls(recipe)] == ["cutoff", "freq", "wave"]


@needs_faust
def test_a_program_that_does_not_compile_says_so_in_fausts_words(make_faust: MakeFaust) -> None:
    recipe = make_faust("process = nothing;")
    with pytest.raises(VIMHError, match=r"Faust says: my:1 : ERROR : undefined symbol : nothing"):
        Recipe.from_mapping(recipe).completed()


@needs_faust
@pytest.mark.slow  # several processes start
def test_a_data_set_has_the_same_bytes_in_any_number_of_threads(
    make_faust: MakeFaust, tmp_path: Path
) -> None:
    contents = []
    for threads in (1, 2):
        recipe = make_faust()
        recipe["generate"] |= {"output_dir": str(tmp_path / f"{threads}"), "threads": threads}
        folder = generate_dataset(recipe, progress=False).dataset_dir
        contents.append([(folder / name).read_bytes() for name in ("train", "train_values")])
    assert contents[0] == contents[1]
    assert "faust_my" in folder.name
    values = open_dataset(folder).train.values
    assert set(values[:, 1]) == {0.0, 1.0}


@needs_faust
def test_sounds_are_those_of_a_fresh_process_and_another_order(make_faust: MakeFaust) -> None:
    recipe = Recipe.from_mapping(make_faust(note={"hold_s": 0.2})).completed()
    values = {"cutoff": np.array([200.0, 900.0, 2500.0]), "wave": np.array([0.0, 1.0, 1.0])}
    sounds = recipe.build_synthesizer().render(values)
    backwards = recipe.build_synthesizer().render({k: v[::-1] for k, v in values.items()})
    assert np.array_equal(sounds, backwards[::-1])
    assert np.abs(sounds[:, :1600]).max(axis=1).min() > 0.1
    assert np.abs(sounds[:, -50:]).max() < 0.1  # the gate has closed


@pytest.fixture
def made(make_faust: MakeFaust) -> tuple[Metadata, Path]:
    """Metadata of a set, and its program, which has moved since."""
    recipe = make_faust()
    maker = SampleMaker(Recipe.from_mapping(recipe).completed())
    path = Path(recipe["synth"]["dsp"])
    metadata = Metadata.from_json(json.loads(json.dumps(metadata_json(maker))), "metadata")
    return metadata, path.rename(path.with_name("moved.dsp"))


VALUES = {"cutoff": np.array([500.0]), "wave": np.array([0.0])}


@needs_faust
def test_resynthesis_needs_the_users_own_file_of_the_same_content(
    made: tuple[Metadata, Path],
) -> None:
    metadata, program = made
    with pytest.raises(VIMHError, match=r"extras\.trusted_programs"):
        synthesizer_of(metadata)
    with trusting(programs=[str(program)]):
        assert np.abs(resynthesise(synthesizer_of(metadata), VALUES)).max() > 0.1
    program.write_text(PROGRAM.replace("110", "111"))
    with trusting(programs=[str(program)]), pytest.raises(VIMHError, match="are others"):
        synthesizer_of(metadata)


HOSTILE = (
    {"dsp": "/etc/hostname"},
    {"dsp": str(EXAMPLES / "voice.dsp")},
    {"program": 'process = library("evil.lib").process;'},
    {"program": 'process = ffunction(int system(int), <stdlib.h>, "");'},
    {"engine": {"name": "faust", "version": "1", "sha256": None}},
    {"engine": {"name": "faust", "version": "1", "sha256": "0" * 64}},
)


@needs_faust
def test_nothing_that_a_data_set_names_is_compiled(
    made: tuple[Metadata, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata, _ = made

    def started(*arguments: object) -> None:
        raise AssertionError("an engine was started")

    monkeypatch.setattr(worker, "_Process", started)
    assert metadata.recipe is not None
    for change in HOSTILE:
        synth = {**metadata.recipe["synth"], **change}
        hostile = replace(metadata, recipe={**metadata.recipe, "synth": synth})
        with pytest.raises(VIMHError, match=r"extras\.trusted_programs"):
            synthesizer_of(hostile)
    for missing in ("engine", "dsp"):
        synth = {k: v for k, v in metadata.recipe["synth"].items() if k != missing}
        with pytest.raises(VIMHError, match=r"expected|trusted_programs"):
            synthesizer_of(replace(metadata, recipe={**metadata.recipe, "synth": synth}))


@needs_faust
def test_the_shipped_programs_need_no_trust(made: tuple[Metadata, Path]) -> None:
    metadata, _ = made
    assert metadata.recipe is not None
    assert metadata.recipe["synth"]["dsp"] == "my.dsp"  # no path of this machine
    metadata.recipe["synth"]["engine"] |= {"sha256": program_digest(EXAMPLES / "voice.dsp")}
    assert np.abs(resynthesise(synthesizer_of(metadata), VALUES)).max() > 0.1


def test_what_a_program_imports_from_beside_it_is_part_of_its_content(tmp_path: Path) -> None:
    program, library = tmp_path / "my.dsp", tmp_path / "mine.lib"
    program.write_text("process = 1;")
    alone = program_digest(program)
    assert alone == hashlib.sha256(b"process = 1;").hexdigest()
    library.write_text("half = 0.5;")
    assert program_digest(program) == alone
    program.write_text('import("mine.lib"); import("stdfaust.lib"); process = half;')
    first = program_digest(program)
    assert program_digest(program.rename(tmp_path / "other.dsp")) == first
    library.write_text("half = 0.25;")
    assert program_digest(tmp_path / "other.dsp") != first
