"""Measures the budgets of docs: a table on screen and benchmarks/results.json. Always exits with 0.

Every row is measured in a process of its own, one after the other, as medians of interleaved pairs.
`--quick` takes under two minutes on two cores; `--only NAME` measures one group of rows.
"""

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import rootutils

ROOT: Path = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from benchmarks.measure import Budget, Row  # noqa: E402

# Modules of benchmarks/rows; each has `measure(quick: bool, work: Path) -> list[Row]`.
GROUPS = (
    "training", "data_path", "opening", "generating", "importing", "gradient_stats", "startup",
    "predicting", "exported", "plates", "faust",
)  # fmt: skip
GROUP_TIMEOUT_S = 1800
PACKAGES = ("torch", "lightning", "hydra-core", "numpy", "scipy", "torchmetrics")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer and smaller pairs, < 2 minutes")
    parser.add_argument("--only", choices=GROUPS, action="append", help="this group (repeatable)")
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "benchmarks" / "results.json",
        help="where the JSON goes (default: benchmarks/results.json)",
    )
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)  # a row's own process
    return parser.parse_args()


def measure_here(group: str, work: Path, answer: Path, quick: bool) -> None:
    """Measure one group in this process and write its rows to a file."""
    rows = importlib.import_module(f"benchmarks.rows.{group}").measure(quick, work)
    answer.write_text(json.dumps([row.to_dict() for row in rows]))


def measure_apart(group: str, work: Path, quick: bool) -> list[Row]:
    """Measure one group in a fresh process; a failure there becomes a row that names it."""
    answer = work / f"{group}.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "run.py")]
    command += ["--measure", group, str(work), str(answer)] + ["--quick"] * quick
    output, errors = work / f"{group}.out", work / f"{group}.err"
    try:
        with output.open("w") as stdout, errors.open("w") as stderr:
            subprocess.run(
                command,
                cwd=ROOT,
                # The progress bar draws as on a terminal: it is one of the default callbacks. The
                # rows import torch before src, which would come too late with its own default.
                env={
                    "OMP_WAIT_POLICY": "passive",
                    **os.environ,
                    "TTY_COMPATIBLE": "1",
                    "TTY_INTERACTIVE": "1",
                },
                stdout=stdout,
                stderr=stderr,
                check=True,
                timeout=GROUP_TIMEOUT_S,
            )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        lines = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = (lines[-1] if lines else str(error))[:300]
        return [Row(group, "", Budget("at least", 0.0), failure=reason)]
    return [Row.from_dict(fields) for fields in json.loads(answer.read_text())]


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "python": platform.python_version(),
    }


def processor() -> str:
    """The processor's own name where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """The checkout's commit, with "-dirty" where files differ from it; None outside git."""
    described = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or None


def table(rows: list[Row], title: str) -> Table:
    """The rows for the screen."""
    shown = Table(title=title)
    for heading in ("what", "against", "measured", "spread", "budget", ""):
        shown.add_column(heading, justify="right" if heading in {"measured", "spread"} else "left")
    for row in rows:
        if row.ratio is None or row.spread is None:
            shown.add_row(row.name, row.against, "-", "-", "-", f"not measured: {row.failure}")
            continue
        spread = f"{row.spread[0]:.3g}…{row.spread[1]:.3g}"
        unit = f" {row.budget.unit}" if row.budget.unit else ""
        word = "[green]within[/]" if row.within_budget else "[red]outside[/]"
        shown.add_row(
            row.name, row.against, f"{row.ratio:.3g}{unit}", spread, str(row.budget), word
        )
    return shown


def main() -> None:
    """Measure all groups, print the table and write the JSON."""
    args = arguments()
    if args.measure:
        group, work, answer = args.measure
        measure_here(group, Path(work), Path(answer), args.quick)
        return
    console = Console()
    started = time.perf_counter()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="avix-bench-") as folder:
        for group in args.only or GROUPS:
            console.print(f"measuring {group} …")
            rows += measure_apart(group, Path(folder), args.quick)
    seconds = time.perf_counter() - started
    console.print(table(rows, f"budgets ({'quick' if args.quick else 'full'}, {seconds:.0f} s)"))
    result = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "quick": args.quick,
        "seconds": round(seconds, 1),
        "machine": machine(),
        "versions": {name: version(name) for name in PACKAGES},
        "rows": [row.to_json() for row in rows],
    }
    args.output.write_text(
        json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    console.print(f"wrote {args.output}")


if __name__ == "__main__":
    main()
