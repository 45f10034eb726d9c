"""What a GPU has to give as the CPU does; `make gpu-check` runs these where there is one.

Elsewhere its short form runs them on the CPU (AVIX_GPU_TESTS=cpu).
"""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, open_dict

from src.build import build
from src.inputs.batch import RawBatch
from src.inputs.targets import Target, TargetMaker
from src.train import train
from src.vimh.parameters import Parameter
from tests.helpers import shrink

pytestmark = pytest.mark.gpu
EXPERIMENT = "experiment=avix_cnn_72dss_jnd_dg_hybrid"


@pytest.fixture
def device() -> torch.device:
    there = "cuda" if torch.cuda.is_available() else "mps"
    if not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        there = os.environ.get("AVIX_GPU_TESTS", "")
    if not there:
        pytest.skip("there is no GPU")
    return torch.device(there)


@pytest.fixture
def small(compose_config: Any, data_root: Path) -> DictConfig:
    cfg = shrink(compose_config("train", EXPERIMENT, "~logger"), data_root)
    with open_dict(cfg):
        cfg.trainer.max_epochs = 4
        cfg.model.net.dropout = 0.0
    return cfg


def test_every_byte_is_of_the_class_that_the_cpu_gives_it(device: torch.device) -> None:
    if device.type == "mps":
        pytest.skip("MPS has no float64")
    for step in (0.1, 0.25, 1 / 3, 0.0078125):
        make = TargetMaker([Target(Parameter("p", -2.0, 0.0, step=step), "index")])
        values = torch.arange(256)[:, None] / 255
        assert torch.equal(make(values.to(device))[0].cpu(), make(values)[0])


def test_outputs_and_gradients_are_those_of_the_cpu(
    device: torch.device, small: DictConfig
) -> None:
    built = build(small)
    model = built.model
    images = torch.randint(0, 256, (16, *built.datamodule.image_shape), dtype=torch.uint8)
    stored = (16, *model.required_preparation.stored_shape)
    raw = RawBatch(
        images[:, : stored[1]], torch.rand(16, len(model.heads)), torch.full((16, 2), -9.0)
    )
    gradients = []
    for place in ("cpu", device):
        model.to(place).zero_grad()
        batch = model.on_after_batch_transfer(RawBatch(*(x.to(place) for x in raw)), 0)
        model.training_step(batch, 0).backward()
        gradients.append([p.grad.cpu().clone() for p in model.net.parameters()])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_step_does_not_wait_for_the_device(device: torch.device, small: DictConfig) -> None:
    if device.type != "cuda":
        pytest.skip("CUDA alone says where it waits")
    model = build(small).model.to(device)
    stored = model.required_preparation.stored_shape
    raw = RawBatch(
        torch.randint(0, 256, (16, *stored), dtype=torch.uint8, device=device),
        torch.rand(16, len(model.heads), device=device),
        torch.full((16, 2), -9.0, device=device),
    )
    for mode in ("default", "error"):  # the first time some things are made once
        torch.cuda.set_sync_debug_mode(mode)
        try:
            model.training_step(model.on_after_batch_transfer(raw, 0), 0).backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("residency", ["ram", "device"])
def test_a_run_trains_goes_on_and_is_read_on_the_cpu(
    device: torch.device, residency: str, small: DictConfig, tmp_path: Path
) -> None:
    with open_dict(small):
        small.trainer.accelerator = device.type
        small.data.residency = residency
    metrics, _ = train(small)
    assert torch.isfinite(metrics["test/loss"])
    with open_dict(small):
        small.ckpt_path = str(tmp_path / "checkpoints" / "last.ckpt")
        small.trainer.max_epochs = 6
    _, objects = train(small)
    assert objects["trainer"].current_epoch == 6
    with open_dict(small):
        small.trainer.accelerator = "cpu"
        small.trainer.max_epochs = 7
    _, objects = train(small)
    assert objects["trainer"].current_epoch == 7
