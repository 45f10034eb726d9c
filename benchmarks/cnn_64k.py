"""The CNN 64k on a small set of its own sounds, and the processor time of calls."""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from omegaconf import open_dict

from src.build import Built, build

ROOT = Path(__file__).resolve().parents[1]
WARM_UP = 10  # calls that are left out


def built_cnn(work: Path) -> Built:
    """Build it, untrained, on one thread; the sounds are made in `work`."""
    torch.set_num_threads(1)
    with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "configs")):
        cfg = compose("train", ["experiment=avix_cnn_16kdss"])
    with open_dict(cfg):
        cfg.data.source.root = str(work)
        cfg.data.source.recipe.dataset.size = 512
    return build(cfg)


def processor_ms(call: Callable[[], object], quick: bool) -> list[float]:
    """Return the processor time of each of some calls, ms."""
    figures = []
    for number in range(20 if quick else 200):
        start = time.process_time()
        call()
        if number >= WARM_UP:
            figures.append(1000 * (time.process_time() - start))
    return figures
