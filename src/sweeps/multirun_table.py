"""The jobs of a multirun as a table: ``python -m src.sweeps.multirun_table FOLDER``.

A Hydra callback prints the table at the end of a multirun with Hydra's basic sweeper. The command
prints it for any multirun or study, also while it runs; without a folder, for the newest.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf

from src.utils.errors import ConfigError, was_pruned
from src.utils.strict_json import strict_json
from src.utils.terminal import take_any_text

if TYPE_CHECKING:
    from rich.table import Table

BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
JOB_FILE = "job.json"
# The metrics to show by default, where they were logged.
METRICS = ("val/mae_best", "test/mae_jnd", "test/jnd", "test/acc", "test/loss")
SEED = "seed"
MAX_NAME = 20  # letters of a job's name in a table
NUM_COLUMNS = 200  # of text, where there is no terminal


@dataclass(frozen=True)
class Job:
    """One job of a multirun."""

    name: str  # its folder, usually its number
    overrides: dict[str, str]  # value by key
    metrics: dict[str, float]  # final values by logged name; empty before the end
    num_weights: int | None  # of its network; None before the end
    seconds: float | None  # its duration; None before the end
    status: str  # "done", "failed", "pruned" or "not finished"


class MultirunTable(Callback):
    """A callback of Hydra: note the duration of each job, and print the table at the end."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def on_job_start(
        self, config: DictConfig, *, task_function: TaskFunction, **kwargs: object
    ) -> None:
        """Start the clock, in the process of the job."""
        self._started = time.monotonic()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: object) -> None:
        """Write ``job.json`` into the folder of a multirun's job."""
        if config.hydra.mode is not RunMode.MULTIRUN:
            return
        status = "done"
        if job_return.status is JobStatus.FAILED:
            status = "pruned" if was_pruned(job_return._return_value) else "failed"
        content = {
            "status": status,
            "seconds": round(time.monotonic() - self._started, 3),
        }
        path = Path(config.hydra.runtime.output_dir) / JOB_FILE
        path.write_text(strict_json(content) + "\n")

    def on_multirun_end(self, config: DictConfig, **kwargs: object) -> None:
        """Print the table, unless the sweeper has a report of its own."""
        if config.hydra.sweeper._target_ == BASIC_SWEEPER:
            print_tables(Path(config.hydra.sweep.dir))


def read_jobs(folder: Path) -> list[Job]:
    """Read the jobs of a multirun or study, in the order of their numbers.

    Raises:
        ConfigError: If there are none.
    """
    folders = [path.parents[1] for path in folder.glob("*/.hydra/overrides.yaml")]
    if not folders:
        raise ConfigError(
            f"{folder}: expected the folder of a multirun, found no job in it; they lie in "
            "logs/<task>/multiruns/<time>/ and logs/<task>/sweeps/<study>/"
        )
    numbered = all(path.name.isdigit() for path in folders)
    folders.sort(key=lambda path: (int(path.name) if numbered else 0, path.name))
    return [_read_job(path) for path in folders]


def job_table(jobs: Sequence[Job], metrics: Sequence[str]) -> Table:
    """Write a row for each job: the overrides in which jobs differ, weights, time and metrics."""
    keys = differing_keys(jobs)
    table = _table(["job", *keys], ["weights", "time", "status", *metrics])
    for name, job in zip(shown_names(jobs), jobs, strict=True):
        table.add_row(
            name,
            *(_shortened(job.overrides.get(key, "")) for key in keys),
            "" if job.num_weights is None else f"{job.num_weights:,}",
            _duration(job.seconds),
            job.status,
            *(_number(job.metrics.get(name)) for name in metrics),
        )
    return table


def shown_names(jobs: Sequence[Job]) -> list[str]:
    """Return the jobs' names, or numbers where they are long, as those of single runs are."""
    names = [job.name for job in jobs]
    long = max(map(len, names)) > MAX_NAME
    return [str(number) for number in range(1, len(names) + 1)] if long else names


def seed_table(jobs: Sequence[Job], metrics: Sequence[str]) -> Table | None:
    """Write means and standard deviations over the successful jobs that differ in their seed only.

    None where the jobs do not differ in their seeds.
    """
    keys = differing_keys(jobs)
    if SEED not in keys:
        return None
    others = [key for key in keys if key != SEED]
    groups: dict[tuple[str, ...], list[Job]] = {}
    for job in jobs:
        if job.metrics:
            groups.setdefault(tuple(job.overrides.get(key, "") for key in others), []).append(job)
    table = _table(others, ["seeds", *metrics])
    for values, group in groups.items():
        cells = [_spread([j.metrics[n] for j in group if n in j.metrics]) for n in metrics]
        table.add_row(*values, str(len(group)), *cells)
    return table


