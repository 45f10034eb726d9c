"""SIGKILL while training and saving: a run that goes on ends as one that was never interrupted."""

import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, open_dict
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import src.train
from src.checkpoints.checkpoint_io import load_checkpoint
from tests.faults.driver import NUM_KILLS, SEED, Ending, draw_ending, faults, measure, run
from tests.helpers import shrink

pytestmark = faults

# What a checkpoint has to hold besides the weights depends on all of these.
OVERRIDES = (
    "experiment=avix_cnn_72dss_jnd_dg_hybrid",  # dropout: draws random numbers
    "model/scheduler=plateau",
    "model.scheduler.patience=0",
    "model.scheduler.factor=0.5",
    "callbacks.early_stopping.patience=3",
    "callbacks.last_checkpoint.min_interval_s=0",  # the whole run is shorter than the default
    "trainer.check_val_every_n_epoch=1",
    "trainer.log_every_n_steps=3",
    "logger.tensorboard.log_graph=false",
    "test=false",
)


class Training:
    """One run in one folder, so that paths in checkpoints are the same in every trial."""

    def __init__(self, cfg: DictConfig, folder: Path) -> None:
        self.cfg = cfg
        self.folder = folder
        self.last = folder / "checkpoints" / "last.ckpt"

    def begin_anew(self, every_n_train_steps: int | None = None) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        with open_dict(self.cfg):
            self.cfg.callbacks.last_checkpoint.every_n_train_steps = every_n_train_steps

    def go_on(self) -> None:
        """Trains from last.ckpt, or from the start where there is none; in a fork."""
        src.train.report_run = lambda *_, **__: None  # baselines and tables: nothing of them here
        with open_dict(self.cfg):
            self.cfg.ckpt_path = str(self.last) if self.last.exists() else None
        src.train.train(self.cfg)

    def check_files(self) -> None:
        """What a kill has left can be read."""
        for path in self.folder.glob("checkpoints/*.ckpt"):
            load_checkpoint(path)
        if list(self.folder.glob("events.*")):
            scalars(self.folder)

    def outcome(self) -> dict[str, Any]:
        """All that there is to compare at the end."""
        return {
            "checkpoints": {
                path.name: load_checkpoint(path) for path in self.folder.glob("checkpoints/*.ckpt")
            },
            "scalars": scalars(self.folder),
        }


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows: (step, value) by tag."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    tags = events.Tags()["scalars"]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


def differences(ours: Any, theirs: Any, where: str = "") -> list[str]:
    """Where two nested containers differ; tensors to the last bit."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = dict.fromkeys([*ours, *theirs])
        missing = [f"{where}/{key}" for key in keys if key not in ours or key not in theirs]
        shared = (key for key in keys if key in ours and key in theirs)
        return missing + [
            found
            for key in shared
            for found in differences(ours[key], theirs[key], f"{where}/{key}")
        ]
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        return differences(dict(enumerate(ours)), dict(enumerate(theirs)), where)
    if isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor):
        same = ours.dtype == theirs.dtype and torch.equal(ours, theirs)
        return [] if same else [where]
    return [] if ours == theirs else [f"{where}: {ours!r} and {theirs!r}"]


def comparable(outcome: dict[str, Any]) -> dict[str, Any]:
    """Without files of epochs that are no longer the best: a kill may come before their removal."""
    checkpoints = outcome["checkpoints"]
    for checkpoint in checkpoints.values():
        # Types are checked in tests by drawing from Python's generator (beartype).
        del checkpoint["random_states"]["python"]
    (state,) = (
        state
        for key, state in checkpoints["last.ckpt"]["callbacks"].items()
        if key.startswith("ModelCheckpoint")
    )
    best = Path(state["best_model_path"]).name
    return outcome | {"checkpoints": {name: checkpoints[name] for name in ("last.ckpt", best)}}


@pytest.fixture
def training(compose_config: Any, data_root: Path, tmp_path: Path) -> Training:
    cfg = shrink(compose_config("train", *OVERRIDES), data_root)
    folder = tmp_path / "run"
    with open_dict(cfg):
        cfg.paths.output_dir = str(folder)
        cfg.trainer.max_epochs = 8
        cfg.data.batch_size = 10
    return Training(cfg, folder)


def test_the_comparison_sees_what_it_is_for() -> None:
    ours = {"a": [torch.zeros(2), 1], "b": 2}
    assert differences(ours, {"a": [torch.zeros(2), 1], "b": 2}) == []
    theirs = {"a": [torch.tensor([0.0, 1e-30]), 3], "c": 2}
    assert differences(ours, theirs) == ["/b", "/c", "/a/0", "/a/1: 1 and 3"]


def try_endings(training: Training, draw: Callable[[random.Random, float, int], Ending]) -> None:
    training.begin_anew()
    assert run(training.go_on)  # makes the data set
    training.begin_anew()
    duration_s, num_calls = measure(training.go_on)
    expected = comparable(training.outcome())
    chance, interrupted = random.Random(SEED), 0
    while interrupted < NUM_KILLS:
        training.begin_anew(chance.choice([None, 1, 4]))
        # Now and then the run that goes on is interrupted as well.
        while not run(training.go_on, draw(chance, duration_s, num_calls)):
            interrupted += 1
            training.check_files()
            if not training.last.exists():
                training.begin_anew()  # nothing to go on with: a new run, in a folder of its own
            if chance.random() < 0.6:
                assert run(training.go_on)
                break
        found = comparable(training.outcome())
        different = differences(found, expected)
        assert not different, f"after {interrupted} interruptions:\n" + "\n".join(different)


def test_killed(training: Training) -> None:
    try_endings(training, draw_ending)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop(training: Training, number: int) -> None:
    def draw(chance: random.Random, duration_s: float, num_calls: int) -> Ending:
        return Ending(after_s=chance.uniform(0, duration_s), number=number)

    try_endings(training, draw)
