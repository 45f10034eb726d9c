"""Generating sounds of a Faust program against bare loops over the same engine."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import Budget, Row, interleaved, ratios
from benchmarks.rows.generating import MEMORY, ROOT, peak_memory, recipe
from src.synth.generate import generate_dataset

SPEED = Budget("at least", 0.8)
PROGRAM = ROOT / "examples" / "faust" / "voice.dsp"

# One process of the loop: so many sounds of the program, and nothing else.
LOOP = """
import random, sys
import cyfaust, numpy as np
path, count, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
program = cyfaust.create_dsp_factory_from_file(path, "-ftz", "1")
dsp = program.create_dsp_instance()
dsp.init(rate)
ranges = [(p.path, p.min, p.max) for p in dsp.params() if p.label not in ("gate", "freq", "gain")]
inputs, held = np.zeros((0, rate), np.float32), int(0.8 * rate)
first, second = (np.empty((1, n), np.float32) for n in (held, rate - held))
for _ in range(count):
    dsp.instance_clear()
    for path, low, high in ranges:
        dsp.set_param(path, random.uniform(low, high))
    dsp.set_param("gate", 1.0)
    dsp.compute(held, inputs, first)
    dsp.set_param("gate", 0.0)
    dsp.compute(rate - held, inputs, second)
"""


def bare_loops(processes: int, size: int, rate_hz: int) -> None:
    """As many processes, each with its share of the sounds."""
    command = [sys.executable, "-c", LOOP, str(PROGRAM), str(size // processes), str(rate_hz)]
    for process in [subprocess.Popen(command) for _ in range(processes)]:
        assert process.wait() == 0


def settings(folder: Path, size: int) -> dict:
    """The recipe of the shipped voice."""
    own = recipe(folder, size, "faust")
    own["synth"]["dsp"] = str(PROGRAM)
    return own


def measure(quick: bool, work: Path) -> list[Row]:
    """Two rows, where Faust is installed."""
    name = "generating a Faust voice, per sample"
    against = "bare loop over the engine, as many processes"
    if importlib.util.find_spec("cyfaust") is None:
        return [
            Row(name, against, SPEED, failure="cyfaust is not installed: pip install -e .[faust]")
        ]
    processes, size = len(os.sched_getaffinity(0)), 2048 if quick else 16384
    own = settings(work / "faust", size)
    seconds = interleaved(
        lambda: generate_dataset(own, progress=False),
        lambda: bare_loops(processes, size, own["sample_rate"]),
        pairs=2 if quick else 5,
    )
    rates = {"per_second": size / min(seconds[0]), "per_second_plain": size / min(seconds[1])}
    speed = Row(
        name, against, SPEED, ratios(seconds[1], seconds[0]), {"processes": processes, **rates}
    )
    few, many = (1024, 4096) if quick else (4096, 16384)
    peaks = [peak_memory(settings(work / f"faust{count}", count)) for count in (few, many)]
    memory = Row(
        f"generating {many} sounds of it, peak memory",
        *(f"of {few}", MEMORY, [peaks[1] / peaks[0]], {"peaks_kb": peaks}),
    )
    return [speed, memory]
