"""Parameters of one sound by the CNN 64k: the compute of reading, image and forward pass."""

import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from hydra import compose, initialize_config_dir
from omegaconf import open_dict

from benchmarks.measure import Budget, Row
from src.build import build
from src.evaluation.prediction.predictor import Predictor

ROOT = Path(__file__).resolve().parents[2]
AT_MOST = Budget("at most", 5.0, "ms of one core")


def measure(quick: bool, work: Path) -> list[Row]:
    """A WAV of one second, one file at a time, on one thread; processor time, not the clock's."""
    torch.set_num_threads(1)
    with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "configs")):
        cfg = compose("train", ["experiment=avix_cnn_16kdss"])
    with open_dict(cfg):
        cfg.data.source.root = str(work)
        cfg.data.source.recipe.dataset.size = 512
    built = build(cfg)
    predictor = Predictor(built.model, built.datamodule.metadata)
    rng = np.random.default_rng(0)
    decay = np.exp(-np.arange(8000) / 2000.0)
    path = work / "sound.wav"
    soundfile.write(path, rng.uniform(-1, 1, 8000) * decay, 8000, subtype="FLOAT")
    figures = []
    for number in range(20 if quick else 200):
        start = time.process_time()
        predictor.predict_file(path)
        if number >= 10:  # the first ones warm up
            figures.append(1000 * (time.process_time() - start))
    weights = sum(p.numel() for p in built.model.net.parameters())
    name = f"predicting a sound of one second, {weights} weights"
    return [Row(name, "", AT_MOST, figures, {"weights": weights})]
