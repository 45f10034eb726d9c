"""What the pruner of `avix_optuna` saves, for some seeds of the sampler.

For each seed there is a search without pruner and one with it. They differ in more than the
pruner, since what was pruned decides what the sampler suggests next; so the pruner is also applied
to the trials of the search without it ("same trials").

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
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

ROOT: Path = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from src.sweeps.storage import open_storage  # noqa: E402

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
        """Count the epochs of trials by the last one that each reported."""
        values = [trial.value for trial in trials if trial.state is TrialState.COMPLETE]
        return cls(
            trials=len(trials),
            pruned=sum(trial.state is TrialState.PRUNED for trial in trials),
            epochs=sum(trial.last_step + 1 for trial in trials if trial.last_step is not None),
            best=min(value for value in values if value is not None),
        )


def search(name: str, folder: Path, overrides: Sequence[str]) -> None:
    """Run a search to its end; one that is there goes on.

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


def load(name: str, folder: Path) -> list[FrozenTrial]:
    """The trials of a search that have ended, by their numbers."""
    storage = open_storage(str(folder / name / "journal.log"))
    trials = optuna.load_study(study_name=name, storage=storage).trials
    return [trial for trial in trials if trial.state.is_finished()]


def replayed(trials: Sequence[FrozenTrial], pruner: BasePruner) -> list[FrozenTrial]:
    """The same trials, each ended where the pruner would have ended it.

    Args:
        trials: Of a search without pruner.
        pruner: Sees them one after the other, as in a search with one worker.
    """
    study = optuna.create_study(pruner=pruner)
    for old in trials:
        trial = study.ask()
        pruned = False
        for step, value in sorted(old.intermediate_values.items()):
            trial.report(value, step)
            if pruned := trial.should_prune():
                break
        study.tell(trial, None if pruned else old.value, TrialState.PRUNED if pruned else old.state)
    return study.trials


def pruner_of(overrides: Sequence[str]) -> BasePruner:
    """The pruner that a search of these overrides has."""
    with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "configs")):
        cfg = compose("train", [*SEARCH, *overrides], return_hydra_config=True)
    pruner = instantiate(cfg.hydra.sweeper.pruner)
    assert isinstance(pruner, BasePruner)
    return pruner


def cells(whole: Sequence[FrozenTrial], pruned: Sequence[FrozenTrial]) -> str:
    """Epochs saved, trials pruned and best values; of different lengths, of the first trials."""
    count = min(len(whole), len(pruned))
    without, with_pruner = Outcome.of(whole[:count]), Outcome.of(pruned[:count])
    saved = 1 - with_pruner.epochs / without.epochs
    return (
        f"{without.epochs:,} | {with_pruner.epochs:,} | {100 * saved:.0f} % "
        f"| {with_pruner.pruned} of {count} | {without.best:.4f} | {with_pruner.best:.4f} |"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[1, 2, 3], help="of the sampler (default: 1 2 3)"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=ROOT / "logs" / "pruning",
        help="of the studies (default: logs/pruning)",
    )
    parser.add_argument("--show", action="store_true", help="what is there, without searching on")
    parser.add_argument("overrides", nargs="*", help="for every search, after --")
    given = parser.parse_args(argv)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = pruner_of(given.overrides)
    print(
        "| sampler seed | | epochs without | with pruner | saved | pruned | best without | with |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for seed in given.seeds:
        whole_name, pruned_name = f"seed_{seed}_whole", f"seed_{seed}_pruned"
        if not given.show:
            overrides = [*given.overrides, f"hydra.sweeper.sampler.seed={seed}"]
            search(whole_name, given.folder, [*overrides, WITHOUT])
            search(pruned_name, given.folder, overrides)
        whole = load(whole_name, given.folder)
        print(f"| {seed} | same trials | {cells(whole, replayed(whole, pruner))}")
        if (given.folder / pruned_name).is_dir():
            print(
                f"| {seed} | its own | {cells(whole, load(pruned_name, given.folder))}", flush=True
            )


if __name__ == "__main__":
    main()
