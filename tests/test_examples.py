"""The examples run as they are written, the notebook from top to bottom."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from examples import vimh_training
from src.checkpoint import load_model, read_checkpoint

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def run(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        **options,
    )


@pytest.mark.slow
def test_the_training_example(tmp_path: Path) -> None:
    done = run("examples/vimh_training.py", "--save-plots", "--folder", str(tmp_path))
    figures = re.findall(
        r"^(\w+): mean error ([\d.]+) .*mean: ([\d.]+)\), within one JND ([\d.]+)%",
        done.stdout,
        re.MULTILINE,
    )
    assert [name for name, *_ in figures] == ["note_velocity", "log10_decay_time"]
    for name, error, guess, within in figures:
        assert float(error) < 0.1 * float(guess), name
        assert float(within) > 80, name
    assert (tmp_path / "predictions.png").stat().st_size > 10_000
    assert "Warning" not in done.stderr


@pytest.mark.slow
def test_the_demo_is_short(tmp_path: Path) -> None:
    done = run("examples/vimh_training.py", "--demo", "--folder", str(tmp_path), timeout=120)
    assert "512 samples" in done.stdout


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch):
    """The example's command line, in this process."""

    def called(*words: object) -> None:
        monkeypatch.setattr(sys, "argv", ["vimh_training.py", *map(str, words)])
        vimh_training.main()

    return called


def test_a_data_set_of_ones_own_and_a_checkpoint_to_look_at(
    example, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example("--demo", "--folder", tmp_path, "--max-epochs", 1)
    (own,) = tmp_path.glob("vimh-*")
    line = ("--data-dir", own, "--folder", tmp_path)
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    example(*line, "--max-epochs", 2, "--batch-size", 64, "--export-results", first)
    assert "512 samples" in capsys.readouterr().out
    checkpoint = tmp_path / "model.ckpt"
    saved = checkpoint.read_bytes()
    example(*line, "--analyze-only", "--checkpoint", checkpoint, "--export-results", second)
    assert checkpoint.read_bytes() == saved  # not trained any further
    results = json.loads(first.read_text(encoding="utf-8"))
    assert results == json.loads(second.read_text(encoding="utf-8"))
    assert list(results["test"]) == ["note_velocity", "log10_decay_time"]
    assert 0 < results["test"]["log10_decay_time"]["mean_error"] < 1.0
    # The same file is a checkpoint for the other commands.
    assert load_model(read_checkpoint(checkpoint)).preparation.auxiliary_size == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--analyze-only", "--analyze-only and --checkpoint FILE go together"),
        ("--checkpoint model.ckpt", "--analyze-only and --checkpoint FILE go together"),
        ("--data-dir nowhere", "nowhere"),
        ("--demo --folder {folder} --analyze-only --checkpoint no.ckpt", "error: no.ckpt"),
    ],
)
def test_mistakes_are_one_sentence(
    line: str, message: str, example, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        example(*line.format(folder=tmp_path).split())
    assert message in f"{stopped.value} {capsys.readouterr().err}"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path) -> None:
    script = tmp_path / "notebook.py"
    script.write_text("\n\n".join(code_cells(path)), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=path.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "within one JND" in done.stdout


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_plain_python_without_outputs(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    assert all(not cell.get("outputs") for cell in notebook["cells"])
    for source in code_cells(path):
        compile(source, path.name, "exec")


def code_cells(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
