"""Processes that are killed, processes side by side, and how a dead one is told from a living."""

import json
import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import optuna
import pytest
from optuna.trial import TrialState

from hydra_plugins.avix_optuna_sweeper._workers import Worker
from src.sweeps.storage import STALE_S, open_storage

COMPLETE, FAIL = TrialState.COMPLETE, TrialState.FAIL


def wait_for(condition, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize("n_trials", [6, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_sweep_goes_on_by_the_same_command(sweeps, n_trials) -> None:
    killed = n_trials // 2
    command = (f"hydra.sweeper.n_trials={n_trials}", f"hang_at={killed}")
    process = sweeps.start(*command)
    started = sweeps.folder / "started.txt"
    wait_for(lambda: started.exists() and f"\n{killed} " in started.read_text())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert sweeps.states() == [COMPLETE] * killed + [TrialState.RUNNING]

    printed = sweeps.run(*command)
    expected = [COMPLETE] * (n_trials + 1)
    expected[killed] = FAIL
    assert sweeps.states() == expected
    assert [number for number, _ in sweeps.started()] == list(range(n_trials + 1))
    assert "1 killed before their end" in printed
    values = [trial.params["x"] for trial in sweeps.trials()]
    assert len(set(values)) == n_trials + 1
    assert (sweeps.folder / "history.png").stat().st_size > 1000
    assert "<script" in (sweeps.folder / "importances.html").read_text()


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # threads share them
def test_workers_create_a_new_database_at_once(tmp_path) -> None:
    """Without a lock, all but one of the workers fail at Optuna's own tables."""
    together = Barrier(3)

    def opened() -> list:
        together.wait()
        return open_storage(f"sqlite:///{tmp_path}/sweeps.db").get_all_studies()

    with ThreadPoolExecutor(3) as workers:
        waiting = [workers.submit(opened) for _ in range(3)]
        assert [each.result() for each in waiting] == [[]] * 3


def open_together(url: str, together) -> None:
    together.wait()
    assert open_storage(url).get_all_studies() == []


@pytest.mark.slow
def test_four_processes_create_a_new_database_at_once(tmp_path) -> None:
    """In a folder that is not there either."""
    context = multiprocessing.get_context("spawn")
    for trial in range(3):
        together = context.Barrier(4)
        url = f"sqlite:///{tmp_path}/new_{trial}/sweeps.db"
        processes = [context.Process(target=open_together, args=(url, together)) for _ in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * 4


@pytest.mark.slow
def test_a_sweep_killed_with_a_database_goes_on(sweeps) -> None:
    url = f"sqlite:///{sweeps.logs}/sweeps.db"
    command = (f"hydra.sweeper.storage={url}", "hydra.sweeper.n_trials=4", "hang_at=2")
    process = sweeps.start(*command)
    started = sweeps.folder / "started.txt"
    wait_for(lambda: started.exists() and "\n2 " in started.read_text())
    process.kill()
    process.communicate()
    sweeps.run(*command)
    trials = optuna.load_study(study_name="toy", storage=url).trials
    assert [trial.state for trial in trials] == [COMPLETE, COMPLETE, FAIL, COMPLETE, COMPLETE]


@pytest.mark.slow
def test_two_processes_share_a_study(sweeps) -> None:
    command = ("hydra.sweeper.n_trials=6", "workers=2", "seconds=0.2")
    processes = [sweeps.start(*command) for _ in range(2)]
    for process in processes:
        text, _ = process.communicate(timeout=120)
        assert process.returncode == 0, text
    assert sweeps.states() == [COMPLETE] * 6
    started = sweeps.started()
    assert sorted(number for number, _ in started) == list(range(6))
    assert len({pid for _, pid in started}) == 2
    assert sweeps.results()["trials"]["completed"] == 6
    values = [trial.params["x"] for trial in sweeps.trials()]
    assert len(set(values)) == 6


def test_ctrl_c_marks_the_trial_at_once(sweeps) -> None:
    process = sweeps.start("hang_at=1")
    started = sweeps.folder / "started.txt"
    wait_for(lambda: started.exists() and "\n1 " in started.read_text())
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert sweeps.states() == [COMPLETE, FAIL]
    assert not list((sweeps.folder / "workers").glob("*.lock"))


@pytest.fixture
def storage(tmp_path: Path) -> optuna.storages.BaseStorage:
    return open_storage(str(tmp_path / "journal.log"))


def test_a_worker_lives_as_long_as_it_holds_its_lock(tmp_path: Path, storage) -> None:
    with Worker(tmp_path, storage) as watching:
        with Worker(tmp_path, storage) as other:
            assert not watching.is_dead(other.attributes)
            assert not watching.is_dead(watching.attributes)
        assert watching.is_dead(other.attributes)  # ended without telling of its trials
        Path(other.attributes["lock"]).touch()  # as kill -9 leaves it
        assert watching.is_dead(other.attributes)


def test_a_worker_elsewhere_is_known_by_its_heartbeat(tmp_path: Path, storage) -> None:
    with Worker(tmp_path, storage) as here, Worker(tmp_path, storage) as there:
        lock = Path(there.attributes["lock"])
        elsewhere = {"host": "another", "lock": f"/mounted/otherwise/workers/{lock.name}"}
        now = lock.stat().st_mtime
        os.utime(lock, (now, now - STALE_S + 20))
        assert not here.is_dead(elsewhere)
        os.utime(lock, (now, now - STALE_S - 20))
        assert here.is_dead(elsewhere)


def test_heartbeats_go_on_while_a_trial_runs(tmp_path: Path, storage, monkeypatch) -> None:
    monkeypatch.setattr("hydra_plugins.avix_optuna_sweeper._workers.HEARTBEAT_S", 0.01)
    with Worker(tmp_path, storage) as worker:
        lock = Path(worker.attributes["lock"])
        os.utime(lock, (0, 0))
        wait_for(lambda: lock.stat().st_mtime > 0)


def test_a_database_gets_heartbeats_of_running_trials(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/sweeps.db")
    study = optuna.create_study(storage=storage)
    trial_id = storage.create_new_trial(study._study_id)
    with Worker(tmp_path, storage) as worker:
        worker.started(trial_id)
        assert storage._get_stale_trial_ids(study._study_id) == []
        elsewhere = {"host": "another", "lock": "/nowhere/x.lock"}
        assert not worker.is_dead(elsewhere)  # that is for the database to say


def test_a_torn_last_line_of_a_journal_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    optuna.create_study(storage=open_storage(str(path)), study_name="torn")
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code": 4, "wor')
    storage = open_storage(str(path))
    assert path.read_bytes() == whole
    study = optuna.load_study(study_name="torn", storage=storage)
    study.tell(study.ask(), 1.0)
    assert [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_launchers_run_trials_in_other_processes(sweeps, launcher) -> None:
    pytest.importorskip(
        f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher", reason="extra"
    )
    command = (
        f"hydra/launcher={launcher}",
        "hydra.sweeper.n_jobs=2",
        "hydra.sweeper.n_trials=5",
        "outcomes=[1-raise,2-prune]",
    )
    sweeps.run(*command)
    pruned = TrialState.PRUNED
    assert sweeps.states() == [COMPLETE, FAIL, pruned, COMPLETE, COMPLETE]
    assert sorted(number for number, _ in sweeps.started()) == [0, 1, 2, 3, 4]
    assert len({pid for _, pid in sweeps.started()}) >= 2
