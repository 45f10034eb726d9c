"""What the pruner of `avix_optuna` saves: the same search with it and without, for some seeds.

What was interrupted goes on by the same command, as every search does (docs/sweeps.md, where the
figures are). Arguments after `--` go to every search, such as `-- hydra.sweeper.n_trials=10`.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
import rootutils
from optuna.trial import FrozenTrial, TrialState

ROOT: Path = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from src.utils.sweep_storage import open_storage  # noqa: E402

SEARCH = ("hparams_search=avix_optuna", "experiment=avix_cnn_72dss_jnd_dg_hybrid")
# What costs time and decides nothing that is looked at here.
BARE = (
    "test=false",
    "~logger",
    "callbacks.gradient_stats=null",
    "callbacks.model_checkpoint=null",
    "callbacks.progress_bar=null",
    "+trainer.enable_checkpointing=false",
    "+trainer.enable_progress_bar=false",
)
WITHOUT = "hydra.sweeper.pruner=null"


@dataclass(frozen=True)
class Outcome:
    """What the first trials of a search took and what they found.

    Attributes:
        trials: How many they are.
        pruned: How many of these were stopped.
        epochs: Of all of them together.
        best: The best value.
    """

    trials: int
    pruned: int
    epochs: int
    best: float

    @classmethod
    def of(cls, trials: Sequence[FrozenTrial]) -> "Outcome":
        """Counts the epochs of trials by the last one that each reported."""
        values = [trial.value for trial in trials if trial.state is TrialState.COMPLETE]
        return cls(
            trials=len(trials),
            pruned=sum(trial.state is TrialState.PRUNED for trial in trials),
            epochs=sum(trial.last_step + 1 for trial in trials if trial.last_step is not None),
            best=min(value for value in values if value is not None),
        )


def search(name: str, folder: Path, overrides: Sequence[str]) -> list[FrozenTrial]:
    """Run a search to its end, or take the one that is there; its trials.

    Args:
        name: Of the study.
        folder: Where studies have their folders; what is printed goes to `<name>.log` in it.
        overrides: Of the command line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = (f"hydra.sweeper.folder={folder}", f"hydra.sweeper.study_name={name}")
    with (folder / f"{name}.log").open("a", encoding="utf-8") as log:
        subprocess.run(
            [sys.executable, "src/train.py", *SEARCH, *BARE, *settings, *overrides],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=True,
        )
    storage = open_storage(str(folder / name / "journal.log"))
    return optuna.load_study(study_name=name, storage=storage).trials


def row(seed: int, whole: Sequence[FrozenTrial], pruned: Sequence[FrozenTrial]) -> str:
    """A row of the table in Markdown; of two searches of different lengths, the first trials."""
    count = min(len(whole), len(pruned))
    without, with_pruner = Outcome.of(whole[:count]), Outcome.of(pruned[:count])
    saved = 1 - with_pruner.epochs / without.epochs
    return (
        f"| {seed} | {without.epochs:,} | {with_pruner.epochs:,} | {100 * saved:.0f} % "
        f"| {with_pruner.pruned} of {count} | {without.best:.4f} | {with_pruner.best:.4f} |"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[1, 2, 3], help="of the sampler (default: 1 2 3)"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=ROOT / "logs" / "pruning",
        help="of the studies (default: logs/pruning)",
    )
    parser.add_argument("overrides", nargs="*", help="for every search, after --")
    given = parser.parse_args(argv)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print("| sampler seed | epochs without | with pruner | saved | pruned | best without | with |")
    print("|---|---|---|---|---|---|---|")
    for seed in given.seeds:
        overrides = [*given.overrides, f"hydra.sweeper.sampler.seed={seed}"]
        whole = search(f"seed_{seed}_whole", given.folder, [*overrides, WITHOUT])
        pruned = search(f"seed_{seed}_pruned", given.folder, overrides)
        print(row(seed, whole, pruned), flush=True)


if __name__ == "__main__":
    main()
