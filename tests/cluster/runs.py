"""A small training that several processes can do together, and what it leaves."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
# No batch norm: over gloo each process normalises by its own batches.
SMALL = (
    "experiment=avix_mlp_72dss_jnd model.net.dropout=0 callbacks.last_checkpoint.min_interval_s=0 "
    "callbacks=default trainer.accelerator=cpu extras.print_config=false logger=csv"
)
# 48 samples, all of them in each step: four processes with 12 each, or one with 48.
WHOLE = ("data.train_val_test_split=[0.667,0.222,0.111]", "trainer.max_epochs=10")
DDP = "trainer=ddp"


def train(*words: str) -> list[str]:
    """Return the command of a training."""
    return [sys.executable, "src/train.py", *words]


def only(paths: Iterable[Path]) -> Path:
    """Return the only one."""
    (path,) = paths
    return path


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Read the weights of a run's last checkpoint."""
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=False)
    state: dict[str, torch.Tensor] = checkpoint["state_dict"]
    return state


def assert_close(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> None:
    """Compare the weights of two runs."""
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=1e-6, msg=name)
