"""Disks that are full or read-only, and two processes that want to make the same data set."""

import contextlib
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import open_dict

from src.checkpoints.checkpoint_io import AtomicCheckpointIO, load_checkpoint
from src.data.vimh_datamodule import VIMHDataModule
from src.synth.generate import generate_dataset
from src.synth.recipe import Recipe
from src.utils.errors import CheckpointError
from src.vimh.errors import VIMHError
from src.vimh.records import check_dataset
from tests.faults.driver import faults, run
from tests.faults.test_data_kills import content
from tests.faults.test_training_kills import OVERRIDES, Training
from tests.helpers import shrink

pytestmark = faults
SMALL_DISK_KB = 6000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few MB, which root can fill, and make read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_KB}k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path, leave_kb: int) -> None:
    free = shutil.disk_usage(folder).free - leave_kb * 1024
    (folder / "filler").write_bytes(bytes(free))


def make_read_only(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


@pytest.fixture
def recipe(compose_config: Any) -> Callable[[Path], Any]:
    def made(folder: Path, **changes: Any) -> Any:
        cfg = compose_config("generate_simple", "dataset.size=600")
        cfg.generate.output_dir = str(folder)
        for key, value in changes.items():
            cfg[key] = value
        return cfg

    return made


def test_generating_onto_a_full_disk(small_disk: Path, recipe: Any) -> None:
    generate_dataset(recipe(small_disk), progress=False)
    target = Recipe.from_mapping(recipe(small_disk)).directory(".")
    before = content(target)
    fill(small_disk, leave_kb=200)
    with pytest.raises(VIMHError, match=rf"{target}.*No space left.*MB are free.*make room"):
        generate_dataset(recipe(small_disk, seed=1), progress=False, overwrite=True)
    assert content(target) == before
    assert sorted(path.name for path in small_disk.iterdir()) == sorted([target.name, "filler"])


def test_the_command_ends_with_1(small_disk: Path, project_root: Path) -> None:
    fill(small_disk, leave_kb=100)
    done = subprocess.run(
        [sys.executable, "generate_vimh.py", f"generate.output_dir={small_disk}"],
        cwd=project_root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert str(small_disk) in done.stderr
    assert "MB are free" in done.stderr
    assert "Traceback" not in done.stderr


def test_generating_without_root(tmp_path: Path, recipe: Any) -> None:
    """The same by a limit on the size of files, which needs no root."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        with pytest.raises(VIMHError, match=r"File too large.*MB are free"):
            generate_dataset(recipe(tmp_path), progress=False)
        assert list(tmp_path.iterdir()) == []

    assert run(limited)


def test_read_only_folders(small_disk: Path, recipe: Any) -> None:
    path = small_disk / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)
    make_read_only(small_disk)
    with pytest.raises(VIMHError, match=rf"{small_disk}.*Read-only file system"):
        generate_dataset(recipe(small_disk), progress=False)
    with pytest.raises(CheckpointError, match=rf"{path}.*Read-only file system.*MB are free"):
        AtomicCheckpointIO().save_checkpoint({"epoch": 2}, path)
    assert load_checkpoint(path) == {"epoch": 1}


def test_training_onto_a_full_disk(small_disk: Path, compose_config: Any, data_root: Path) -> None:
    cfg = shrink(compose_config("train", *OVERRIDES), data_root)
    training = Training(cfg, small_disk / "run")
    with open_dict(cfg):
        cfg.paths.output_dir = str(training.folder)
        cfg.trainer.max_epochs = 1
    training.begin_anew()
    assert run(training.go_on)
    before = training.last.read_bytes()
    fill(small_disk, leave_kb=300)
    with open_dict(cfg):
        cfg.trainer.max_epochs = 3

    def fails() -> None:
        with pytest.raises(CheckpointError, match=r"No space left.*MB are free"):
            training.go_on()

    assert run(fails)
    assert training.last.read_bytes() == before
    (small_disk / "filler").unlink()
    assert run(training.go_on)
    assert load_checkpoint(training.last)["epoch"] == 3


def together(*work: Callable[[], None]) -> list[int]:
    """Runs all at once, each in a fork; their exit codes."""
    processes = []
    for part in work:
        if (process := os.fork()) == 0:
            code = 1
            try:
                part()
                code = 0
            finally:
                os._exit(code)
        processes.append(process)
    return [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]


def test_trainings_that_miss_the_same_data_set(tmp_path: Path, compose_config: Any) -> None:
    """One makes it, under a lock; the others wait and find it."""
    cfg = compose_config("train", "data=avix_72dss")
    cfg.data.source.root = str(tmp_path)
    from hydra.utils import instantiate

    def prepare() -> None:
        module: VIMHDataModule = instantiate(cfg.data)
        module.prepare_data()
        assert len(module.opened.train) > 0

    assert together(*[prepare] * 4) == [0, 0, 0, 0]
    (made,) = [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
    check_dataset(made)


def test_generators_of_the_same_data_set(tmp_path: Path, recipe: Any) -> None:
    """Nobody waits here: the first one is done, and the others say that it is there."""

    def generate() -> None:
        with contextlib.suppress(VIMHError):  # "is already there"
            generate_dataset(recipe(tmp_path), progress=False)

    assert together(*[generate] * 4) == [0, 0, 0, 0]
    (made,) = tmp_path.iterdir()
    check_dataset(made)
