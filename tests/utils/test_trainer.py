"""A null of the config: Lightning's default, or a value of Lightning's own."""

import inspect
from typing import get_args

import pytest
from lightning.pytorch import Trainer

from src.utils.trainer import NONE_IS_A_VALUE, make_trainer

PLAIN = {"accelerator": "cpu", "devices": 1, "logger": False, "enable_checkpointing": False}


def test_the_arguments_for_which_none_is_a_value_are_those_that_lightning_has() -> None:
    found = {
        name
        for name, parameter in inspect.signature(Trainer).parameters.items()
        if parameter.default is not None and type(None) in get_args(parameter.annotation)
    }
    assert found == NONE_IS_A_VALUE


@pytest.mark.parametrize("every", [None, 1, 3])
def test_epochs_between_validations_reach_lightning(every: int | None) -> None:
    trainer = make_trainer(**PLAIN, check_val_every_n_epoch=every, val_check_interval=7)
    assert trainer.check_val_every_n_epoch == every


def test_other_nulls_are_the_default() -> None:
    trainer = make_trainer(**PLAIN, max_steps=None, strategy=None, overfit_batches=None)
    assert trainer.max_steps == -1
    assert trainer.overfit_batches == 0.0


@pytest.mark.parametrize("on_cuda", [False, True])
def test_batch_norm_is_synchronised_on_cuda_alone(monkeypatch, on_cuda: bool) -> None:
    """On the CPU, torch's SyncBatchNorm fails in the first training step."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: on_cuda)
    monkeypatch.setattr("lightning.pytorch.Trainer", dict)
    assert ("sync_batchnorm" in make_trainer(sync_batchnorm=True, accelerator="auto")) == on_cuda
    assert "sync_batchnorm" not in make_trainer(sync_batchnorm=True, accelerator="cpu")
