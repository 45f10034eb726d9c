"""The benchmark harness: figures, budgets and rows. What it measures is no test's business."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import run, scaling
from benchmarks.measure import Budget, Row, interleaved, ratios
from benchmarks.rows.training import Case, measure_case


def test_budget_bounds_from_the_right_side() -> None:
    assert Budget("at least", 0.9).holds(0.9)
    assert not Budget("at least", 0.9).holds(0.89)
    assert Budget("at most", 2.0).holds(2.0)
    assert not Budget("at most", 2.0).holds(2.1)
    assert str(Budget("at most", 50.0, "MB")) == "≤ 50 MB"


def test_row_has_median_quartiles_and_verdict() -> None:
    row = Row("a", "b", Budget("at least", 3.0), [1.0, 2.0, 3.0, 4.0, 100.0])
    assert row.ratio == 3.0
    assert row.spread == (2.0, 4.0)
    assert row.within_budget is True
    assert Row("a", "b", Budget("at least", 3.1), row.figures).within_budget is False


def test_row_without_figures_has_no_verdict() -> None:
    row = Row("a", "b", Budget("at least", 3.0), failure="no disk")
    assert (row.ratio, row.spread, row.within_budget) == (None, None, None)
    assert row.to_json()["failure"] == "no disk"


def test_row_survives_its_way_through_json() -> None:
    row = Row("a", "b", Budget("at most", 1.5, "s"), [1.0, 2.0], {"rate": 3})
    assert Row.from_dict(json.loads(json.dumps(row.to_dict()))) == row


def test_interleaved_alternates_and_leaves_the_warmup_out() -> None:
    calls: list[str] = []
    first, second = interleaved(lambda: calls.append("a"), lambda: calls.append("b"), pairs=3)
    assert "".join(calls) == "ba" + "ab" + "ba" + "ab"
    assert len(first) == len(second) == 3
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]


def test_a_group_that_fails_becomes_a_row_that_says_so(tmp_path: Path) -> None:
    (row,) = run.measure_apart("there_is_no_such_group", tmp_path, quick=True)
    assert row.within_budget is None
    assert "there_is_no_such_group" in (row.failure or "")
    run.table([row], "title")  # and it can be shown


@pytest.mark.parametrize("group", run.GROUPS)
def test_every_group_has_a_module(group: str) -> None:
    path = run.ROOT / "benchmarks" / "rows" / f"{group}.py"
    assert "def measure(quick: bool, work: Path) -> list[Row]:" in path.read_text(encoding="utf-8")


# The fit is stopped at the start of an epoch, whose metrics are then of no batch.
@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
@pytest.mark.slow
def test_a_fit_is_measured_against_both_loops(tmp_path: Path) -> None:
    case = Case("MLP 11k", ("model=avix_mlp_11k_jnd",), 0.5, samples=640)
    rows = measure_case(case, quick=True, work=tmp_path)
    assert [row.against for row in rows] == ["plain PyTorch loop", "the same, our settings"]
    for row in rows:
        assert row.failure is None
        assert len(row.figures) == 4
        assert all(figure > 0 for figure in row.figures)


def test_the_clock_counts_a_part_within_another_only_once() -> None:
    class Work:
        def outer(self) -> None:
            time.sleep(0.01)
            self.inner()

        def inner(self) -> None:
            time.sleep(0.03)

    clock = scaling.Clock()
    clock.wrap(Work, "outer", "outer")
    clock.wrap(Work, "inner", "inner")
    start = time.perf_counter()
    Work().outer()
    whole = time.perf_counter() - start
    assert 0.01 <= clock.seconds["outer"] < clock.seconds["inner"]
    assert whole - 0.01 < sum(clock.seconds.values()) <= whole


@pytest.mark.slow
def test_the_scaling_study_measures_trainings_and_draws_them(tmp_path: Path) -> None:
    """Two sizes of it, in processes of their own as the command runs them."""
    tiny: dict[str, Any] = {"least_batches": 4}
    sized = [scaling.Case(samples=n, residency="disk", **tiny) for n in (512, 1024)]
    parts = scaling.Case(samples=512, parts=True, **tiny)
    trainings = []
    for case in (*sized, parts):
        found = scaling.run_apart(["--case", json.dumps(vars(case))], tmp_path)
        trainings.append({"case": vars(case), **found})
    small, large, with_parts = trainings
    assert large["batches"] > small["batches"] > 0
    assert small["memory_mb"]["anon"] > 100
    assert sum(with_parts["parts_ms"].values()) == pytest.approx(with_parts["batch_ms"])
    assert all(with_parts["parts_ms"][part] > 0 for part in scaling.PARTS)
    reading = scaling.run_apart(["--reading", "1024"], tmp_path)
    assert set(reading) == {"all at once", "in blocks"}
    results = {"trainings": trainings, "failures": [], "reading": reading}
    scaling.show(results)
    scaling.draw(results, tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_check_of_a_gpu_in_its_short_form_on_the_cpu(tmp_path: Path) -> None:
    output = tmp_path / "gpu.json"
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu_check.py", "--short", "--output", str(output)],
        cwd=run.ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(output.read_text())
    assert {row[0] for row in found["rows"]} == {"tests", "training", "speed", "generating"}
    assert all(row[3] for row in found["rows"])
    apart = found["detail"]["training avix_mlp_72dss_jnd"]["bf16-mixed"]["apart"]
    assert 0 < apart < 0.1  # another precision, and it learns the same
