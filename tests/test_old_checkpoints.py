"""Checkpoints of an earlier version load, compute what they did, evaluate and export."""

import json
from pathlib import Path

import pytest
import torch
from omegaconf import open_dict

from src.checkpoint import load_model, read_checkpoint
from src.eval import evaluate
from src.evaluation.export.model_files import write_model_files
from tests.conftest import ROOT

FOLDER = ROOT / "tests" / "checkpoints"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ckpt"))
EXPECTED = json.loads((FOLDER / "predictions.json").read_text())


def images(height: int, width: int) -> torch.Tensor:
    """Three images that differ, by a formula that needs no random numbers."""
    b, y, x = torch.meshgrid(
        torch.arange(3), torch.arange(height), torch.arange(width), indexing="ij"
    )
    return ((b * 37 + y * 7 + x * x * 3) % 256).float().div(255).unsqueeze(1)


def test_there_is_one_of_each_network() -> None:
    targets = {read_checkpoint(FOLDER / f"{name}.ckpt").settings.net.cls for name in NAMES}
    assert len(targets) == len(NAMES) == 6
    assert sorted(EXPECTED) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_old_checkpoints_compute_what_they_did(name: str) -> None:
    checkpoint = read_checkpoint(FOLDER / f"{name}.ckpt")
    model = load_model(checkpoint)
    described = checkpoint.metadata.to_json()
    with torch.inference_mode():
        outputs = model(images(described["height"], described["width"]))
        values = model.decode(outputs)
    assert list(values) == list(EXPECTED[name])
    for head, expected in EXPECTED[name].items():
        for found, before in ((outputs, "outputs"), (values, "values")):
            torch.testing.assert_close(
                found[head], torch.tensor(expected[before]), rtol=1e-4, atol=1e-4
            )


def test_an_old_checkpoint_evaluates(compose_config, data_root: Path) -> None:
    cfg = compose_config(
        "eval", f"ckpt_path={FOLDER / 'simple_cnn.ckpt'}", "data=avix_72dss", "report.sounds=0"
    )
    with open_dict(cfg):
        cfg.data.source.root = str(data_root)
        cfg.trainer.accelerator = "cpu"
        cfg.extras.print_config = False
        cfg.extras.enforce_tags = False
    metrics, objects = evaluate(cfg)
    assert 0 <= float(metrics["test/acc"]) <= 1
    assert objects["datamodule"].metadata.dataset_name.startswith("avix-vimh-32x32x1")


def test_an_old_checkpoint_exports(tmp_path: Path) -> None:
    files, _ = write_model_files(str(FOLDER / "simple_mlp.ckpt"), tmp_path / "model.onnx")
    exported = load_model(read_checkpoint(files[0]))
    model = load_model(read_checkpoint(FOLDER / "simple_mlp.ckpt"))
    batch = images(16, 16)
    with torch.inference_mode():
        assert model(batch).keys() == exported(batch).keys()
        for head, outputs in model(batch).items():
            torch.testing.assert_close(exported(batch)[head], outputs, rtol=0, atol=0)
