"""Generating against plain loops, per sample: speed, pixels and memory."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import rootutils
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from benchmarks.measure import Budget, Row, interleaved, ratios
from benchmarks.reference_generator import (
    reference_image,
    reference_moog_sound,
    reference_records,
    reference_values,
)
from src.synth.generate import generate_dataset
from src.vimh.records import open_dataset

ROOT = rootutils.find_root(indicator=".project-root")
SPEED = Budget("at least", 12.0)
MOOG_SPEED = Budget("at least", 100.0)
PIXELS = Budget("at most", 1.0, "in 10,000")
MEMORY = Budget("at most", 1.1)
RATE_HZ, PERIOD, FRAMES, BINS = 8000, 80, 32, 32
NOTE_NUMBER = 43.35

# Run in a fresh process: its highest memory. (Linux; getrusage would count its parent's, from the
# moment before it became a program of its own.)
PEAK = """
import json, sys
from src.synth.generate import generate_dataset

generate_dataset(json.load(sys.stdin), progress=False)
with open("/proc/self/status") as stream:
    print(next(line.split()[1] for line in stream if line.startswith("VmHWM:")))
"""


def recipe(folder: Path, size: int, name: str = "simple") -> dict:
    """A recipe of configs/recipe for a folder and a size."""
    lines = [f"dataset.size={size}", f"generate.output_dir={folder}", "overwrite=true"]
    with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "configs")):
        container = OmegaConf.to_container(compose(f"generate_{name}", lines), resolve=True)
    assert isinstance(container, dict)
    return container


def render(note_number: float, velocity: float, log10_decay_time: float) -> np.ndarray:
    """One sound of one second, float32."""
    time_s = np.arange(RATE_HZ) / RATE_HZ
    phase = 440.0 * 2 ** ((note_number - 69) / 12) * time_s - 0.5
    saw = 2 * (phase - np.floor(phase)) - 1
    audio = velocity / 127 * np.exp(-time_s / 10**log10_decay_time) * saw
    return audio.astype(np.float32)


def spectrogram_db(audio: np.ndarray) -> np.ndarray:
    """One image in dB: frames of one period, without a window."""
    frames = audio[: PERIOD * FRAMES].reshape(FRAMES, PERIOD)
    spectrum = np.abs(np.fft.rfft(frames)) / np.sqrt(PERIOD)
    return 20 * np.log10(np.maximum(spectrum[:, 1 : BINS + 1].T, 1e-10))


def plain_loop(path: Path, size: int) -> None:
    """The same data set as a reader of the format would first write it: one sample at a time."""
    random = np.random.default_rng(42)
    with path.open("wb") as stream:
        for _ in range(size):
            velocity, log10_decay_time = random.uniform((126, -2.0), (127, 0.3))
            image_db = spectrogram_db(render(NOTE_NUMBER, velocity, log10_decay_time))
            low, high = image_db.min(), image_db.max()
            pixels = np.rint((image_db - low) / (high - low) * 255).astype(np.uint8)
            header = np.array([BINS, FRAMES, 1], "<u2").tobytes()
            scale = np.array([low, high], "<f4").tobytes()
            quantised = [round(255 * (velocity - 126)), round(255 * (log10_decay_time + 2) / 2.3)]
            labels = bytes([2, 0, quantised[0], 1, quantised[1]])
            stream.write(header + scale + labels + pixels.tobytes())


def peak_memory(settings: dict) -> float:
    """The highest resident memory of a process that generates, in kB."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK],
        input=json.dumps(settings),
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.splitlines()[-1])


def against_loop(
    row: Row, settings: dict, sizes: tuple[int, int], loop: Callable[[], object], pairs: int
) -> Row:
    """The row with its figures: generating, on both cores, against a loop on one.

    Args:
        row: Its name, what it is against, and the budget.
        settings: The recipe.
        sizes: Samples that are generated, and samples that the loop makes.
        loop: The loop.
        pairs: How often both are timed.
    """
    seconds = interleaved(lambda: generate_dataset(settings, progress=False), loop, pairs=pairs)
    shutil.rmtree(settings["generate"]["output_dir"])
    generated, plain = (
        [taken / size for taken in own] for own, size in zip(seconds, sizes, strict=True)
    )
    rates = {"per_second": 1 / min(generated), "per_second_plain": 1 / min(plain)}
    return replace(row, figures=ratios(plain, generated), detail=rates)


def speed(quick: bool, work: Path) -> Row:
    """`simple` against NumPy, one sample at a time."""
    size, loop_size = (65536, 2048) if quick else (131072, 8192)
    return against_loop(
        Row("generating simple, per sample", "plain NumPy loop", SPEED),
        recipe(work / "generated", size),
        (size, loop_size),
        lambda: plain_loop(work / "plain", loop_size),
        pairs=4 if quick else 10,
    )


def moog_speed(quick: bool, work: Path) -> Row:
    """`moog_basic` against a loop over the samples of one sound, no longer than its image needs."""
    size, loop_size = (16384, 32) if quick else (32768, 128)
    settings = recipe(work / "moog", size, "moog_basic")

    def loop() -> None:
        for index in range(loop_size):
            values = reference_values(settings, index)
            reference_image(reference_moog_sound(values, RATE_HZ, PERIOD * FRAMES), settings)

    row = Row("generating moog_basic, per sample", "Python loop over audio samples", MOOG_SPEED)
    return against_loop(row, settings, (size, loop_size), loop, pairs=3 if quick else 7)


def pixels(quick: bool, work: Path) -> Row:
    """Pixels of `simple` that are not those of the float64 reference."""
    size = 2048 if quick else 16384
    settings = recipe(work / "pixels", size)
    opened = open_dataset(generate_dataset(settings, progress=False).dataset_dir)
    ours = np.concatenate([opened.train.images, opened.test.images]).reshape(size, -1)
    records = np.frombuffer(b"".join(reference_records(settings, size)), np.uint8)
    reference = records.reshape(size, -1)[:, -ours.shape[1] :]
    difference = np.abs(ours.astype(np.int16) - reference)
    shutil.rmtree(work / "pixels")
    detail = {"largest_difference_levels": int(difference.max()), "pixels": difference.size}
    figures = [float(10_000 * (difference > 0).mean())]
    return Row("pixels of simple that differ", "float64, one by one", PIXELS, figures, detail)


def memory(quick: bool, work: Path) -> Row:
    """Peak memory of a large set against a small one."""
    few, many = 16384, 65536 if quick else 1_000_000
    kilobytes = [
        (peak_memory(recipe(work / "many", many)), peak_memory(recipe(work / "few", few)))
        for _ in range(1 if quick else 3)
    ]
    for folder in ("many", "few"):
        shutil.rmtree(work / folder)
    name = f"generating {many} samples, peak memory"
    figures = [a / b for a, b in kilobytes]
    return Row(name, f"of {few}", MEMORY, figures, {"peaks_kb": kilobytes})


def measure(quick: bool, work: Path) -> list[Row]:
    """Four rows."""
    return [row(quick, work) for row in (speed, moog_speed, pixels, memory)]
