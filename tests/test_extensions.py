"""docs/extensions.md: its source of data works as it is written."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import open_dict

from src.data.sources.images import ImageSource, LabelledImages, class_parameter
from src.train import train
from src.vimh.parameters import ParameterSpace

ROOT = Path(__file__).parents[1]
MODULE = "src.data.sources.shapes"


def blocks(language: str) -> Sequence[str]:
    page = (ROOT / "docs" / "extensions.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def draw(num_samples: int) -> LabelledImages:
    """Discs and squares, the function that the page leaves to the reader."""
    shapes = np.arange(num_samples) % 2
    y, x = np.mgrid[:16, :16] - 7.5
    pictures = np.stack([np.hypot(x, y) < 6, np.maximum(abs(x), abs(y)) < 6])
    noise = np.random.default_rng(num_samples).integers(0, 40, (num_samples, 1, 16, 16))
    images = 200 * pictures[shapes][:, None] + noise
    return LabelledImages(images.astype(np.uint8), {"shape": shapes.astype(np.uint8)})


@pytest.fixture
def shapes_module(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType(MODULE)
    names = (ImageSource, LabelledImages, ParameterSpace, class_parameter, draw)
    module.__dict__.update({item.__name__: item for item in names})
    (source,) = blocks("python")
    exec(compile(source, "docs/extensions.md", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, MODULE, module)


@pytest.mark.usefixtures("shapes_module")
def test_the_source_of_the_page_is_trained_on(tmp_path: Path) -> None:
    (config,) = blocks("yaml")
    path = re.match(r"# configs/(\S+)", config)[1]
    (tmp_path / "configs" / path).parent.mkdir(parents=True)
    (tmp_path / "configs" / path).write_text(config, encoding="utf-8")
    overrides = [
        f"hydra.searchpath=[file://{tmp_path}/configs]",
        "data=shapes",
        "trainer=cpu",
        "trainer.max_epochs=5",
        "+trainer.enable_progress_bar=false",
        "callbacks=none",
        "data.batch_size=32",
        "~logger",
        f"paths.vimh_dir={tmp_path}",
        f"paths.output_dir={tmp_path}",
    ]
    with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "configs")):
        cfg = compose("train", overrides)
    with open_dict(cfg):
        cfg.paths.work_dir = str(ROOT)
    metrics, objects = train(cfg)
    assert objects["datamodule"].data_dir == tmp_path / "vimh-16x16x1_shapes"
    assert torch.isfinite(metrics["test/loss"])
    assert metrics["test/acc"] > 0.9
