"""Between transfer and loss: no float64, which MPS lacks, and no wait for the device.

The CPU has both, so a dispatch mode refuses them. What is made once for a device is made before.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from src.build import build
from src.inputs import targets
from src.inputs.batch import RawBatch
from src.models.multihead_module import MultiheadLitModule
from tests.helpers import shrink

CONFIGS = Path(__file__).parents[2] / "configs"
LOSSES = sorted(path.stem for path in (CONFIGS / "loss").glob("*.yaml"))
NETWORKS = sorted(path.stem for path in (CONFIGS / "model" / "net").glob("*.yaml"))
# What reads a tensor's numbers, or makes a tensor of Python's: on CUDA each waits for the other.
COPIES = {
    "aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::is_nonzero",
    "aten::equal", "aten::lift_fresh", "aten::_unique2", "aten::unique_dim",
}  # fmt: skip


class Refusing(TorchDispatchMode):
    """Refuses host copies, and where it is told to also float64."""

    def __init__(self, float64: bool = True) -> None:
        super().__init__()
        self.float64 = float64

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        is_move = func.name() == "aten::_to_copy" and (kwargs or {}).get("device") is not None
        if is_move or func.name() in COPIES:
            raise AssertionError(f"{func.name()} is a host copy")
        if func.name() == "aten::index.Tensor" and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        ):
            raise AssertionError("an index of true and false waits for the device")
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, made)):
            if self.float64 and isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float64:
                raise AssertionError(f"{func.name()} has float64")
        return made


def config_of(path: Path) -> DictConfig:
    """The keys of a config's file; those of the one that it is derived from come first."""
    config = OmegaConf.load(path)
    assert isinstance(config, DictConfig)
    others = [name for name in config.pop("defaults", []) if name != "_self_"]
    return OmegaConf.merge(*(config_of(path.with_stem(name)) for name in others), config)


@pytest.fixture
def make(compose_config: Any, data_root: Path) -> Callable[..., MultiheadLitModule]:
    """A module for the 72 sounds, with derived channels and auxiliary features."""

    def made(loss: str, network: str) -> MultiheadLitModule:
        words = ("model=avix_mlp_11k_jnd", "data=avix_72dss_features", "~logger")
        cfg: DictConfig = shrink(compose_config("train", *words), data_root)
        with open_dict(cfg):
            cfg.loss = config_of(CONFIGS / "loss" / f"{loss}.yaml")
            cfg.model.net = config_of(CONFIGS / "model" / "net" / f"{network}.yaml")
            if network == "convnext_v2":  # it has no size of its own
                cfg.model.net.update(depths=[1, 1, 1, 1], dims=[4, 8, 12, 16])
            cfg.data.target_width = 1.0 if loss == "soft_target" else 0.0
        return build(cfg).model

    return made


def batch(model: MultiheadLitModule, size: int = 8) -> RawBatch:
    shape = model.required_preparation.stored_shape
    images = torch.randint(0, 256, (size, *shape), dtype=torch.uint8)
    values = torch.randint(0, 256, (size, len(model.heads))) / 255
    return RawBatch(images, values, torch.tensor([[-120.0, 0.0]]).repeat(size, 1))


def step(model: MultiheadLitModule, raw: RawBatch) -> None:
    model.training_step(model.on_after_batch_transfer(raw, 0), 0).backward()


def check(model: MultiheadLitModule, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, *rest = batch(model), batch(model)
    step(model, raw)
    with Refusing(float64=False):
        step(model, *rest)
    # As on MPS: the labels, P numbers a sample, are float64 elsewhere, and no more than these.
    monkeypatch.setattr(targets, "WITHOUT_FLOAT64", {"cpu"})
    model.__dict__.pop("_make_targets", None)
    step(model, raw)
    with Refusing():
        step(model, *rest)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss(loss: str, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check(make(loss, "simple_mlp"), monkeypatch)


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network(network: str, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check(make("ce", network), monkeypatch)
