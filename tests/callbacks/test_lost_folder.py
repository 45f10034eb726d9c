"""A run's folder that is removed while the run trains."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import open_dict

from src.checkpoints.checkpoint_io import load_checkpoint
from src.train import train
from src.utils.errors import CheckpointError
from tests.helpers import shrink


def remove(folder: Path) -> None:
    """At once: a thread may write into it."""
    shutil.rmtree(folder.rename(folder.with_name("removed")))


class Remover(Callback):
    """Removes a folder once, at the start of the second epoch or of its validation."""

    def __init__(self, folder: str, validating: bool) -> None:
        self.folder = Path(folder)
        self.validating = validating

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 1 and not self.validating:
            remove(self.folder)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 1 and self.validating:
            remove(self.folder)


@pytest.mark.parametrize("logger", ["csv", "tensorboard"])
@pytest.mark.parametrize("validating", [False, True])
@pytest.mark.sampled(3)
def test_it_ends_and_its_state_is_kept(
    logger: str, validating: bool, compose_config: Any, data_root: Path, tmp_path: Path
) -> None:
    cfg = shrink(
        compose_config("train", "experiment=avix_mlp_72dss_jnd", f"logger={logger}"), data_root
    )
    folder = tmp_path / "run"
    folder.mkdir()
    with open_dict(cfg):
        cfg.paths.output_dir = str(folder)
        cfg.trainer.max_epochs = 4
        cfg.trainer.log_every_n_steps = 1
        cfg.callbacks.remover = {
            "_target_": f"{Remover.__module__}.Remover",
            "folder": str(folder),
            "validating": validating,
        }
    last = folder / "checkpoints" / "last.ckpt"
    with pytest.raises(CheckpointError, match=f"{folder} was removed while .*{last}.*To go on"):
        train(cfg)
    assert load_checkpoint(last)["global_step"] in (
        3,
        4,
    )  # of two an epoch; a file may miss it first
    with open_dict(cfg):
        del cfg.callbacks.remover
        cfg.ckpt_path = str(last)
    _, objects = train(cfg)
    assert objects["trainer"].global_step == 8
