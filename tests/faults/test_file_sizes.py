"""A limit on the size of files (`ulimit -f`): one sentence, whichever file it is that meets it."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from src.checkpoints.checkpoint_io import load_checkpoint
from tests.faults.driver import faults

pytestmark = faults

ROOT = Path(__file__).parents[2]
MODEL = "examples/model/simple_wide.safetensors"
LARGE = 300  # kB: a checkpoint has room, logs of many epochs have not
TRAIN = (
    "src/train.py experiment=avix_mlp_72dss_jnd trainer.max_epochs=300 trainer.accelerator=cpu "
    "callbacks.last_checkpoint.min_interval_s=0 data.batch_size=8 trainer.log_every_n_steps=1 "
    "callbacks.early_stopping=null"
)


def limited(kilobytes: int, command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command whose files may not grow beyond a size; its output may."""
    words = [f"paths.log_dir={folder}/logs", f"hydra.run.dir={folder}/run"]
    return subprocess.run(
        [sys.executable, *command.split(), *words, "extras.print_config=false"],
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes << 10,) * 2),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("kilobytes", "command"),
    [
        (4, TRAIN),  # Hydra's own files
        (8, TRAIN),  # the config as a tree
        (100, f"{TRAIN} logger=csv"),  # the first checkpoint
        (LARGE, f"{TRAIN} logger=csv"),  # the table of metrics
        (LARGE, f"{TRAIN} logger=tensorboard"),  # its events
        (12, f"src/export.py ckpt_path={MODEL}"),  # safetensors
        (58, f"src/export.py ckpt_path={MODEL}"),  # ONNX
        (120, f"src/export.py ckpt_path={MODEL}"),  # the program
        (12, f"src/predict.py {MODEL} examples/model/saw.wav"),  # a sound
        (34, f"src/predict.py {MODEL} examples/model/saw.wav"),  # a picture
    ],
)
def test_it_is_one_sentence(kilobytes: int, command: str, tmp_path: Path, data_root: Path) -> None:
    done = limited(kilobytes, f"{command} paths.vimh_dir={data_root}", tmp_path)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    assert "Exception" not in said
    assert done.stderr.splitlines()[-1].startswith("error: "), said
    assert "(ulimit -f)" in done.stderr.splitlines()[-1]
    saved = list(tmp_path.glob("run/checkpoints/*.ckpt"))
    assert len(saved) == (2 if kilobytes == LARGE else 0)  # the best and the last
    for path in saved:
        load_checkpoint(path)
