"""Puts runs side by side: ``python src/compare.py RUN RUN...``; without RUN the two newest.

usage: python src/compare.py [RUN ...] [--metrics NAMES] [--output FOLDER]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from src.utils.errors import ConfigError  # noqa: E402
from src.utils.terminal import take_any_text  # noqa: E402


def compare(
    folders: Sequence[Path], output: Path | None = None, metrics: Sequence[str] | None = None
) -> list[Path]:
    """Print what differs between runs and their figures, and write page, table, JSON and curves.

    Args:
        folders: The runs; the folder of a multirun stands for its jobs. None: the two newest.
        output: Where to write; None: ``logs/compare/<time>``.
        metrics: The metrics to print; None: those of the test.

    Returns:
        The files.

    Raises:
        ConfigError: If a folder is no run's, or no run has one of the metrics.
    """
    # Here, so that --help does not wait for them.
    from src.evaluation.presentation.run_comparison import (
        Comparison,
        print_comparison_of_runs,
        write_comparison,
    )
    from src.evaluation.scoring.runs import newest_runs, read_runs
    from src.utils.rich_utils import plain_console
    from src.utils.words import shown_path

    found = Comparison(read_runs(folders or newest_runs(ROOT / "logs/train/runs", 2)), metrics)
    if unknown := [name for name in found.names if name not in found.logged]:
        raise ConfigError(f"No run has {unknown}; there are: {', '.join(sorted(found.logged))}")
    console = plain_console()
    print_comparison_of_runs(console, found)
    now = f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
    files = write_comparison(output or ROOT / "logs" / "compare" / now, found)
    for path in files:
        console.print(f"wrote {shown_path(path)}", soft_wrap=True)
    return files


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; None takes the arguments of this process."""
    take_any_text()
    parser = argparse.ArgumentParser(description="Puts runs side by side.")
    parser.add_argument(
        "runs",
        metavar="RUN",
        type=Path,
        nargs="*",
        help="folders of runs, or of multiruns for all their jobs; default: the two newest runs",
    )
    parser.add_argument("--metrics", help="names separated by commas, such as test/jnd,test/loss")
    parser.add_argument("--output", type=Path, help="folder to write to; default: logs/compare/")
    given = parser.parse_args(arguments)
    try:
        compare(given.runs, given.output, given.metrics.split(",") if given.metrics else None)
    except ConfigError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
