"""Data sets that several runs make in parts: the bytes of one run, and what joins must refuse."""

import json
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import display_vimh
import generate_vimh
from src.synth import parts
from src.synth.generate import GenerationReport, generate_dataset
from src.synth.parts import PartReport, generate, parts_directory
from src.synth.recipe import Recipe
from src.synth.samples import SampleMaker
from src.vimh.errors import VIMHError
from tests.synth.conftest import MakeRecipe
from tests.synth.test_generate import ENVELOPES, changed, digests

ROOT = Path(__file__).resolve().parents[2]


def make(recipe: Mapping[str, Any], part: str) -> GenerationReport | PartReport:
    return generate(changed(dict(recipe), part=part), progress=False)


def join(recipe: Mapping[str, Any]) -> GenerationReport:
    report = make(recipe, "join")
    assert isinstance(report, GenerationReport)
    return report


def make_all(recipe: Mapping[str, Any], count: int) -> Path:
    """All parts, the last first; the directory that they are in."""
    for number in range(count, 0, -1):
        make(recipe, f"{number}/{count}")
    return parts_directory(Recipe.from_mapping(recipe).directory("."))


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("count", [1, 3, 7])
@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("simple", ("dataset.size=331", "shuffle=true", "output_format=both")),
        ("simple", ("avix=true", "shuffle=true", "output_format=pickle", *ENVELOPES)),
        ("simple", ("avix=true", "generate.bytes_only=true")),
        ("simple_noisy", ("dataset.size=60", "generate.scale=dataset")),
    ],
)
@pytest.mark.sampled(3)
def test_bytes_are_those_of_one_run(
    make_recipe: MakeRecipe, tmp_path: Path, name: str, overrides: tuple[str, ...], count: int
) -> None:
    recipe = changed(make_recipe(name, *overrides), chunk_size=50)
    whole = {**recipe, "generate": {**recipe["generate"], "output_dir": str(tmp_path / "whole")}}
    expected = digests(generate_dataset(whole, progress=False).dataset_dir)
    folder = make_all(recipe, count)
    assert len(list(folder.iterdir())) == count
    report = join(recipe)
    assert report.made
    assert digests(report.dataset_dir) == expected
    assert not folder.exists()


