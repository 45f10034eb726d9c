import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import generate_vimh
from generate_vimh import UsageError, translate
from shuffle_vimh_dataset import shuffle_dataset
from src.synth.generate import generate_dataset
from src.synth.philox import permutation
from src.vimh.errors import VIMHError
from src.vimh.records import check_dataset, open_dataset
from tests.synth.conftest import MakeRecipe

ROOT = Path(__file__).resolve().parents[2]


def run(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / script, *arguments], capture_output=True, text=True, cwd=ROOT
    )


def test_every_flag_is_another_spelling_of_a_key() -> None:
    flags = "--avix -p --pickle -s --shuffle --temporal-envelope --spectral-envelope --normalize"
    assert translate([*flags.split(), "--bytes-only"]) == [
        "avix=true",
        "output_format=both",
        "output_format=both",
        "shuffle=true",
        "shuffle=true",
        "temporal_envelope=true",
        "spectral_envelope=true",
        "normalize=true",
        "generate.bytes_only=true",
    ]


def test_hydras_own_options_go_first() -> None:
    arguments = "seed=1,2 -m --avix --config-name generate_simple_3p +a.b=1 ~noise"
    assert translate(arguments.split()) == [
        "-m", "--config-name", "generate_simple_3p", "seed=1,2", "avix=true", "+a.b=1", "~noise"
    ]  # fmt: skip
    assert translate(["--config-name=x"]) == ["--config-name", "x"]


@pytest.mark.parametrize(
    "argument",
    ["--avx", "--shuf", "-x", "avix", "--config", "--package", "--avix=true", "--seed=3"],
)
def test_unknown_arguments(argument: str) -> None:
    with pytest.raises(UsageError, match="unknown argument"):
        translate([argument])


def test_the_standard_command_makes_the_standard_data_set(tmp_path: Path) -> None:
    result = run(
        "generate_vimh.py", "--avix", "--shuffle", "--temporal-envelope", "--spectral-envelope",
        "--normalize", "-p", f"generate.output_dir={tmp_path}",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    name = "avix-vimh-32x32x3_8000Hz_1p0s_72dss_simple_2p_normalized_shuffled"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert check_dataset(tmp_path / name).metadata.channels == 3
    assert "72 samples (57 train, 15 test) of 32x32x3" in result.stdout
    assert "samples a" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--avx"], 2, "unknown argument '--avx'; --help lists the flags"),
        (["dataset.sise=3"], 2, "Could not override 'dataset.sise'"),
        (
            ["+dataset.sise=3"],
            2,
            "dataset.sise is unknown; did you mean size? (there are name, size)",
        ),
        (["--config-name", "generate_nothing"], 2, "Cannot find primary config"),
        (["stft=nothing"], 2, "Available options in 'stft': filter_analysis_128"),
        (["--normalize"], 2, "set temporal_envelope=true or spectral_envelope=true"),
        (["duration=0.1"], 2, "gives 10 frames"),
    ],
)
def test_mistakes_end_with_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # main sets it; put back afterwards
    command = ["generate_vimh.py", f"generate.output_dir={tmp_path}", *arguments]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stopped:
        generate_vimh.main()
    assert stopped.value.code == code
    told = capsys.readouterr().err
    assert message in told
    assert len(told.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_help_explains_the_flags_and_where_the_config_is() -> None:
    result = run("generate_vimh.py", "--help")
    assert result.returncode == 0
    for text in ("--avix", "--pickle, -p", "--shuffle, -s", "configs/generate_simple.yaml"):
        assert text in result.stdout


def test_shuffling_keeps_every_sample_and_every_key(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_recipe("simple", "dataset.size=101", "output_format=both")
    source = generate_dataset(recipe, progress=False).dataset_dir
    info = source / "vimh_dataset_info.json"
    info.write_text(json.dumps({**json.loads(info.read_text()), "curator": {"name": "A"}}))
    target = tmp_path / "shuffled"
    result = run("shuffle_vimh_dataset.py", "--input", source, "--output", target, "--seed", "7")
    assert result.returncode == 0, result.stderr
    assert "101 samples" in result.stdout

    old, new = check_dataset(source), check_dataset(target)
    assert (len(new.train), len(new.test)) == (80, 21)
    order = permutation(7, 101)
    for what in ("images", "labels", "scale_factors", "values"):
        before, after = (
            np.concatenate([getattr(d.train, what), getattr(d.test, what)]) for d in (old, new)
        )
        np.testing.assert_array_equal(before[order], after)
    assert new.metadata.raw["curator"] == {"name": "A"}
    assert new.metadata.raw["output_format"] == "both"
    assert new.metadata.dataset_name == f"{source.name}_shuffled"
    assert new.metadata.raw["recipe"] == old.metadata.raw["recipe"]


def test_a_shuffled_set_of_older_records(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe("simple", "dataset.size=11", "output_format=pickle")
    source = generate_dataset(recipe, progress=False).dataset_dir
    assert shuffle_dataset(source, tmp_path / "a") == 11
    assert shuffle_dataset(tmp_path / "a", tmp_path / "b", seed=1) == 11
    opened = open_dataset(tmp_path / "b")
    assert opened.metadata.dataset_name.count("_shuffled") == 1
    assert {p.name for p in (tmp_path / "b").iterdir()} == {
        "train_batch", "test_batch", "train_values", "test_values", "vimh_dataset_info.json"
    }  # fmt: skip


def test_shuffling_refuses_what_it_would_destroy(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe("simple", "dataset.size=11")
    source = generate_dataset(recipe, progress=False).dataset_dir
    with pytest.raises(VIMHError, match="are the same directory"):
        shuffle_dataset(source, source, overwrite=True)
    shuffle_dataset(source, tmp_path / "a")
    with pytest.raises(VIMHError, match="already there"):
        shuffle_dataset(source, tmp_path / "a")
    assert shuffle_dataset(source, tmp_path / "a", overwrite=True) == 11
    result = run("shuffle_vimh_dataset.py", "--input", tmp_path / "no", "--output", tmp_path / "x")
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1
