"""Parameters of one sound by the CNN 64k: the compute of reading, image and forward pass."""

from pathlib import Path

import numpy as np
import soundfile

from benchmarks.cnn_64k import built_cnn, processor_ms
from benchmarks.measure import Budget, Row
from src.evaluation.prediction.predictor import Predictor

AT_MOST = Budget("at most", 5.0, "ms of one core")


def measure(quick: bool, work: Path) -> list[Row]:
    """A WAV of one second, one file at a time, on one thread; processor time, not the clock's."""
    built = built_cnn(work)
    predictor = Predictor(built.model, built.datamodule.metadata)
    rng = np.random.default_rng(0)
    decay = np.exp(-np.arange(8000) / 2000.0)
    path = work / "sound.wav"
    soundfile.write(path, rng.uniform(-1, 1, 8000) * decay, 8000, subtype="FLOAT")
    figures = processor_ms(lambda: predictor.predict_file(path), quick)
    weights = sum(p.numel() for p in built.model.net.parameters())
    name = f"predicting a sound of one second, {weights} weights"
    return [Row(name, "", AT_MOST, figures, {"weights": weights})]
