"""ckpt_path=last: which run, which config, which folder. tests/faults has kills at any moment."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from omegaconf import OmegaConf, open_dict

from src.checkpoints.checkpoint_io import load_checkpoint
from src.checkpoints.resume import (
    LOCK,
    apply_changes,
    hydra_subdir,
    merge_overrides,
    newest_run,
    remove_if_nothing_began,
    run_dir,
    run_folder,
)
from src.utils.errors import ConfigError


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "train" / "runs"
    for name, has_checkpoint in (("2026-01-01_00_z", True), ("2026-01-02_00", True), ("b", False)):
        (folder / name / "checkpoints").mkdir(parents=True)
        if has_checkpoint:
            (folder / name / "checkpoints" / "last.ckpt").touch()
    return folder


def test_the_newest_run_with_a_checkpoint_goes_on(runs: Path) -> None:
    assert newest_run(runs) == runs / "2026-01-02_00"
    assert run_dir("last", str(runs), "new") == str(runs / "2026-01-02_00")
    for other in (None, "some/file.ckpt"):
        assert run_dir(other, str(runs), "new") == str(runs / "new")
    assert run_dir("last", str(runs / "none"), "new") == str(runs / "none" / "new")


def test_a_run_that_is_named_goes_on_though_another_is_newer(
    runs: Path, monkeypatch, compose_config
) -> None:
    older = runs / "2026-01-01_00_z"
    assert run_dir(str(older), str(runs), "new") == str(older)
    monkeypatch.chdir(runs.parent)
    assert run_dir("runs/2026-01-01_00_z/", str(runs), "new") == str(older)
    assert run_dir("runs/b", str(runs), "new") == str(runs / "new")  # nothing to go on from
    cfg = compose_config("train")
    with open_dict(cfg):
        cfg.ckpt_path = str(older)
    with pytest.raises(ConfigError, match=r"leave hydra.run.dir alone"), run_folder(cfg):
        pass


def test_hydra_files_of_a_run_that_goes_on_are_kept(tmp_path: Path) -> None:
    for name in (".hydra", ".hydra_2", ".hydra_3"):
        assert hydra_subdir(str(tmp_path)) == name
        (tmp_path / name).mkdir()


def test_the_command_line_comes_last() -> None:
    said = ["experiment=a", "trainer.max_epochs=3", "+trainer.x=1", "~callbacks"]
    now = ["trainer.max_epochs=9", "+trainer.x=2", "ckpt_path=last"]
    assert merge_overrides(said, now) == [
        *("experiment=a", "~callbacks", "trainer.max_epochs=9", "+trainer.x=2"),
    ]


def test_only_what_the_command_line_changes_is_changed() -> None:
    saved = {"a": {"x": 1, "edited": "then"}, "gone": 1, "kept": 2}
    without = {"a": {"x": 1, "edited": "now"}, "gone": 1, "kept": 2, "added to files": 3}
    with_it = {"a": {"x": 5, "edited": "now"}, "kept": 2, "added to files": 3, "new": 4}
    assert apply_changes(saved, without, with_it) == {
        "a": {"x": 5, "edited": "then"},
        "kept": 2,
        "new": 4,
    }


def test_without_a_run_it_says_so(compose_config, tmp_path: Path) -> None:
    cfg = compose_config("train", "ckpt_path=last")
    with pytest.raises(ConfigError, match="no run in"), run_folder(cfg):
        pass


def test_a_run_that_is_at_work_is_left_alone(compose_config, tmp_path: Path) -> None:
    cfg = compose_config("train")
    with (
        FileLock(tmp_path / LOCK),
        pytest.raises(ConfigError, match="still at work"),
        run_folder(cfg),
    ):
        pass
    with run_folder(cfg) as same:
        assert same is cfg


def start(root: Path, *arguments: str) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "300"}
    return subprocess.Popen(
        [sys.executable, "src/train.py", *arguments],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(ready: Callable[[], bool], process: subprocess.Popen) -> None:
    while process.poll() is None and not ready():
        time.sleep(0.1)


@pytest.mark.slow
def test_interrupted_and_gone_on_with(project_root: Path, tmp_path: Path) -> None:
    runs, logs = tmp_path / "logs/train/runs", f"paths.log_dir={tmp_path}/logs"
    first = start(
        project_root,
        *("experiment=digits_cnn", "trainer.max_epochs=10000", "trainer.accelerator=cpu"),
        *(logs, f"paths.vimh_dir={tmp_path}/data", "extras.print_config=false"),
        *("callbacks.progress_bar=null", "+trainer.enable_progress_bar=false"),
    )
    wait_for(lambda: newest_run(runs) is not None, first)
    refused = start(project_root, "ckpt_path=last", logs)
    said, _ = refused.communicate()
    assert refused.returncode == 1
    assert "still at work" in said
    first.send_signal(signal.SIGINT)
    said, _ = first.communicate()
    assert first.returncode == 130, said
    (run,) = runs.iterdir()
    assert f"go on with: python src/train.py ckpt_path={run}\n" in said
    last = run / "checkpoints" / "last.ckpt"

    second = start(project_root, f"ckpt_path={run}")
    saved = last.stat().st_mtime_ns
    wait_for(lambda: last.stat().st_mtime_ns > saved, second)
    second.send_signal(signal.SIGTERM)
    said, _ = second.communicate()
    assert second.returncode == 143, said
    assert "last.ckpt" in said

    epochs = load_checkpoint(last)["epoch"] + 2
    third = start(project_root, "ckpt_path=last", logs, f"trainer.max_epochs={epochs}")
    said, _ = third.communicate()
    assert third.returncode == 0, said
    assert list(runs.iterdir()) == [run]
    assert (run / "metrics.json").is_file()
    # .hydra_2 is that of the process that was refused
    configs = [OmegaConf.load(run / name / "config.yaml") for name in (".hydra", ".hydra_4")]
    with open_dict(configs[0]):
        configs[0].trainer.max_epochs = epochs
        configs[0].ckpt_path = str(last)
    assert configs[0] == configs[1]
    assert f"max_epochs: {epochs}\n" in (run / "hparams.yaml").read_text()


@pytest.mark.parametrize("made", [None, "metrics.json", "checkpoints", ".hydra_2"])
def test_only_a_folder_in_which_nothing_began_is_removed(made: str | None, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / ".hydra").mkdir(parents=True)
    for name in ("train.log", "config_tree.log", "tags.log", ".lock"):
        (folder / name).touch()
    if made is not None:
        (folder / made).mkdir()
    with FileLock(folder / ".lock"):  # another process is at work in it
        remove_if_nothing_began(folder, "train.log")
    assert folder.exists()
    remove_if_nothing_began(folder, "train.log")
    assert folder.exists() == (made is not None)


def test_a_folder_that_hydra_did_not_make_is_kept(tmp_path: Path) -> None:
    remove_if_nothing_began(tmp_path, "train.log")
    assert tmp_path.exists()
