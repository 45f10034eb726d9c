"""What the command lines say when they end otherwise than well."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from src.cli import entry_point
from src.utils.errors import Interrupted

ROOT = Path(__file__).parents[1]


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DictConfig:
    """A composed config as Hydra has it in a job; the run's folder has a name to quote."""
    with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "configs")):
        composed = compose("train", return_hydra_config=True)
    with open_dict(composed):
        composed.hydra.mode = "RUN"
        composed.hydra.runtime.output_dir = str(tmp_path / "runs (é)" / "older")
    monkeypatch.setattr(HydraConfig.instance(), "cfg", composed)
    return OmegaConf.masked_copy(composed, "seed")


def ended(main, cfg: DictConfig) -> object:
    with pytest.raises(SystemExit) as caught:
        entry_point(main)(cfg)
    return caught.value.code


def test_after_ctrl_c_the_run_is_named(cfg, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)

    def stopped(at: Path):
        def main(cfg: DictConfig) -> None:
            raise Interrupted(signal.SIGINT, at, 3, 40)

        return main

    run = tmp_path / "runs (é)" / "older"
    assert ended(stopped(run / "checkpoints" / "last.ckpt"), cfg) == 130
    said = capsys.readouterr().err
    assert "go on with: python src/train.py \"ckpt_path='runs (é)/older'\"\n" in said
    assert ended(stopped(tmp_path / "elsewhere=1.ckpt"), cfg) == 130
    assert "src/train.py \"ckpt_path='elsewhere=1.ckpt'\"\n" in capsys.readouterr().err


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.ENOTDIR, errno.ENOSPC])
def test_what_the_file_system_refuses_is_a_sentence(cfg, tmp_path: Path, number: int) -> None:
    def main(cfg: DictConfig) -> None:
        raise OSError(number, os.strerror(number), str(tmp_path / "x"))

    said = ended(main, cfg)
    assert f"{tmp_path}/x cannot be written: {os.strerror(number)}" in str(said)


def test_evaluating_nothing_is_a_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "src" / "eval.py", f"paths.log_dir={tmp_path}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "error: ckpt_path is missing: python src/eval.py ckpt_path=CHECKPOINT\n"
    assert done.stdout == ""
    assert not list(tmp_path.glob("eval/runs/*"))  # no folder of a run in which nothing began


def test_the_onnx_example_says_how_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").touch()  # which need not be installed
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "onnx_predict.py"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("usage: python examples/onnx_predict.py MODEL_images.onnx")
