"""Plates against a loop over their modes, per sound."""

from pathlib import Path

import numpy as np
import rootutils
import torch
import yaml

from benchmarks.measure import Budget, Row, interleaved, ratios
from src.synth.draws import derived
from src.synth.plate import PlateSynth
from src.synth.synthesizers import build_synthesizer

CONFIG = rootutils.find_root(indicator=".project-root") / "configs" / "synth" / "plate.yaml"
SPEED = Budget("at least", 20.0)
RATE_HZ, DURATION_S = 44100, 0.25


def mode_by_mode(synth: PlateSynth, values: dict[str, np.ndarray]) -> np.ndarray:
    """The sounds as they are first written down: one sound, one mode at a time, float64."""
    samples = np.arange(synth.num_samples)
    sounds = np.zeros((len(values["stiffness"]), synth.num_samples))
    for row, sound in enumerate(sounds):
        modes = synth.modes({name: float(column[row]) for name, column in values.items()})
        for amplitude, decay, angle in zip(*modes, strict=True):
            sound += amplitude * np.exp(-decay * samples) * np.sin(angle * samples)
    return sounds


def measure(quick: bool, work: Path) -> list[Row]:
    """One row: `render` against the loop, each on one core, for the same sounds."""
    torch.set_num_threads(1)
    config = yaml.safe_load(CONFIG.read_text())
    synth = build_synthesizer(config, sample_rate_hz=RATE_HZ, duration_s=DURATION_S)
    assert isinstance(synth, PlateSynth)
    rng = np.random.default_rng(42)
    count = 2 if quick else 8
    draws = {name: rng.uniform(p.min, p.max, count) for name, p in synth.draws.items()}
    values = derived(synth, draws)
    ours, loop = interleaved(
        lambda: synth.render(values), lambda: mode_by_mode(synth, values), pairs=2 if quick else 5
    )
    rates = {"per_second": count / min(ours), "per_second_plain": count / min(loop)}
    row = Row("rendering plates, 0.25 s at 44.1 kHz", "NumPy loop over modes", SPEED)
    row.figures.extend(ratios(loop, ours))
    row.detail.update(rates)
    return [row]