def test_parts_do_not_look_like_a_data_set(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe("simple", "dataset.size=20")
    report = make(recipe, "2/11")
    assert str(report).splitlines() == [
        "wrote part 2 of 11: 2 samples",
        str(report).splitlines()[1],
        f"in {parts_directory(Recipe.from_mapping(recipe).directory('.')) / '02-of-11'}",
        "when all 11 are there: the same command, generate.part=join",
    ]
    assert not Recipe.from_mapping(recipe).directory(".").exists()
    with pytest.raises(VIMHError):
        display_vimh.find_dataset(None, tmp_path)


def test_a_part_that_is_there_is_left_alone(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe("simple", "dataset.size=20")
    folder = make_all(recipe, 2)
    before = digests(folder)
    monkeypatch.setattr(SampleMaker, "values", None)  # nothing is made
    report = make(recipe, "1/2")
    assert not report.made
    assert "left alone, part 1 of 2" in str(report)
    join(recipe)
    monkeypatch.undo()
    assert before != digests(Recipe.from_mapping(recipe).directory("."))
    report = make(recipe, "1/2")  # a job that starts late
    assert isinstance(report, GenerationReport)
    assert not report.made
    assert not folder.exists()


def test_a_second_join_changes_nothing(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("simple", "dataset.size=20")
    make_all(recipe, 3)
    directory = join(recipe).dataset_dir
    before = {path: path.stat().st_mtime_ns for path in directory.iterdir()}
    report = join(recipe)
    assert not report.made
    assert "left alone" in str(report)
    assert {path: path.stat().st_mtime_ns for path in directory.iterdir()} == before


def test_a_join_killed_while_it_removes_the_parts(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe("simple", "dataset.size=20")
    folder = make_all(recipe, 3)

    unlink = Path.unlink

    def killed(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok)
        if path.name == "records":
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        join(recipe)
    monkeypatch.undo()
    assert files(folder) > {"1-of-3/part.json"}
    assert not join(recipe).made
    assert not folder.exists()


def truncate(folder: Path) -> None:
    records = folder / "2-of-3" / "records"
    records.write_bytes(records.read_bytes()[:-1])


def flip_a_bit(folder: Path) -> None:
    records = folder / "2-of-3" / "records"
    content = bytearray(records.read_bytes())
    content[-1] ^= 1
    records.write_bytes(content)


def lose_one(folder: Path) -> None:
    (folder / "2-of-3").rename(folder.with_name("elsewhere"))


def lose_the_records(folder: Path) -> None:
    (folder / "2-of-3" / "records").unlink()


def cut_the_json(folder: Path) -> None:
    info = folder / "2-of-3" / "part.json"
    info.write_text(info.read_text()[:50])


def change_the_range(folder: Path) -> None:
    info = folder / "2-of-3" / "part.json"
    info.write_text(json.dumps({**json.loads(info.read_text()), "high_db": 3.0}))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (truncate, r"2-of-3/records: expected \d+ bytes, found \d+; make part 2/3 again with"),
        (flip_a_bit, "2-of-3/records: expected SHA-256 .*, found .*; make part 2/3 again with"),
        (lose_one, "1 of 3 parts are missing: 2; make them with generate.part=2/3"),
        (lose_the_records, r"expected \d+ bytes, found 0; make part 2/3 again"),
        (cut_the_json, "does not say which part it is of .* make that part again"),
        (change_the_range, "scaled over different ranges"),
    ],
)
def test_a_join_refuses_what_makes_no_whole(
    make_recipe: MakeRecipe, damage: Any, sentence: str
) -> None:
    recipe = make_recipe("simple", "dataset.size=50")
    folder = make_all(recipe, 3)
    damage(folder)
    before = digests(folder)
    with pytest.raises(VIMHError, match=sentence):
        join(recipe)
    assert digests(folder) == before
    assert not Recipe.from_mapping(recipe).directory(".").exists()
    assert not list(folder.parent.glob(".vimh-writing-*"))


def test_a_damaged_part_is_made_again_with_overwrite(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("simple", "dataset.size=50")
    folder = make_all(recipe, 3)
    before = digests(folder)
    truncate(folder)
    with pytest.raises(VIMHError, match="overwrite=true"):
        make(recipe, "2/3")
    assert make({**recipe, "overwrite": True}, "2/3").made
    assert digests(folder) == before


def test_a_part_of_another_recipe(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("simple", "dataset.size=50")
    make(recipe, "1/2")
    other = {**recipe, "seed": 43}
    make(other, "2/2")
    with pytest.raises(VIMHError, match=r"2-of-2 .* recipe \(seed: found 43, expected 42\); make"):
        join(recipe)
    with pytest.raises(VIMHError, match=r"1-of-2 is from another recipe .*overwrite=true"):
        make(other, "1/2")


def test_parts_with_and_without_exact_values(make_recipe: MakeRecipe) -> None:
    exact = make_recipe("simple", "dataset.size=50")
    stored = changed(exact, bytes_only=True)
    make(exact, "1/2")
    make(stored, "2/2")
    for recipe, part, found in ((exact, 2, "true"), (stored, 1, "false")):
        message = rf"{part}-of-2 was made with generate.bytes_only={found}; .*overwrite=true"
        for wanted in (f"{part}/2", "join"):
            with pytest.raises(VIMHError, match=message):
                make(recipe, wanted)
    info = parts_directory(Recipe.from_mapping(exact).directory(".")) / "2-of-2" / "part.json"
    made_before = json.loads(info.read_text())
    del made_before["bytes_only"]  # an older version's
    info.write_text(json.dumps(made_before))
    make({**stored, "overwrite": True}, "1/2")
    assert join(stored).made


def test_parts_of_two_divisions(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("simple", "dataset.size=50")
    make_all(recipe, 3)
    make(recipe, "1/12")
    with pytest.raises(VIMHError, match="holds parts of 3 and of 12; remove"):
        join(recipe)


def test_no_parts_and_too_many(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("simple", "dataset.size=5")
    with pytest.raises(VIMHError, match="there are no parts to join; make them"):
        join(recipe)
    with pytest.raises(VIMHError, match="has 5 samples, so no more parts than that"):
        make(recipe, "1/6")
    assert not list(Path(recipe["generate"]["output_dir"]).iterdir())


def test_a_data_set_of_another_recipe_is_in_the_way(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("simple", "dataset.size=20")
    directory = generate_dataset({**recipe, "seed": 1}, progress=False).dataset_dir
    before = digests(directory)
    for part in ("1/2", "join"):
        with pytest.raises(VIMHError, match=r"from another recipe .*overwrite=true"):
            make(recipe, part)
    assert digests(directory) == before
    replacing = {**recipe, "overwrite": True}
    make_all(replacing, 2)
    assert digests(directory) == before
    make(replacing, "join")
    assert digests(directory) != before


def test_an_experiment_makes_whole_data_sets(make_recipe: MakeRecipe) -> None:
    with pytest.raises(VIMHError, match=r"only generate_vimh\.py makes parts"):
        generate_dataset(make_recipe("simple", "generate.part=1/2"), progress=False)


def test_the_joined_data_set_has_its_wav_files(make_recipe: MakeRecipe) -> None:
    recipe = changed(make_recipe("simple", "dataset.size=20"), wav=2)
    folder = make_all(recipe, 2)
    assert not any(name.endswith(".wav") for name in files(folder))
    report = join(recipe)
    assert [path.name for path in report.wav_files] == ["train_000000.wav", "train_000001.wav"]


def test_the_range_is_measured_once(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe("simple_wide", "dataset.size=50", "generate.scale=dataset")
    make(recipe, "3/3")
    monkeypatch.setattr(parts, "measure_range", None)
    make(recipe, "1/3")
    make(recipe, "2/3")
    assert join(recipe).made


def test_an_interrupted_part_leaves_nothing(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe("simple", "dataset.size=100")
    monkeypatch.setattr(parts, "chunks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(recipe, "1/2")
    assert not list(Path(recipe["generate"]["output_dir"]).iterdir())


def interrupted(*arguments: Any) -> Any:
    raise KeyboardInterrupt


HANGS = """
import json, sys, time
from src.synth import parts
chunks = parts.chunks
def hanging(*arguments):
    for i, chunk in enumerate(chunks(*arguments)):
        yield chunk
        time.sleep(3600 if i == 2 else 0)
parts.chunks = hanging
parts.generate(json.loads(sys.argv[1]), progress=False)
"""


def test_a_killed_part_is_made_by_the_same_command(make_recipe: MakeRecipe) -> None:
    recipe = changed(make_recipe("simple", "dataset.size=300"), chunk_size=10, part="2/2")
    folder = parts_directory(Recipe.from_mapping(recipe).directory("."))
    command = [sys.executable, "-c", HANGS, json.dumps(recipe)]
    process = subprocess.Popen(command, cwd=ROOT)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in folder.rglob("records")):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert not list(folder.glob("*-of-*"))
    with pytest.raises(VIMHError, match="no parts to join"):
        join(recipe)
    make_all(recipe, 2)
    assert {path.name for path in folder.iterdir()} == {"1-of-2", "2-of-2"}
    assert join(recipe).made


@pytest.mark.slow
def test_memory_does_not_grow_with_the_parts(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "reuse_freed_blocks", lambda: None)
    peaks = []
    for size in (1000, 4000):
        recipe = changed(make_recipe("simple", f"dataset.size={size}"), chunk_size=200)
        make_all(recipe, 2)
        tracemalloc.start()
        join(recipe)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 5e5  # the images are 3 MB more


def test_the_command_line(
    make_recipe: MakeRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # main sets it; put back afterwards
    command = ["generate_vimh.py", "--avix", "--shuffle", f"generate.output_dir={tmp_path}"]
    for part in ("1/2", "2/2", "join"):
        monkeypatch.setattr(sys, "argv", [*command, f"generate.part={part}"])
        generate_vimh.main()
    assert "wrote 72 samples (57 train, 15 test)" in capsys.readouterr().out
    recipe = make_recipe("simple", "avix=true", "shuffle=true")
    expected = digests(Recipe.from_mapping(recipe).directory("."))
    again = generate_dataset(changed(recipe, output_dir=str(tmp_path / "whole")), progress=False)
    assert digests(again.dataset_dir) == expected
