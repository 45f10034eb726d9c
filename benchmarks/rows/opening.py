"""Opening a data set of a million samples against one of a thousand: time and memory."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.measure import Budget, Row, interleaved, ratios
from src.vimh.metadata import METADATA_FILE
from src.vimh.records import DatasetWriter, open_dataset

SAMPLES = 1_000
REPEATS = 1_000  # the large set is the small one, this often
TIME = Budget("at most", 2.0)
MEMORY = Budget("at most", 50.0, "MB")

# Run in a fresh process, so that nothing was in memory before.
RESIDENT = """
import sys
from src.vimh.records import open_dataset

def resident_mb():
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * 4096 / 1e6

before = resident_mb()
opened = open_dataset(sys.argv[1])
print(resident_mb() - before)
"""


def metadata_json(channels: int) -> dict[str, object]:
    """Metadata of 32x32 images with two parameters."""
    mapping = {"min": 0.0, "max": 1.0, "step": 0.01, "description": ""}
    return {
        "format": "VIMH",
        "version": "2.1",
        "dataset_name": "bench",
        "height": 32,
        "width": 32,
        "channels": channels,
        "parameter_names": ["a", "b"],
        "varying_parameters": 2,
        "parameter_mappings": {"a": mapping, "b": mapping},
    }


def write_small(folder: Path, channels: int) -> None:
    """A data set of SAMPLES random samples, four fifths of them to train on."""
    random = np.random.default_rng(0)
    with DatasetWriter(folder, metadata_json(channels)) as writer:
        for part, number in (("train", SAMPLES * 4 // 5), ("test", SAMPLES // 5)):
            images = random.integers(0, 256, (number, channels, 32, 32), dtype=np.uint8)
            labels = random.integers(0, 256, (number, 2), dtype=np.uint8)
            writer.write(part, images, labels, np.zeros((number, 2), np.float32))


def write_large(small: Path, folder: Path) -> None:
    """The small one REPEATS times over: as large as a real one, and quickly made."""
    folder.mkdir()
    for part in ("train", "test"):
        records = (small / part).read_bytes()
        with (folder / part).open("wb") as stream:
            for _ in range(REPEATS):
                stream.write(records)
    described = json.loads((small / METADATA_FILE).read_text())
    for key in ("train_samples", "test_samples", "total_samples", "n_samples"):
        described[key] *= REPEATS
    described.pop("checksums", None)
    (folder / METADATA_FILE).write_text(json.dumps(described))


def resident_mb(folder: Path) -> float:
    """Memory in MB (1e6 bytes) that opening a data set takes in a fresh process (Linux)."""
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT, str(folder)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def measure(quick: bool, work: Path) -> list[Row]:
    """Two rows: time and memory."""
    channels = 1 if quick else 3
    needed = SAMPLES * REPEATS * channels * 1024 * 1.1
    against = f"a data set of {SAMPLES} samples"
    name = f"opening {SAMPLES * REPEATS} samples ({channels}x32x32)"
    if shutil.disk_usage(work).free < 2 * needed:
        failure = f"needs {2 * needed / 1e9:.0f} GB of free disk in {work}"
        return [Row(name, against, TIME, failure=failure)]
    small, large = work / "small", work / "large"
    write_small(small, channels)
    write_large(small, large)
    seconds = interleaved(
        lambda: open_dataset(large), lambda: open_dataset(small), pairs=10 if quick else 50
    )
    memory = [resident_mb(large) - resident_mb(small) for _ in range(3)]
    detail = {"seconds": min(seconds[0]), "seconds_small": min(seconds[1])}
    shutil.rmtree(large)
    return [
        Row(name, against, TIME, ratios(*seconds), detail),
        Row(f"{name}, memory", against, MEMORY, memory, {}),
    ]
