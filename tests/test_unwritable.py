"""A folder that cannot be written is one sentence, whichever command finds it.

Root may write everywhere, so the folders are such that nobody can make: a file stands in their
place, or they are to lie in /proc.
"""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.vimh.disk import cannot_write, in_words, is_of_a_folder

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "examples" / "model" / "simple_wide.safetensors"
SOUND = ROOT / "examples" / "model" / "saw.wav"
TRAIN = (
    "src/train.py", "experiment=digits_cnn", "trainer.max_epochs=2", "trainer.accelerator=cpu",
    "+trainer.limit_train_batches=1", "extras.print_config=false", "callbacks.gradient_stats=null",
)  # fmt: skip
PREDICT = ("src/predict.py", MODEL, SOUND, "extras.print_config=false")


def refused(*words: str | Path, at: Path | str) -> str:
    """The one sentence that a command ends with."""
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    assert "Error executing job" not in said
    last = done.stderr.splitlines()[-1]
    assert str(at) in last
    assert "cannot be written: " in last
    assert "MB are free in" in last
    return last


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """A file where a folder is expected."""
    path = tmp_path / "place"
    path.write_text("mine")
    yield path
    assert path.read_text() == "mine"


def proc() -> str:
    if not Path("/proc/self").is_dir():
        pytest.skip("there is no /proc")
    return "/proc/avix"


@pytest.mark.parametrize("key", ["paths.log_dir", "hydra.run.dir"])
def test_a_file_in_the_place_of_the_log_folder(key: str, file: Path) -> None:
    said = refused(*PREDICT, f"{key}={file}", at=file)
    assert said.startswith("error: ")
    assert f"{file} is a file where a folder is expected: remove it" in said


def test_a_log_folder_that_nobody_can_make() -> None:
    refused(*PREDICT, f"paths.log_dir={proc()}", at=proc())


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        [*TRAIN, "paths.log_dir=PLACE"],
        [*TRAIN, "hydra.run.dir=PLACE"],
        [*TRAIN, "paths.log_dir=TMP", "paths.vimh_dir=PLACE"],
        [*TRAIN, "paths.log_dir=TMP", "paths.vimh_dir=TMP/v", "logger.tensorboard.save_dir=PLACE"],
        [*TRAIN, "paths.log_dir=TMP", "paths.vimh_dir=TMP/v",
         "callbacks.model_checkpoint.dirpath=PLACE", "callbacks.last_checkpoint=null"],
        [*TRAIN, "paths.log_dir=TMP", "paths.vimh_dir=TMP/v",
         "callbacks.last_checkpoint.dirpath=PLACE"],
        [*TRAIN, "seed=1", "hydra.sweep.dir=PLACE", "-m"],
        ["src/eval.py", f"ckpt_path={MODEL}", "paths.log_dir=PLACE"],
        ["src/export.py", f"ckpt_path={MODEL}", "paths.log_dir=PLACE"],
        ["viz/enhanced_model_diagrams.py", "-c", "mnist_cnn_8k", "--output", "PLACE/a"],
        ["examples/vimh_training.py", "--demo", "--folder", "PLACE/a"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["file", "proc"])
def test_every_command(words: list[str], place: str, file: Path, tmp_path: Path) -> None:
    at = file if place == "file" else proc()
    said = [str(w).replace("PLACE", str(at)).replace("TMP", str(tmp_path)) for w in words]
    refused(*said, at=at)


@pytest.mark.slow
def test_commands_of_data_sets(file: Path, tmp_path: Path) -> None:
    generate = ("generate_vimh.py", "dataset.size=16")
    subprocess.run(
        [sys.executable, *generate, f"generate.output_dir={tmp_path}"],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (made,) = tmp_path.glob("vimh-*")
    for at in (file, proc()):
        refused(*generate, f"generate.output_dir={at}", at=at)
        refused(*generate, f"generate.output_dir={at}", "generate.part=1/2", at=at)
        refused("shuffle_vimh_dataset.py", "--input", made, "--output", f"{at}/a", at=at)
        refused("display_vimh.py", made, "--save", f"{at}/a.png", at=at)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "make room"),
        (errno.EFBIG, "raise the limit on the size of files (ulimit -f)"),
        (errno.ENOENT, "was removed meanwhile"),
        (errno.EACCES, "check the folder's permissions"),
        (errno.EROFS, "check the folder's permissions"),
        (errno.EISDIR, "is a folder where a file is expected"),
    ],
)
def test_the_sentence_says_what_to_do(
    code: int, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path)  # other processes change it between two calls
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: free)
    error = OSError(code, os.strerror(code), str(tmp_path / "a" / "b"))
    assert is_of_a_folder(error)
    said = in_words(error)
    assert said == cannot_write(tmp_path / "a" / "b", error)
    assert advice in said
    assert f"free in {tmp_path}: " in said


def test_an_error_that_names_no_file_or_names_it_in_bytes() -> None:
    said = in_words(OSError(errno.EFBIG, "File too large"))
    assert said.startswith("a file cannot be written: File too large: raise the limit")
    said = in_words(OSError(errno.ENOENT, "No such file or directory", b"/data/none/a"))
    assert said.startswith("/data/none/a cannot be written: No such file")


def test_other_errors_of_the_system_are_not_of_a_folder() -> None:
    assert not is_of_a_folder(OSError(errno.ECONNREFUSED, "Connection refused", "x"))
    assert not is_of_a_folder(OSError(errno.ENOSPC, "no name"))
    assert in_words(OSError(errno.ECONNREFUSED, "Connection refused")).endswith("refused")
