"""Training with gradient statistics against training without, in one fit."""

from pathlib import Path

from benchmarks.fit import ToggledCallback, compose_training, fit
from benchmarks.measure import Budget, Row, ratios
from src.build import build
from src.callbacks.gradient_stats import GradientStats

AT_MOST = Budget("at most", 1.02)


def measure(quick: bool, work: Path) -> list[Row]:
    """Epochs with and without the callback in turns."""
    cfg = compose_training(work, samples=16384)
    toggled = ToggledCallback(GradientStats, pairs=4 if quick else 30)
    fit(cfg, build(cfg), toggled)
    figures = ratios(toggled.seconds_with, toggled.seconds_without)
    detail = {"seconds_with": toggled.seconds_with, "seconds_without": toggled.seconds_without}
    return [Row("gradient statistics", "training without", AT_MOST, figures, detail)]
