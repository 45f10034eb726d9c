"""Trains the networks on CIFAR-10 and CIFAR-100, one after the other, and writes a report.

What is done already is not done again, and what was interrupted goes on from its last checkpoint:
the same command is also how to go on. A run that fails is reported and the next one starts.
Arguments after `--` go to every training, such as `-- data.source.root=/my/cifar seed=1`.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rootutils

ROOT: Path = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

QUICK = (
    "trainer.max_epochs=1",
    "+trainer.limit_train_batches=10",
    "+trainer.limit_val_batches=5",
    "+trainer.limit_test_batches=5",
)
STATE = "suite.json"  # in a run's folder: its command and how it ended


@dataclass(frozen=True)
class Run:
    """One training of the suite."""

    name: str
    data: str
    experiment: str
    model: str | None = None  # None: the experiment's own

    @property
    def overrides(self) -> list[str]:
        """What the command line says, but for the folder."""
        model = [f"model={self.model}", f"tags=[{self.data},{self.model}]"] if self.model else []
        return [f"experiment={self.experiment}", *model]


RUNS = (
    Run("cifar10_cnn_64k", "cifar10", "cifar10_benchmark_cnn"),
    Run("cifar10_convnext_64k", "cifar10", "cifar10_convnext_64k_optimized"),
    Run("cifar10_convnext_128k", "cifar10", "cifar10_convnext_128k_optimized"),
    Run("cifar10_convnext_210k", "cifar10", "cifar10_benchmark_convnext"),
    Run("cifar10_vit_210k", "cifar10", "cifar10_benchmark_vit"),
    Run("cifar10_efficientnet_210k", "cifar10", "cifar10_benchmark_efficientnet"),
    Run("cifar100_cnn_64k", "cifar100", "cifar100_benchmark_cnn"),
    Run("cifar100_convnext_210k", "cifar100", "cifar100_benchmark_convnext"),
    Run("cifar100_vit_210k", "cifar100", "cifar100_benchmark_cnn", "cifar100_vit_210k"),
    Run("cifar100_efficientnet_210k", "cifar100", "cifar100_benchmark_cnn",
        "cifar100_efficientnet_210k"),
    Run("cifar100_sdn_1m", "cifar100", "cifar100_benchmark_cnn", "cifar100_sdn_1m"),
    Run("cifar100_cnn_1m", "cifar100", "cifar100_benchmark_cnn", "cifar100_cnn_1m"),
    Run("cifar100_convnext_1m", "cifar100", "cifar100_benchmark_convnext", "cifar100_convnext_1m"),
    Run("cifar100_coarse_cnn_64k", "cifar100_coarse", "cifar100_coarse_cnn"),
    Run("cifar100_convnext_10m", "large", "cifar100_benchmark_convnext", "cifar100_convnext_10m"),
    Run("cifar100mh_cnn_64k", "cifar100mh", "cifar100mh_cnn"),
    Run("cifar100mh_convnext_210k", "cifar100mh", "cifar100mh_convnext"),
    Run("cifar100mh_vit_210k", "cifar100mh", "cifar100mh_vit"),
    Run("cifar100mh_efficientnet_210k", "cifar100mh", "cifar100mh_efficientnet"),
)  # fmt: skip
SETS = {
    "cifar10": ("cifar10",),
    "cifar100": ("cifar100", "cifar100_coarse"),
    "both": ("cifar10", "cifar100", "cifar100_coarse"),
    "all": ("cifar10", "cifar100", "cifar100_coarse", "cifar100mh", "large"),
}


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--set", choices=SETS, default="both", help="which runs (default: both)")
    parser.add_argument("--only", action="append", help="this run alone, by its name (repeatable)")
    parser.add_argument("--quick", action="store_true", help="one epoch of ten batches each")
    parser.add_argument(
        "--folder",
        type=Path,
        default=ROOT / "logs" / "cifar_suite",
        help="of the runs and of report.md (default: logs/cifar_suite)",
    )
    parser.add_argument("overrides", nargs="*", help="for every training, after --")
    parsed = parser.parse_args(argv)
    if unknown := set(parsed.only or ()) - {run.name for run in RUNS}:
        parser.error(f"no run is called {', '.join(sorted(unknown))}")
    return parsed


def chosen(which: str, only: Iterable[str] | None) -> list[Run]:
    """The runs of a set, or those that are named."""
    if only:
        return [run for run in RUNS if run.name in set(only)]
    return [run for run in RUNS if run.data in SETS[which]]


def command_of(run: Run, overrides: Sequence[str]) -> list[str]:
    """What is typed to repeat a run."""
    return ["src/train.py", *run.overrides, *overrides]


def state_of(folder: Path) -> dict[str, Any]:
    """What is known of a run; empty where it never started."""
    path = folder / STATE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def train(run: Run, folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Train, or go on, unless it is done; what went wrong is in the answer and in `output.log`."""
    command, before = command_of(run, overrides), state_of(folder)
    if before.get("command") == command and before["status"] == "done":
        return before
    last = folder / "checkpoints" / "last.ckpt"
    going_on = before.get("command") == command and last.is_file()
    if folder.exists() and not going_on:
        shutil.rmtree(folder)  # an old last.ckpt would be taken for this command's
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        "command": command,
        "status": "started",
        "seconds": before["seconds"] if going_on else 0.0,
    }
    write_state(folder, state)
    started = time.monotonic()
    with (folder / "output.log").open("a" if going_on else "w", encoding="utf-8") as log:
        done = subprocess.run(
            [
                sys.executable,
                *command,
                f"hydra.run.dir={folder}",
                "extras.print_config=false",
                *([f"ckpt_path={last}"] if going_on else []),
            ],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    seconds = state["seconds"] + time.monotonic() - started
    whole = done.returncode == 0 and (folder / "metrics.json").is_file()
    state |= {"status": "done" if whole else "failed", "seconds": seconds}
    write_state(folder, state)
    return state


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Whole or not at all: a kill leaves the old state."""
    new = folder / f"{STATE}.new"
    new.write_text(json.dumps(state, indent=2), encoding="utf-8")
    new.replace(folder / STATE)


def report(runs: Sequence[Run], folder: Path) -> str:
    """The table of all runs in Markdown."""
    lines = [
        "# CIFAR suite",
        "",
        "Shares of right classes on the test file, of the checkpoint that was best on a tenth of",
        "the train file. With several heads: the mean over heads, and each.",
        "",
        "| run | weights | test | validation | minutes | state |",
        "|---|---|---|---|---|---|",
    ]
    failed = []
    for run in runs:
        state = state_of(folder / run.name)
        status = state.get("status", "not run")
        minutes = f"{state['seconds'] / 60:.1f}" if "seconds" in state else "–"
        cells = ["–", "–", "–"]
        if status == "done":
            cells = figures(json.loads((folder / run.name / "metrics.json").read_text()))
        elif status != "not run":
            failed.append(f"- `{run.name}`: {last_words(folder / run.name)}")
        lines.append(f"| `{run.name}` | {' | '.join(cells)} | {minutes} | {status} |")
    if failed:
        lines += ["", "Not finished (the whole of it is in each run's `output.log`):", "", *failed]
    return "\n".join([*lines, ""])


def figures(results: dict[str, Any]) -> list[str]:
    """Weights, test and validation accuracy as cells of the table."""
    metrics = results["metrics"]
    heads = [f"{name} {100 * metrics[f'test/{name}_acc']:.1f}" for name in results["parameters"]]
    several = f" ({', '.join(heads)})" if len(heads) > 1 else ""
    return [
        f"{results['num_weights']:,}",
        f"{100 * metrics['test/acc']:.1f} %{several}",
        f"{100 * metrics['val/acc_best']:.1f} %",
    ]


def last_words(folder: Path) -> str:
    """The last line that a run wrote, which names the mistake."""
    log = folder / "output.log"
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    lines = [line.strip() for line in lines if line.strip()]
    errors = [line for line in lines if "Error" in line or line.startswith("error:")]
    return (errors or lines or ["nothing was written"])[-1][:200]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the suite; 1 where a run failed."""
    options = arguments(argv)
    folder = options.folder.resolve() / ("quick" if options.quick else "full")
    runs = chosen(options.set, options.only)
    overrides = [*(QUICK if options.quick else ()), *options.overrides]
    failures = 0
    for number, run in enumerate(runs, start=1):
        print(f"{number}/{len(runs)} {run.name} ... ", end="", flush=True)
        state = train(run, folder / run.name, overrides)
        failures += state["status"] != "done"
        print(f"{state['status']}, {state['seconds'] / 60:.1f} min", flush=True)
        # After each run, so that there is a report whenever it is stopped.
        (folder / "report.md").write_text(report(runs, folder), encoding="utf-8")
    print(f"\n{(folder / 'report.md').read_text(encoding='utf-8')}\n{folder / 'report.md'}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
