"""`make evaluate` finds a run's checkpoint and its data, wherever both lie."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import evaluate_run  # noqa: E402 - a script, not a package

NAME = "my (é) [x], y=1 $HOME \"q\" 'r'"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with two runs; the newer one's data lie elsewhere."""
    folder = tmp_path / NAME
    for place, name in enumerate(["old", "new"]):
        run = folder / "logs" / "train" / "runs" / name
        (run / "checkpoints").mkdir(parents=True)
        checkpoint = run / "checkpoints" / "best.ckpt"
        checkpoint.touch()
        data = folder / f"data of {name}"
        data.mkdir()
        found = {"checkpoint": str(checkpoint), "data_dir": str(data)}
        (run / "metrics.json").write_text(json.dumps(found))
        os.utime(run / "metrics.json", (place, place))
    monkeypatch.setattr(evaluate_run, "ROOT", folder)
    return folder


def test_the_newest_run_with_its_own_data(checkout: Path) -> None:
    run = checkout / "logs" / "train" / "runs" / "new"
    assert evaluate_run.words(["split=val"]) == [
        f"ckpt_path={run}/checkpoints/best.ckpt",
        f"data.data_dir={checkout}/data of new",
        "split=val",
    ]


def test_a_checkpoint_that_is_named_brings_the_data_of_its_run(checkout: Path) -> None:
    """Also of another checkout, and for a model file in the run's folder."""
    run = checkout / "logs" / "train" / "runs" / "old"
    for name in ("checkpoints/best.ckpt", "model.safetensors"):
        said = evaluate_run.words([], str(run / name))
        assert said == [f"ckpt_path={run / name}", f"data.data_dir={checkout}/data of old"]


@pytest.mark.parametrize("own", ["data=vimh", "data.data_dir=x", "paths.vimh_dir=x"])
def test_data_that_are_named_count(checkout: Path, own: str) -> None:
    assert evaluate_run.words([own])[1:] == [own]


def test_data_that_were_moved_are_looked_for_by_their_name(checkout: Path) -> None:
    (checkout / "data of new").rename(checkout / "moved")
    assert len(evaluate_run.words([])) == 1


def test_a_checkout_that_was_moved(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = checkout.parent / "moved"
    checkout.rename(moved)
    monkeypatch.setattr(evaluate_run, "ROOT", moved)
    run = moved / "logs" / "train" / "runs" / "new"
    assert evaluate_run.words([]) == [f"ckpt_path={run}/checkpoints/best.ckpt"]


def test_without_a_run_or_with_a_damaged_one_it_is_a_sentence(checkout: Path) -> None:
    newest = checkout / "logs" / "train" / "runs" / "new" / "metrics.json"
    newest.write_text("{")
    with pytest.raises(SystemExit, match="is no JSON"):
        evaluate_run.words([])
    newest.write_text('{"checkpoint": null}')
    with pytest.raises(SystemExit, match="No run to report on yet: name a checkpoint by CKPT"):
        evaluate_run.words([])


def test_a_checkpoint_of_nowhere_has_no_data(tmp_path: Path) -> None:
    assert evaluate_run.words([], str(tmp_path / "a.ckpt")) == [f"ckpt_path={tmp_path}/a.ckpt"]


@pytest.mark.parametrize("name", ["it's [a], (b)=1.ckpt", 'say "é" `x`.ckpt'])
def test_make_hands_the_path_on_as_it_is(name: str, tmp_path: Path) -> None:
    shown = tmp_path / "python"
    shown.write_text('#!/bin/sh\nprintf "%s\\n" "$CKPT" "$@"\n')
    shown.chmod(0o755)
    # Without what a `make test ARGS=...` that runs this test hands down.
    env = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "ARGS"))}
    done = subprocess.run(
        ["make", "--no-print-directory", f"PYTHON={shown}", "evaluate", f"CKPT={name}"],
        cwd=ROOT, capture_output=True, text=True, check=True, env=env,
    )  # fmt: skip
    assert done.stdout.splitlines() == [name, "scripts/evaluate_run.py"]
