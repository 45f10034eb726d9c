"""Sweeps of a toy task: in the test's process, or as processes that can be killed."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import optuna
import pytest
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

from tests.sweeps import toy_task

TASK = Path(toy_task.__file__)


@dataclass(frozen=True)
class Sweeps:
    """The toy task's sweeps under one folder."""

    logs: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.logs / "toy" / "sweeps" / "toy"

    def command(self, *overrides: str) -> list[str]:
        return [sys.executable, str(TASK), f"paths.log_dir={self.logs}", *overrides]

    def start(self, *overrides: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self.command(*overrides), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.processes.append(process)
        return process

    def run(self, *overrides: str) -> str:
        """As a process; what it printed."""
        process = self.start(*overrides)
        text, _ = process.communicate(timeout=120)
        assert process.returncode == 0, text
        return text

    def trials(self, study_name: str = "toy") -> list[FrozenTrial]:
        journal = self.folder.parent / study_name / "journal.log"
        backend = optuna.storages.journal.JournalFileBackend(str(journal))
        storage = optuna.storages.JournalStorage(backend)
        return optuna.load_study(study_name=study_name, storage=storage).trials

    def states(self) -> list[TrialState]:
        return [trial.state for trial in self.trials()]

    def started(self) -> list[tuple[int, int]]:
        """Number and process of every job, in the order of their starts."""
        lines = (self.folder / "started.txt").read_text().splitlines()
        return [(int(number), int(pid)) for number, pid in map(str.split, lines)]

    def results(self) -> dict:
        results = OmegaConf.to_container(OmegaConf.load(self.folder / "optimization_results.yaml"))
        assert isinstance(results, dict)
        return results


@pytest.fixture
def sweeps(tmp_path: Path) -> Iterator[Sweeps]:
    made = Sweeps(tmp_path)
    yield made
    for process in made.processes:
        if process.poll() is None:  # a failed test leaves it
            process.kill()
            process.communicate()


@pytest.fixture
def sweep(
    sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """`sweep("x=interval(0,1)")` in this process, without plots: exit code and the output."""
    from hydra_plugins.avix_optuna_sweeper import _report

    monkeypatch.setattr(_report, "write_plots", lambda study, folder, metric: None)

    def run(*overrides: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", sweeps.command(*overrides)[1:])
        code = 0
        try:
            toy_task.main()
        except SystemExit as ended:
            code = ended.code
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run
