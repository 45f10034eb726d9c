"""Start of `src/train.py` to its first step against importing lightning and torch alone."""

import subprocess
import sys
from pathlib import Path

import rootutils

from benchmarks.measure import Budget, Row, interleaved

ROOT = rootutils.find_root(indicator=".project-root")
AT_MOST = Budget("at most", 2.0, "s more")


def run(*command: str) -> None:
    """Run a Python command line in a fresh process."""
    subprocess.run(
        [sys.executable, *command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=300
    )


def measure(quick: bool, work: Path) -> list[Row]:
    """The difference in seconds; the data set is there before."""
    train = (
        "src/train.py",
        "experiment=avix_quick",
        f"paths.log_dir={work}/logs",
        f"paths.vimh_dir={work}/data",
        f"hydra.run.dir={work}/logs/startup",
        "+callbacks.first_step._target_=benchmarks.fit.ExitAfterFirstStep",
    )
    seconds = interleaved(
        lambda: run(*train),
        lambda: run("-c", "import lightning, torch"),
        pairs=3 if quick else 7,
    )
    figures = [a - b for a, b in zip(*seconds, strict=True)]
    detail = {"seconds": min(seconds[0]), "seconds_imports": min(seconds[1])}
    name = "train.py to its first step"
    return [Row(name, "import lightning, torch", AT_MOST, figures, detail)]
