"""The comparison of losses and networks: its plan, its runs, its resuming and its page."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import suite, suite_job
from benchmarks.suite_plan import (
    CNN,
    COMPARED_NETWORKS,
    DATA,
    EPOCHS,
    LOSSES,
    NETWORKS,
    QUICK,
    SETTINGS,
    VIT,
    Job,
    Plan,
    Table,
)
from benchmarks.suite_report import ranked, render, table_lines
from src.vimh.parameters import Parameter

ROOT = Path(__file__).parents[1]
RESULT = {
    "val": {"within_1.0": 0.5, "mae_jnd": 1.0},
    "epoch_seconds": 2.0,
    "num_weights": 64000,
    "steps": 100,
}


def result(share: float, seconds: float = 2.0) -> dict:
    heads = ("note_number", "note_velocity", "log10_decay_time")
    figures = {"within_0.5": share / 2, "within_1.0": share, "mae_jnd": 1 - share}
    figures["heads"] = {head: dict(figures) for head in heads}
    return {**RESULT, "test": figures, "val": figures, "epoch_seconds": seconds}


def all_tables(share=lambda job: 0.5) -> tuple[list[Table], dict]:
    """The tables of the whole plan, with made-up results."""
    results: dict = {}

    tables = []
    plan = Plan()
    for _ in range(3):  # each round knows more, and so plans further
        tables = list(suite.tables_of(plan, None, results))
        for table in tables:
            for job in table.jobs:
                results[job.name] = (
                    {"baselines": {"always the mean": result(0.1)["test"]}}
                    if job.network is None
                    else result(share(job))
                )
    return tables, results


def test_the_plan_has_every_loss_and_network_and_three_seeds() -> None:
    losses = {path.stem for path in (ROOT / "configs" / "loss").glob("*.yaml")}
    assert set(LOSSES) == losses
    tables, results = all_tables()
    rows = [len(LOSSES), len(COMPARED_NETWORKS), len(SETTINGS), 3, 4, 1]
    assert [len(table.rows) for table in tables] == rows
    assert {len(jobs) for table in tables[:-1] for jobs in table.rows.values()} == {3}
    assert {job.data for table in tables for job in table.jobs} == set(DATA)
    same_steps = {job.epochs for table in tables[:3] for job in table.jobs if job.network}
    assert same_steps == {EPOCHS["simple_noisy"]}
    # The CNN with the best loss stands in three tables and is trained once.
    assert len(results) < sum(len(table.jobs) for table in tables)


def test_the_best_by_validation_is_taken_on() -> None:
    shares = {"emd": 0.9, "corn": 0.8, "dg": 0.7}

    def share(job: Job) -> float:
        bonus = 0.05 if str(job.network).startswith("ConvNeXt") else 0.0
        return shares.get(job.loss, 0.5) + bonus

    tables, results = all_tables(share)
    assert [name for name, _ in ranked(tables[0], results)][:3] == ["emd", "corn", "dg"]
    assert tables[1].title == "Networks: loss emd on simple_noisy, hybrid"
    assert tables[2].title.startswith("Settings: ConvNeXt 210k, stem of 4, loss emd")
    assert [name.split(", ")[-1] for name in tables[3].rows] == ["emd", "corn", "dg", "emd"]
    page = render(tables, results, Plan(), 2, {"Commit": "abc"})
    assert "- Best loss: `emd` (within 1 JND 90.0 ± 0.0 %)." in page
    assert f"Direct gradient does not win: `dg` is number 3 of {len(LOSSES)}" in page
    assert "simple 16k: CNN 64k has 90.0 ± 0.0 % within 1 JND and ViT 64k 90.0" in page
    assert "Not finished" not in page


def test_a_network_that_does_not_beat_the_baselines_is_said_not_to() -> None:
    tables, results = all_tables(lambda job: 0.05 if job.loss == "ce" else 0.5)
    page = render(tables, results, Plan(), 2, {})
    assert "Losses: CNN 64k on simple_noisy, hybrid: not better than *always the mean*: ce." in page


def test_a_page_without_runs_says_so() -> None:
    tables = list(suite.tables_of(Plan(), None, {}))
    assert len(tables) == 1
    page = render(tables, {}, Plan(), 2, {})
    assert "**Not finished**" in page
    assert page.count("not run") == len(LOSSES)
    assert "What it says" not in page


def test_a_table_has_as_many_cells_in_every_row() -> None:
    tables, results = all_tables()
    for table in tables:
        lines = table_lines(table, results)
        assert len({line.count("|") for line in lines}) == 1
        assert len(lines) == 2 + len(table.rows) + 1


def test_a_job_is_named_after_all_that_it_is() -> None:
    job = Job("simple_noisy", CNN, "dg", epochs=2)
    assert re.fullmatch(r"simple_noisy__CNN_64k__dg__hybrid__s1-[0-9a-f]{8}", job.name)
    others = [
        Job("simple_noisy", CNN, "dg", epochs=3),
        Job("simple_noisy", CNN, "dg", epochs=2, size=320),
        Job("simple_noisy", CNN, "dg", epochs=2, setting="image only"),
        Job("simple_noisy", VIT, "dg", epochs=2),
    ]
    assert len({job.name, *(other.name for other in others)}) == 5


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_composes_with_what_the_suite_overrides(network, compose_config) -> None:
    cfg = compose_config("train", *Job("simple_3p", network, "soft_target").overrides)
    assert cfg.loss._target_.endswith("SoftTargetLoss")
    assert cfg.data.target_width == 1.0
    assert set(cfg.model.loss_weights) == {"note_number", "note_velocity", "log10_decay_time"}
    assert set(cfg.model.loss_weights.values()) == {None}
    assert list(cfg.callbacks) == ["model_checkpoint"]


def test_figures_by_hand() -> None:
    parameters = [Parameter("a", 0.0, 255.0, 2.0), Parameter("b", 0.0, 255.0, 2.0)]
    true = np.zeros((4, 2))
    # Half a quantum, 0.5, is granted: within ½ JND up to 1.5, within 1 JND up to 2.5.
    predicted = np.array([[1.4, 1.4], [2.4, 1.4], [2.4, 2.4], [3.0, 0.0]])
    figures = suite_job.figures(predicted, true, parameters)
    assert figures["within_0.5"] == 0.25
    assert figures["within_1.0"] == 0.75
    assert figures["mae_jnd"] == pytest.approx((1.4 * 3 + 2.4 * 3 + 3.0) / 16)
    assert figures["heads"]["a"]["within_1.0"] == 0.75
    assert figures["heads"]["b"]["within_0.5"] == 0.75


def test_a_job_trains_and_agrees_with_the_metrics_of_training(tmp_path, data_root) -> None:
    job = Job("simple 16k", CNN, "dg", epochs=2, size=320)
    found = suite_job.run(job, tmp_path, data_root)
    assert json.loads((tmp_path / "result.json").read_text())["steps"] == found["steps"] == 4
    rows = (tmp_path / "csv" / "version_0" / "metrics.csv").read_text().splitlines()
    column = rows[0].split(",").index("val/mae_jnd")
    logged = [float(row.split(",")[column]) for row in rows[1:] if row.split(",")[column]]
    assert found["val"]["mae_jnd"] == pytest.approx(min(logged), rel=1e-4)
    assert found["num_samples"] == {"train": 224, "val": 64, "test": 32}
    assert found["epoch_seconds"] > 0


def test_baselines_are_a_job(tmp_path, data_root) -> None:
    found = suite_job.run(Job("simple 16k", None, size=320), tmp_path, data_root)
    assert list(found["baselines"]) == [
        "always the mean",
        "nearest image",
        "least squares (aux)",
        "3 neighbours (aux)",
    ]


class Fake(suite.Suite):
    """A suite whose jobs are a line of Python that leaves a result, or not."""

    def __init__(self, folder: Path, fails: str = "never") -> None:
        super().__init__(folder, folder, workers=2, ledger=folder / "ledger.json")
        self.fails = fails

    def command(self, job: Job, folder: Path) -> list[str]:
        if self.fails in job.name:
            return [sys.executable, "-c", "raise SystemExit('no disk')"]
        share = 0.9 if job.loss == "dg" else 0.5
        content = result(share) if job.network else {"baselines": {}}
        with (self.folder / "log").open("a") as log:
            log.write(f"{job.name}\n")
        # Whole or not at all, as suite_job does: results are read while other jobs end.
        code = (
            "import os, sys; open(sys.argv[1] + '.tmp', 'w').write(sys.argv[2]); "
            "os.replace(sys.argv[1] + '.tmp', sys.argv[1])"
        )
        return [sys.executable, "-c", code, str(folder / "result.json"), json.dumps(content)]


def ran(folder: Path) -> list[str]:
    path = folder / "log"
    names = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return names


def test_what_was_run_is_not_run_again(tmp_path, capsys) -> None:
    tables = list(suite.tables_of(QUICK, Fake(tmp_path), {}))
    names = ran(tmp_path)
    assert len(names) == len(set(names)) == len({j.name for t in tables for j in t.jobs})
    assert list(suite.tables_of(QUICK, Fake(tmp_path), {})) == tables
    assert ran(tmp_path) == []
    # The ledger knows all of them without their folders.
    for name in names:
        (tmp_path / name).rename(tmp_path / f"{name} is gone")
        (tmp_path / f"{name} is gone" / "result.json").unlink()
    assert list(suite.tables_of(QUICK, Fake(tmp_path), {})) == tables
    assert ran(tmp_path) == []
    # One that was broken off has a folder and no result: it is the only one to be run again.
    ledger = json.loads((tmp_path / "ledger.json").read_text())
    assert sorted(ledger) == sorted(names)
    del ledger[names[3]]
    (tmp_path / "ledger.json").write_text(json.dumps(ledger))
    (tmp_path / names[3]).mkdir()
    (tmp_path / names[3] / "half a checkpoint").touch()
    list(suite.tables_of(QUICK, Fake(tmp_path), {}))
    assert ran(tmp_path) == [names[3]]
    assert not (tmp_path / names[3] / "half a checkpoint").exists()


def test_a_job_that_fails_is_named_and_the_others_go_on(tmp_path, capsys) -> None:
    fake = Fake(tmp_path, fails="CNN_64k__ce__hybrid__s2")
    tables = list(suite.tables_of(QUICK, fake, {}))
    assert set(fake.failed.values()) == {"no disk"}
    assert all("ce__hybrid__s2" in name for name in fake.failed)
    others = list(suite.tables_of(QUICK, Fake(tmp_path / "others"), {}))
    assert [table.title for table in tables] == [table.title for table in others]
    assert any("| ce |" in line for line in table_lines(tables[0], fake.results))


def test_commands_and_report_run_nothing(tmp_path, capsys) -> None:
    page = tmp_path / "page.md"
    arguments = ["--folder", str(tmp_path / "runs"), "--output", str(page)]
    suite.main([*arguments, "--commands"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(LOSSES) * 3
    assert lines[0].startswith("python src/train.py data=vimh_simple_noisy model=avix_cnn_64k_jnd")
    suite.main([*arguments, "--report"])
    assert "**Not finished**" in page.read_text()


@pytest.mark.slow
def test_the_whole_of_it_on_a_tiny_scale(tmp_path, data_root) -> None:
    arguments = ["--quick", "--folder", str(tmp_path), "--vimh-dir", str(data_root), "--jobs", "2"]
    suite.main(arguments)
    page = (tmp_path / "results.md").read_text()
    assert "Not finished" not in page
    assert page.count("\n## ") == 7
