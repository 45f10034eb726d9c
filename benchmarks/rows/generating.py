"""Generating `simple`, per sample, against a plain NumPy loop; and its memory."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import rootutils
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from benchmarks.measure import Budget, Row, interleaved, ratios
from src.synth.generate import generate_dataset

ROOT = rootutils.find_root(indicator=".project-root")
SPEED = Budget("at least", 8.0)
MEMORY = Budget("at most", 1.1)
RATE_HZ, PERIOD, FRAMES, BINS = 8000, 80, 32, 32
NOTE_HZ = 440.0 * 2 ** ((43.35 - 69) / 12)

# Run in a fresh process: its highest memory.
PEAK = """
import json, resource, sys
from src.synth.generate import generate_dataset

generate_dataset(json.load(sys.stdin), progress=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def recipe(folder: Path, size: int) -> dict:
    """The recipe of generate_simple.yaml for a folder and a size."""
    lines = [f"dataset.size={size}", f"generate.output_dir={folder}", "overwrite=true"]
    with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "configs")):
        container = OmegaConf.to_container(compose("generate_simple", lines), resolve=True)
    assert isinstance(container, dict)
    return container


def plain_loop(path: Path, size: int) -> None:
    """The same data set as a reader of signal.md would first write it: one sample at a time."""
    random = np.random.default_rng(42)
    time_s = np.arange(RATE_HZ) / RATE_HZ  # the whole sound
    phase = NOTE_HZ * time_s - 0.5
    saw = 2 * (phase - np.floor(phase)) - 1
    with path.open("wb") as stream:
        for _ in range(size):
            velocity, log10_decay_time = random.uniform((126, -2.0), (127, 0.3))
            audio = velocity / 127 * np.exp(-time_s / 10**log10_decay_time) * saw
            frames = audio.astype(np.float32)[: PERIOD * FRAMES].reshape(FRAMES, PERIOD)
            spectrum = np.abs(np.fft.rfft(frames)) / np.sqrt(PERIOD)
            image_db = 20 * np.log10(np.maximum(spectrum[:, 1 : BINS + 1].T, 1e-10))
            low, high = image_db.min(), image_db.max()
            pixels = np.rint((image_db - low) / (high - low) * 255).astype(np.uint8)
            header = np.array([BINS, FRAMES, 1], "<u2").tobytes()
            scale = np.array([low, high], "<f4").tobytes()
            quantised = [round(255 * (velocity - 126)), round(255 * (log10_decay_time + 2) / 2.3)]
            labels = bytes([2, 0, quantised[0], 1, quantised[1]])
            stream.write(header + scale + labels + pixels.tobytes())


def peak_memory(settings: dict) -> float:
    """The highest resident memory of a process that generates (kB on Linux, bytes on macOS)."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK],
        input=json.dumps(settings),
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.splitlines()[-1])


def measure(quick: bool, work: Path) -> list[Row]:
    """Two rows: speed per sample, and memory of a large set against a small one."""
    size, loop_size = (32768, 2048) if quick else (131072, 8192)
    settings = recipe(work / "generated", size)
    seconds = interleaved(
        lambda: generate_dataset(settings, progress=False),
        lambda: plain_loop(work / "plain", loop_size),
        pairs=4 if quick else 10,
    )
    generated, plain = [s / size for s in seconds[0]], [s / loop_size for s in seconds[1]]
    rates = {"per_second": 1 / min(generated), "per_second_plain": 1 / min(plain)}
    few, many = 16384, 65536 if quick else 524288
    peaks = [
        peak_memory(recipe(work / "many", many)) / peak_memory(recipe(work / "few", few))
        for _ in range(1 if quick else 3)
    ]
    for name in ("generated", "many", "few"):
        shutil.rmtree(work / name)
    return [
        Row(
            "generating simple, per sample",
            "plain NumPy loop",
            SPEED,
            ratios(plain, generated),
            rates,
        ),
        Row(f"generating {many} samples, peak memory", f"of {few}", MEMORY, peaks),
    ]
