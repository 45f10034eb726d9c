"""The examples run as they are written, the notebook from top to bottom."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_the_demo_is_short(tmp_path: Path) -> None:
    done = run("examples/vimh_training.py", "--demo", "--folder", str(tmp_path), timeout=120)
    assert "512 samples" in done.stdout


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
