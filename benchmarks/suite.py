"""Every loss, every network, with seeds and baselines: trains what is missing, writes the tables.

About two hours on two cores; the same command goes on where it was stopped. Every result is kept in
docs/results.json, beside the page. ``--quick`` tries the whole of it on tiny data in some minutes
and leaves both alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from benchmarks.run import processor  # noqa: E402
from benchmarks.suite_plan import CNN, QUICK, Job, Plan, Table  # noqa: E402
from benchmarks.suite_report import Results, ranked, render  # noqa: E402

RESULT = "result.json"
BEST_LOSSES = 3


class Suite:
    """Run jobs, some at a time, and remember which have run.

    Args:
        folder: Of all runs; each has a folder in it.
        vimh_dir: Of the data sets.
        workers: How many run side by side, each on one thread.
        ledger: A file that keeps every result when the runs' folders are gone: the one in git
            lets another machine, or another day, go on.
    """

    def __init__(self, folder: Path, vimh_dir: Path, workers: int, ledger: Path) -> None:
        self.folder = folder
        self.vimh_dir = vimh_dir
        self.workers = workers
        self.ledger = ledger
        self.failed: dict[str, str] = {}
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = Lock()
        self._stopped = False

    @property
    def results(self) -> dict[str, Any]:
        """What has been run, by the job's name."""
        found = json.loads(self.ledger.read_text()) if self.ledger.exists() else {}
        for path in sorted(self.folder.glob(f"*/{RESULT}")):
            found[path.parent.name] = json.loads(path.read_text())
        return found

    def keep_results(self) -> None:
        """Write the ledger: a line a result, so that a change shows as one."""
        found = sorted(self.results.items())
        lines = [f"{json.dumps(name)}: {json.dumps(result)}" for name, result in found]
        temporary = self.ledger.with_suffix(".tmp")
        temporary.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        temporary.replace(self.ledger)

    def run(self, jobs: Sequence[Job]) -> None:
        """Run those of the jobs that have no result yet.

        Args:
            jobs: The jobs; the same one may be there more than once.
        """
        done = self.results
        todo = list(dict.fromkeys(job for job in jobs if job.name not in done))
        todo = [job for job in todo if job.name not in self.failed]
        started = time.monotonic()
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                for number, job in enumerate(pool.map(self._run, todo), start=1):
                    minutes = (time.monotonic() - started) / 60
                    left = minutes / number * (len(todo) - number)
                    state = "failed" if job.name in self.failed else "done"
                    print(f"{number}/{len(todo)} {state}: {job.name} ({left:.0f} min left)")
                    self.keep_results()
            except BaseException:
                self._stop()
                pool.shutdown(cancel_futures=True)
                raise

    def command(self, job: Job, folder: Path) -> list[str]:
        """What runs a job in a process of its own.

        Args:
            job: The job.
            folder: Its folder.
        """
        script = str(ROOT / "benchmarks" / "suite_job.py")
        return [sys.executable, script, str(folder), str(self.vimh_dir), json.dumps(asdict(job))]

    def _run(self, job: Job) -> Job:
        folder = self.folder / job.name
        shutil.rmtree(folder, ignore_errors=True)  # what is there was broken off
        folder.mkdir(parents=True)
        with (folder / "output.txt").open("wb") as output:
            with self._lock:
                if self._stopped:
                    return job
                process = subprocess.Popen(
                    self.command(job, folder),
                    cwd=ROOT,
                    env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
                self._running.add(process)
            code = process.wait()
            with self._lock:
                self._running.discard(process)
        if code != 0 and not self._stopped:
            text = (folder / "output.txt").read_text(errors="replace").strip().splitlines()
            self.failed[job.name] = text[-1] if text else f"exit code {code}"
        return job

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.kill()  # a result is written whole, at a job's end


def tables_of(plan: Plan, suite: Suite | None, results: Results) -> Iterator[Table]:
    """The tables in their order; each is run before the next is decided on.

    Args:
        plan: What there is to compare.
        suite: What runs the jobs; None: nothing is run, and the tables end where results do.
        results: What has been run, where there is no suite.
    """

    def run(table: Table) -> Results:
        if suite is None:
            return results
        print(f"\n{table.title}")
        suite.run(table.jobs)
        return suite.results

    losses = plan.of_losses()
    yield losses
    best_losses = [name for name, _ in ranked(losses, run(losses))][:BEST_LOSSES]
    if len(best_losses) < min(BEST_LOSSES, len(plan.losses)):
        return
    networks = plan.of_networks(best_losses[0])
    yield networks
    best_networks = [name for name, _ in ranked(networks, run(networks))]
    if not best_networks:
        return
    later = [
        plan.of_settings(best_networks[0], best_losses[0]),
        plan.of_best("simple_3p", best_losses, best_networks[0]),
        plan.of_best("simple 16k", best_losses, CNN),
        plan.of_long_run(best_networks[0], best_losses[0]),
    ]
    for table in later:
        yield table
        run(table)


def provenance() -> dict[str, str]:
    """What the numbers were made with."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "lightning", "numpy"))
    return {
        "Versions": versions,
        "Commit": commit or "unknown",
        "Machine": f"{processor()}, {os.cpu_count()} cores",
    }


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line.

    Args:
        arguments: Its words; None: those of this process.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny data, a few of everything")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs side by side")
    parser.add_argument("--folder", type=Path, help="of the runs (logs/suite)")
    parser.add_argument("--vimh-dir", type=Path, default=ROOT / "data-vimh", help="of the data")
    parser.add_argument("--output", type=Path, help="the page (docs/results.md)")
    parser.add_argument("--report", action="store_true", help="write the page, and run nothing")
    parser.add_argument(
        "--commands", action="store_true", help="print the trainings that are known"
    )
    given = parser.parse_args(arguments)
    given.folder = given.folder or ROOT / "logs" / ("suite-quick" if given.quick else "suite")
    quick_page = given.folder / "results.md"
    given.output = given.output or (quick_page if given.quick else ROOT / "docs" / "results.md")
    return given


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison.

    Args:
        arguments: The command line's words; None: those of this process.
    """
    given = parse(arguments)
    plan = QUICK if given.quick else Plan()
    ledger = given.output.with_suffix(".json").resolve()
    suite = Suite(given.folder.resolve(), given.vimh_dir.resolve(), given.jobs, ledger)
    if given.commands:
        for table in tables_of(plan, None, suite.results):
            for job in table.jobs:
                if job.network is not None:
                    print(shlex.join(["python", "src/train.py", *job.overrides]))
        return
    if given.report:
        tables = list(tables_of(plan, None, suite.results))
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped; the same command goes on"))
        tables = []
        for table in tables_of(plan, suite, {}):
            tables.append(table)
            write(given.output, tables, suite, plan)
    write(given.output, tables, suite, plan)
    print(f"wrote {given.output}")
    for name, reason in suite.failed.items():
        print(f"failed: {name}: {reason} ({suite.folder / name / 'output.txt'})")
    if suite.failed:
        sys.exit(1)


def write(path: Path, tables: Sequence[Table], suite: Suite, plan: Plan) -> None:
    """Write the page.

    Args:
        path: Its file.
        tables: The tables that are known.
        suite: What has been run.
        plan: What was planned.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    page = render(tables, suite.results, plan, suite.workers, provenance())
    path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
