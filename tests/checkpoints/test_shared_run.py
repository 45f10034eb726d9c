"""All processes of a run that a cluster starts take the folder of the first of them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from src.checkpoints.shared_run import forget_name, shared_name

SLURM = {
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
    "SLURM_SRUN_COMM_PORT": "40123",
}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "mine", "MASTER_PORT": "29500"}


@pytest.fixture(params=[SLURM, TORCHRUN], ids=["slurm", "torchrun"])
def started(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in request.param.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("started")
def test_the_processes_of_a_start_agree_and_leave_nothing(tmp_path: Path) -> None:
    runs = tmp_path / "logs" / "train" / "runs"
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda i: shared_name(runs, f"at_{i}"), range(8)))
    assert len(found) == 1
    assert shared_name(runs, "later") in found
    forget_name(runs)
    assert list(runs.iterdir()) == []


def test_another_start_has_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    assert shared_name(tmp_path, "first") == "first"
    for name, value in (("SLURM_STEP_ID", "1"), ("SLURM_RESTART_COUNT", "1")):
        monkeypatch.setenv(name, value)
        assert shared_name(tmp_path, name) == name
    monkeypatch.setenv("SLURM_SRUN_COMM_PORT", "40999")  # the number of a job is given again
    assert shared_name(tmp_path, "again") == "again"


@pytest.mark.parametrize("alone", [{}, {**SLURM, "SLURM_STEP_NUM_TASKS": "1"}])
def test_a_process_alone_leaves_no_file(
    alone: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in alone.items():
        monkeypatch.setenv(name, value)
    assert shared_name(tmp_path, "mine") == "mine"
    assert list(tmp_path.iterdir()) == []
