"""Trials a minute on SQLite, a journal and PostgreSQL by workers that do nothing else: a table.

A trial asks for five numbers, reports eight values and is told its result, as a pruned training of
eight validations does; the sampler draws at random, so that the storage is all there is to wait
for. PostgreSQL is started in a temporary folder where it is installed.
"""

import argparse
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing.synchronize import Barrier
from pathlib import Path

import rootutils

ROOT: Path = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import optuna  # noqa: E402
from optuna.trial import TrialState  # noqa: E402
from rich.progress import track  # noqa: E402
from rich.table import Table  # noqa: E402

from benchmarks.run import machine  # noqa: E402
from src.sweeps.storage import open_storage  # noqa: E402
from src.utils.rich_utils import plain_console  # noqa: E402
from tests.cluster import postgres  # noqa: E402

STUDY = "search"
VALIDATIONS = 8


def work(storage: str, seed: int, seconds: float, ready: Barrier) -> None:
    """Take trials until the time is over."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # A trial is over long before a sign of life is due.
    warnings.filterwarnings("ignore", message="Heartbeat of storage")
    sampler = optuna.samplers.RandomSampler(seed=seed)
    study = optuna.load_study(study_name=STUDY, storage=open_storage(storage), sampler=sampler)
    ready.wait()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        trial = study.ask()
        values = [trial.suggest_float(f"x{k}", 0.0, 1.0) for k in range(5)]
        for step in range(VALIDATIONS):
            trial.report(sum(values) / (step + 1), step)
        study.tell(trial, sum(values))


def trials_a_minute(storage: str, workers: int, seconds: float) -> float:
    """Let workers search on a storage; count the trials that are complete."""
    opened = open_storage(storage)
    study = optuna.create_study(study_name=STUDY, storage=opened)
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(workers + 1)
    processes = [
        context.Process(target=work, args=(storage, seed, seconds, ready))
        for seed in range(workers)
    ]
    for process in processes:
        process.start()
    ready.wait()
    started = time.monotonic()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    taken = time.monotonic() - started
    complete = len(study.get_trials(states=(TrialState.COMPLETE,)))
    optuna.delete_study(study_name=STUDY, storage=opened)
    return 60 * complete / taken


@contextmanager
def storages(folder: Path) -> Iterator[dict[str, str]]:
    """Give the storages that can be had here, by name."""
    has_postgres = postgres.programs() is not None
    place = tempfile.mkdtemp(prefix="avix-postgres-")
    with postgres.started(Path(place)) if has_postgres else nullcontext() as url:
        found = {"SQLite": f"sqlite:///{folder}/search.db", "journal": f"{folder}/journal.log"}
        yield {**found, "PostgreSQL": url} if url else found
    shutil.rmtree(place)


def main() -> None:
    """Measure, print the table, and write the figures if a file is named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of each figure (default: 10)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--output", type=Path, help="a file for the figures")
    args = parser.parse_args()
    console = plain_console()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, storages(Path(folder)) as found:
        jobs = [(name, workers) for name in found for workers in args.workers]
        rates = {
            job: trials_a_minute(found[job[0]], job[1], args.seconds)
            for job in track(jobs, "searching", console=console, transient=True)
        }
    table = Table("trials a minute", *(f"{n} workers" for n in args.workers))
    for name in found:
        table.add_row(name, *(f"{rates[name, workers]:,.0f}" for workers in args.workers))
    console.print(table)
    if args.output is not None:
        rows = [{"storage": n, "workers": w, "a_minute": rate} for (n, w), rate in rates.items()]
        args.output.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