def differing_keys(jobs: Sequence[Job]) -> list[str]:
    """Return the overridden keys whose values are not the same in all jobs, in their order."""
    keys = dict.fromkeys(key for job in jobs for key in job.overrides)
    return [key for key in keys if len({job.overrides.get(key) for job in jobs}) > 1]


def print_tables(folder: Path, metrics: Sequence[str] | None = None) -> None:
    """Print the table of the jobs, and the table over seeds where there is more than one.

    Without names of metrics, the usual ones that were logged are shown.

    Raises:
        ConfigError: If there are no jobs, or none logged one of the metrics.
    """
    from src.utils.rich_utils import plain_console, print_table

    jobs = read_jobs(folder)
    logged = {name for job in jobs for name in job.metrics}
    shown = [name for name in METRICS if name in logged] if metrics is None else list(metrics)
    if metrics and (unknown := [name for name in metrics if name not in logged]):
        raise ConfigError(f"No job logged {unknown}; there are: {', '.join(sorted(logged))}")
    console = plain_console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = plain_console(width=NUM_COLUMNS)
    numbers = shown_names(jobs)
    for number, job in zip(numbers, jobs, strict=True):
        if number != job.name:
            console.print(f"{number:>3}  {job.name}", soft_wrap=True)
    print_table(console, job_table(jobs, shown))
    if (over_seeds := seed_table(jobs, shown)) is not None:
        print_table(console, over_seeds)
    console.print(str(folder), soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; None takes the arguments of this process."""
    take_any_text()
    parser = argparse.ArgumentParser(description="The jobs of a multirun as a table.")
    parser.add_argument(
        "folder", type=Path, nargs="?", help="of the multirun or study; default: the newest"
    )
    parser.add_argument("--metrics", help="names separated by commas, such as test/jnd,test/loss")
    given = parser.parse_args(arguments)
    try:
        folder = given.folder or newest_multirun(Path("logs"))
        print_tables(folder, given.metrics.split(",") if given.metrics else None)
    except ConfigError as error:
        sys.exit(f"error: {error}")


def newest_multirun(logs: Path) -> Path:
    """Return the multirun or study under ``logs`` that was written last.

    Raises:
        ConfigError: If there is none.
    """
    found = [*logs.glob("*/multiruns/*/"), *logs.glob("*/sweeps/*/")]
    if not found:
        raise ConfigError(f"There is no multirun under {logs}; name its folder.")
    return max(found, key=lambda path: path.stat().st_mtime)


def _read_job(folder: Path) -> Job:
    overrides = OmegaConf.load(folder / ".hydra" / "overrides.yaml")
    pairs = (str(override).partition("=") for override in overrides)
    metrics_file, job_file = folder / "metrics.json", folder / JOB_FILE
    result = json.loads(metrics_file.read_text()) if metrics_file.exists() else {}
    # A job that still runs has no such file; nor have jobs of earlier versions.
    ended = json.loads(job_file.read_text()) if job_file.exists() else {}
    return Job(
        name=folder.name,
        overrides={key.lstrip("+"): value for key, _, value in pairs},
        metrics={
            name: math.nan if value is None else value  # JSON has no NaN
            for name, value in result.get("metrics", {}).items()
        },
        num_weights=result.get("num_weights"),
        seconds=ended.get("seconds"),
        status=ended.get("status", "done" if result else "not finished"),
    )


def _table(names: Sequence[str], figures: Sequence[str]) -> Table:
    from rich.table import Table

    table = Table()
    for column in names:
        table.add_column(column, overflow="fold")
    for column in figures:
        table.add_column(column, no_wrap=True)
    return table


def _shortened(value: str) -> str:
    """Shorten a suggested number to four digits."""
    try:
        return f"{float(value):.4g}" if len(value) > 8 else value
    except ValueError:
        return value


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _spread(values: Sequence[float]) -> str:
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return _number(finite[0]) if finite else ""
    return f"{fmean(finite):.4g} ± {stdev(finite):.2g}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


if __name__ == "__main__":
    main()
