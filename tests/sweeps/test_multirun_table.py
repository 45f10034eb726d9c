"""The table of a multirun's jobs."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from src.sweeps.multirun_table import (
    differing_keys,
    job_table,
    main,
    newest_multirun,
    read_jobs,
    seed_table,
)
from src.utils.errors import ConfigError


def write_job(folder: Path, overrides: list[str], *, loss: float | None, job: dict | None) -> None:
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("".join(f"- {o}\n" for o in overrides))
    if loss is not None:
        content = {"metrics": {"test/loss": loss, "test/a_mae": 1.0}, "num_weights": 11019}
        (folder / "metrics.json").write_text(json.dumps(content))
    if job is not None:
        (folder / "job.json").write_text(json.dumps(job))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "logs" / "train" / "multiruns" / "t"
    for number, (model, seed, loss) in enumerate(
        [("cnn", 1, 0.5), ("cnn", 2, 0.7), ("mlp", 1, 0.9), ("mlp", 2, None)]
    ):
        write_job(
            folder / str(number + 8),  # 8, 9, 10, 11: by number, not by letters
            ["experiment=x", f"model={model}", f"+seed={seed}"],
            loss=loss,
            job={"seconds": 75.2, "status": "done" if loss else "failed"} if seed == 1 else None,
        )
    return folder


def text(table) -> list[list[str]]:
    console = Console(width=200)
    lines = [line for line in console.render_lines(table) if line]
    rows = ["".join(segment.text for segment in line) for line in lines]
    return [
        [cell.strip() for cell in row.strip().strip("│").split("│")] for row in rows if "│" in row
    ]


def test_a_row_for_each_job_with_what_differs(folder: Path) -> None:
    jobs = read_jobs(folder)
    assert [job.name for job in jobs] == ["8", "9", "10", "11"]
    assert differing_keys(jobs) == ["model", "seed"]
    assert text(job_table(jobs, ["test/loss"])) == [
        ["8", "cnn", "1", "11,019", "1 min 15 s", "done", "0.5"],
        ["9", "cnn", "2", "11,019", "", "done", "0.7"],  # of before job.json was written
        ["10", "mlp", "1", "11,019", "1 min 15 s", "done", "0.9"],
        ["11", "mlp", "2", "", "", "not finished", ""],
    ]


def test_a_metric_that_was_none_is_null_in_the_file_and_counts_in_no_mean(folder: Path) -> None:
    path = folder / "8" / "metrics.json"
    path.write_text(path.read_text().replace("0.5", "null"))
    table = seed_table(read_jobs(folder), ["test/loss"])
    assert table is not None
    assert text(table)[0] == ["cnn", "2", "0.7"]
    assert text(job_table(read_jobs(folder), ["test/loss"]))[0][-1] == "nan"


def test_seeds_are_averaged(folder: Path) -> None:
    table = seed_table(read_jobs(folder), ["test/loss"])
    assert table is not None
    assert text(table) == [["cnn", "2", "0.6 ± 0.14"], ["mlp", "1", "0.9"]]


def test_no_seed_table_without_seeds(folder: Path) -> None:
    jobs = [job for job in read_jobs(folder) if job.overrides["seed"] == "1"]
    assert seed_table(jobs, ["test/loss"]) is None


def test_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(folder), "--metrics", "test/a_mae"])
    printed = capsys.readouterr().out
    assert "test/a_mae" in printed
    assert "test/loss" not in printed
    with pytest.raises(SystemExit, match="No job logged"):
        main([str(folder), "--metrics", "test/none"])
    with pytest.raises(SystemExit, match="found no job"):
        main([str(folder.parent)])


def test_newest_multirun(folder: Path, tmp_path: Path) -> None:
    assert newest_multirun(tmp_path / "logs") == folder
    with pytest.raises(ConfigError, match="no multirun"):
        newest_multirun(tmp_path)


def test_single_runs_have_numbers_for_their_long_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = [f"2026-11-29_14-40-1{k}-734026_avix_cnn_72dss_jnd_dg_hybrid" for k in range(2)]
    for name, rate in zip(names, ("0.005", "0.0005"), strict=True):
        overrides = [f"model.optimizer.lr={rate}"]
        write_job(tmp_path / "runs" / name, overrides, loss=0.5, job=None)
    main([str(tmp_path / "runs")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"  1  {names[0]}", f"  2  {names[1]}"]
    rows = [line for line in lines if line.startswith("│")]
    assert [row.split("│")[1].strip() for row in rows] == ["1", "2"]
    assert all("0.5" in row for row in rows)
