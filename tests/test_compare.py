"""`src/compare.py`: runs side by side, on a screen and in files."""

import csv
import json
import re
from pathlib import Path

import pytest
from torch.utils.tensorboard import SummaryWriter

from src.compare import compare, main
from src.evaluation.scoring.runs import read_runs
from src.utils.errors import ConfigError

DECAY = "test/log10_decay_time_mae"
HOSTILE = "](https://example.com/x.png) <img src=https://example.com/y.png> `|"


def write_run(folder: Path, seed: int, lr: float, mae: float, curve: str = "csv") -> Path:
    """A run's folder as training leaves it, without its checkpoints."""
    (folder / ".hydra").mkdir(parents=True)
    config = f"seed: {seed}\nmodel: {{optimizer: {{_target_: a.b.Adam, lr: {lr}}}}}\n"
    config += f"paths: {{output_dir: {folder}}}\nnotes: {json.dumps(HOSTILE + str(lr))}\n"
    (folder / ".hydra" / "config.yaml").write_text(config + "data: {n: '${oc.env:HOME}'}\n")
    (folder / ".hydra" / "overrides.yaml").write_text(f"- experiment=small\n- seed={seed}\n")
    result = {
        "metrics": {DECAY: mae, "test/loss": None, "test/jnd": 1.0, "val/loss": mae},
        "parameters": {"log10_decay_time": {"unit": "log10(s)"}},
        "dataset": "grid",
        "num_measured": {"test": 7},
    }
    (folder / "metrics.json").write_text(json.dumps(result))
    if curve == "csv":
        path = folder / "csv" / "version_0" / "metrics.csv"
        path.parent.mkdir(parents=True)
        path.write_text("epoch,step,val/loss,train/loss\n0,9,0.5,\n0,9,,0.25\n1,19,0.125,\n")
    else:
        with SummaryWriter(str(folder)) as writer:
            for step in (9, 19):
                writer.add_scalar("val/loss", 1 / (step + 1), step)
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Three seeds of one setting, and another setting."""
    runs = tmp_path / "runs"
    return [
        write_run(runs / "a", 1, 0.1, 1.0),
        write_run(runs / "b", 2, 0.1, 2.0),
        write_run(runs / "c", 3, 0.1, 3.0),
        write_run(runs / "d", 1, 0.2, 12.345678, "tensorboard"),
    ]


def test_what_differs_the_figures_and_the_mean_over_seeds(runs: list[Path], tmp_path: Path) -> None:
    files = compare(runs, tmp_path / "out")
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    lrs = [run["settings"]["model.optimizer.lr"] for run in found["runs"]]
    assert lrs == ["0.1", "0.1", "0.1", "0.2"]
    assert set(found["runs"][0]["settings"]) == {"seed", "model.optimizer.lr", "notes"}
    assert [group["runs"] for group in found["groups"]] == [[0, 1, 2], [3]]
    three, one = (group["metrics"][DECAY] for group in found["groups"])
    # Student's t of two degrees of freedom is 4.303 at 97.5 %.
    assert three == pytest.approx({"value": 2.0, "low": 2 - 2.4842, "high": 2 + 2.4842}, abs=1e-3)
    assert one == {"value": 12.345678, "low": None, "high": None}
    assert found["runs"][0]["metrics"]["test/loss"] is None
    with (tmp_path / "out" / "comparison.csv").open(newline="") as file:
        table = {row[0]: row[1:] for row in csv.reader(file)}
    assert table[DECAY] == ["1.0", "2.0", "3.0", "12.345678"]
    assert [path.name for path in files] == [
        "comparison.html", "curves.png", "comparison.csv", "comparison.json",
    ]  # fmt: skip


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_no_figure_is_cut(
    runs: list[Path], tmp_path: Path, columns: int, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    compare(runs, tmp_path / "out")
    lines = capsys.readouterr().out.splitlines()
    tables = [line for line in lines if line.startswith(("│", "┃"))]
    assert tables
    assert all(len(line) <= columns for line in tables)
    printed = "\n".join(lines)
    assert "\x1b" not in printed
    for figure in ("0.1", "0.2", "12.35", "2 [-0.4841, 4.484]", "[log10(s)]", "1–3"):
        assert figure in printed
    assert "samples" not in printed  # all were tested on the same


def test_the_page_asks_nobody_for_anything(runs: list[Path], tmp_path: Path) -> None:
    compare(runs, tmp_path / "out")
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert re.findall(r"<(?:img|a|script|link|iframe)\b[^>]*", page) == re.findall(
        r'<img alt="curves" src="data:image/png;base64,[^"]*"', page
    )
    assert "default-src 'none'" in page
    assert "https://example.com/x.png" in page  # as text: it names nothing to load


def test_curves_of_tensorboard_and_of_a_table(runs: list[Path]) -> None:
    first, *_, last = read_runs(runs)
    assert first.curves["val/loss"] == [(9, 0.5), (19, 0.125)]
    assert first.curves["train/loss"] == [(9, 0.25)]
    assert [step for step, _ in last.curves["val/loss"]] == [9, 19]
    assert [value for _, value in last.curves["val/loss"]] == pytest.approx([0.1, 0.05])


def test_a_multirun_stands_for_its_jobs(runs: list[Path]) -> None:
    assert [run.folder.name for run in read_runs([runs[0].parent])] == ["a", "b", "c", "d"]


def test_other_samples_are_said(runs: list[Path], tmp_path: Path, capsys) -> None:
    path = runs[1] / "metrics.json"
    path.write_text(path.read_text().replace('"test": 7', '"test": 6'))
    (runs[2] / "metrics.json").unlink()
    compare(runs[:3], tmp_path / "out", ["test/jnd"])
    printed = capsys.readouterr().out
    assert "of different samples: see (test samples)." in printed
    assert "Not ended, so without figures: 3." in printed
    assert DECAY not in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{runs}/a"], "expected two runs or more to compare, found 1"),
        (["{runs}/a", "{runs}/../runs/a"], "is named twice"),
        (["{runs}/a", "{runs}/nowhere"], "nowhere: expected the folder of a run"),
        (["{runs}/a", "{runs}/b", "--metrics", "test/x"], "No run has ['test/x']; there are: test"),
    ],
)
def test_mistakes_are_one_sentence(
    runs: list[Path], tmp_path: Path, words: list[str], said: str
) -> None:
    arguments = [word.replace("{runs}", str(runs[0].parent)) for word in words]
    with pytest.raises(SystemExit, match=re.escape(said)):
        main([*arguments, "--output", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_broken_result_is_said(runs: list[Path]) -> None:
    (runs[0] / "metrics.json").write_text("{")
    with pytest.raises(ConfigError, match="is no JSON"):
        read_runs(runs)
