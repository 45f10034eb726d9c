"""Importing one-second WAVs against two processes that only decode them with soundfile."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.measure import Budget, Row, interleaved, ratios
from src.recordings.importing import import_recordings
from src.recordings.settings import ImportSettings

TIME = Budget("at most", 1.0)
RATE_HZ = 16_000
DIFFERENT = 200  # sounds; the others are copies of them

# Each process decodes every second file.
DECODE = """
import sys
from pathlib import Path
import soundfile
for path in sorted(Path(sys.argv[1]).glob("*.wav"))[int(sys.argv[2])::2]:
    soundfile.read(path)
"""


def write_sounds(folder: Path, count: int) -> None:
    """Decaying tones in noise, as 16-bit WAV, and labels.csv."""
    folder.mkdir()
    random = np.random.default_rng(0)
    time_s = np.arange(RATE_HZ) / RATE_HZ
    lines = ["file,frequency,decay"]
    for k in range(count):
        path = folder / f"{k:06d}.wav"
        if k < DIFFERENT:
            frequency, decay = random.uniform(100, 4000), random.uniform(0.05, 1.0)
            sound = np.sin(2 * np.pi * frequency * time_s) * np.exp(-time_s / decay)
            sound += random.normal(0, 0.01, RATE_HZ)
            soundfile.write(path, 0.5 * sound / np.abs(sound).max(), RATE_HZ, subtype="PCM_16")
            lines.append(f"{path.name},{frequency:.3f},{decay:.4f}")
        else:
            shutil.copyfile(folder / f"{k % DIFFERENT:06d}.wav", path)
            lines.append(f"{path.name},{lines[1 + k % DIFFERENT].partition(',')[2]}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")


def decode(folder: Path) -> None:
    """Two processes, each with half of the files."""
    command = [sys.executable, "-c", DECODE, str(folder)]
    for process in [subprocess.Popen([*command, str(half)]) for half in (0, 1)]:
        assert process.wait() == 0


def measure(quick: bool, work: Path) -> list[Row]:
    """One row."""
    count = 4_000 if quick else 20_000
    folder = work / "sounds"
    write_sounds(folder, count)
    settings = ImportSettings(
        folder=str(folder),
        labels=str(folder / "labels.csv"),
        output_dir=str(work / "imported"),
        overwrite=True,
    )
    seconds = interleaved(
        lambda: import_recordings(settings, progress=False),
        lambda: decode(folder),
        pairs=3 if quick else 5,
    )
    rates = {"per_second": count / min(seconds[0]), "per_second_decoding": count / min(seconds[1])}
    name = f"importing {count} WAVs of one second"
    return [Row(name, "two processes that only decode", TIME, ratios(*seconds), rates)]
