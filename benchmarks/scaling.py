"""How training grows with the data set: its time, its memory, and where a step's time goes.

Writes benchmarks/scaling.json and docs/images/scaling.png, and prints what docs/performance.md
quotes. Ten minutes on two cores with nothing else on them, and 4 GB of disk; ``--quick`` tries all
of it on small sets and writes beside ``--output`` only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import wraps
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import lightning.pytorch as pl  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import track  # noqa: E402
from rich.table import Table  # noqa: E402

from benchmarks.fit import TimedEpochs, compose_training, fit  # noqa: E402
from benchmarks.run import PACKAGES, machine  # noqa: E402
from src.build import build  # noqa: E402

SIZES = (1_024, 16_384, 131_072, 1_048_576)
QUICK_SIZES = (512, 1_024, 2_048)
REFERENCE = 16_384
LONG_EPOCH = 2000  # batches: such an epoch needs none before it that warms up
NETWORKS = {
    "CNN 64k": "avix_cnn_64k",
    "CNN 11k": "avix_cnn_11k_jnd",
    "SimpleDenseNet 64k": "avix_densenet_64k_jnd",
    "ViT 64k": "avix_vit_64k_jnd",
}
COMPILED = ("CNN 64k", "ViT 64k")
PARTS = ("data", "forward", "metrics", "backward", "optimiser", "callbacks, logger", "Lightning")
COLD_BATCHES = 200


@dataclass(frozen=True)
class Case:
    """A training to measure, in a process of its own.

    Attributes:
        network: One of NETWORKS.
        samples: Of the data set.
        threads: Of torch.
        residency: ``data.residency``.
        parts: Whether to find out where a step's time goes.
        compile: ``model.compile``.
        least_batches: Timed, in whole epochs.
    """

    network: str = "CNN 64k"
    samples: int = REFERENCE
    threads: int = 2
    residency: str = "auto"
    parts: bool = False
    compile: bool = False
    least_batches: int = 200


class Clock:
    """Add up the seconds in named parts; a part within another counts for itself alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.counting = True
        self._open: list[str] = []
        self._since = time.perf_counter()

    def wrap(self, owner: Any, method: str, part: str) -> None:
        """Count every call of a method."""
        original = getattr(owner, method)

        @wraps(original)
        def counted(*args: Any, **kwargs: Any) -> Any:
            self._turn()
            self._open.append(part)
            try:
                return original(*args, **kwargs)
            finally:
                self._turn()
                self._open.pop()

        setattr(owner, method, counted)

    def _turn(self) -> None:
        now = time.perf_counter()
        if self._open and self.counting:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now


class Epochs(TimedEpochs):
    """Keep the seconds of training epochs, and what memory and clock say after the last of them.

    Args:
        batches: How many at least are timed, in whole epochs; a long one needs no other before it.
        clock: Counts the parts of the timed epochs' steps, or None.
    """

    def __init__(self, batches: int, clock: Clock | None = None) -> None:
        super().__init__(epochs=0)
        self.batches = batches
        self.clock = clock or Clock()
        self.seconds: list[float] = []
        self.memory: dict[str, float] = {}
        self.parts: dict[str, float] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Now it is known how long an epoch is."""
        length = int(trainer.num_training_batches)
        self.epochs = -(-self.batches // length)
        self.warm_ups = 0 if length >= LONG_EPOCH else 1

    def between(self, trainer: pl.Trainer, seconds: float | None) -> None:
        """After the last of them one more step follows, which is not counted."""
        if seconds is None:
            self.clock.seconds.clear()
            return
        self.seconds.append(seconds)
        self.memory = resident_mb()
        self.parts = dict(self.clock.seconds)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The clock stands still as well."""
        super().on_validation_start(trainer, pl_module)
        self.clock.counting = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The clock goes on."""
        super().on_validation_end(trainer, pl_module)
        self.clock.counting = True


def resident_mb() -> dict[str, float]:
    """Resident memory in MB (1e6 bytes; Linux): the process's own, and pages of mapped files.

    The latter are the system's page cache, which it takes back when it needs the memory.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Rss")}
    return {key: int(kilobytes[f"Rss{key.title()}"]) * 1.024e-3 for key in ("anon", "file")}


def measure_case(case: Case, work: Path) -> dict[str, Any]:
    """Train one case.

    Returns:
        Milliseconds a batch, seconds an epoch, batches of an epoch, memory, and where asked the
        milliseconds a batch of each part.
    """
    torch.set_num_threads(case.threads)
    cfg = compose_training(
        work,
        case.samples,
        f"model={NETWORKS[case.network]}",
        f"data.residency={case.residency}",
        f"model.compile={str(case.compile).lower()}",
        "+trainer.limit_val_batches=8",
        "extras.print_config=false",
    )
    clock = Clock() if case.parts else None
    if clock is not None:
        watch(clock)
    built = build(cfg)
    epochs = Epochs(case.least_batches, clock)
    fit(cfg, built, epochs)
    batches, seconds = len(built.datamodule.train_dataloader()), epochs.seconds
    mean = sum(seconds) / len(seconds)
    found = {
        "batches": batches,
        "epoch_seconds": mean,
        "batch_ms": mean / batches * 1e3,
        "memory_mb": epochs.memory,
    }
    if clock is not None:
        parts = {part: epochs.parts[part] / len(seconds) for part in PARTS[:-1]}
        parts["Lightning"] = mean - sum(parts.values())
        found["parts_ms"] = {part: value / batches * 1e3 for part, value in parts.items()}
    return found


def watch(clock: Clock) -> None:
    """Make a clock count the parts of a training step."""
    from lightning.pytorch.callbacks import ModelCheckpoint

    from src.callbacks.gradient_stats import GradientStats
    from src.callbacks.grouped_progress_bar import GroupedProgressBar
    from src.callbacks.last_checkpoint import LastCheckpoint
    from src.data.loader import SplitBatches
    from src.data.vimh_datamodule import VIMHDataModule
    from src.loggers.tensorboard_logger import TensorBoardLogger
    from src.models.multihead_module import MultiheadLitModule
    from src.models.stage_metrics import StageMetrics

    clock.wrap(SplitBatches, "__getitems__", "data")
    clock.wrap(VIMHDataModule, "transfer_batch_to_device", "data")
    clock.wrap(MultiheadLitModule, "on_after_batch_transfer", "data")
    clock.wrap(MultiheadLitModule, "training_step", "forward")
    clock.wrap(StageMetrics, "update", "metrics")
    clock.wrap(torch.Tensor, "backward", "backward")
    for optimizer in (torch.optim.Adam, torch.optim.AdamW):
        clock.wrap(optimizer, "step", "optimiser")
    clock.wrap(torch.optim.Optimizer, "zero_grad", "optimiser")
    clock.wrap(TensorBoardLogger, "log_metrics", "callbacks, logger")
    for kind in (GradientStats, GroupedProgressBar, LastCheckpoint, ModelCheckpoint):
        for hook in dir(pl.Callback):
            if hook.startswith("on_") and getattr(kind, hook) is not getattr(pl.Callback, hook):
                clock.wrap(kind, hook, "callbacks, logger")


def measure_reading(samples: int, work: Path) -> dict[str, Any]:
    """Batches in random order from a file of which nothing is in memory: all at once, in blocks.

    Returns:
        By kind of order: milliseconds a batch, and bytes read from the disk over bytes used.
    """
    found = {}
    for name, block in (("all at once", 0), ("in blocks", 256)):
        cfg = compose_training(
            work, samples, "data.residency=disk", f"data.shuffle_block={block}", "data.source=null"
        )
        folder = next((work / "data").glob(f"*_{samples}dss_*"))
        cfg.data.data_dir = str(folder)
        datamodule = build(cfg).datamodule
        loader = datamodule.train_dataloader()
        for path in (folder / "train", folder / "test"):
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
        read, used, count = _bytes_read(), 0, 0
        start = time.perf_counter()
        for batch in loader:
            used += batch.images.numel()
            count += 1
            if count == COLD_BATCHES:
                break
        seconds = time.perf_counter() - start
        found[name] = {
            "batch_ms": seconds / count * 1e3,
            "read_over_used": (_bytes_read() - read) / used,
        }
    return found


def _bytes_read() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("read_bytes")))


def cases(sizes: Sequence[int]) -> list[Case]:
    """All trainings, the reference size before and after the large ones."""
    reference = sizes[1]
    sized = [
        Case(samples=samples, threads=threads, residency="disk")
        for threads in (2, 1)
        for samples in (*sizes, reference)
    ]
    in_memory = [Case(samples=sizes[-1], residency="ram")]
    parts = [Case(network, reference, parts=True) for network in NETWORKS]
    compiled = [
        Case(network, reference, compile=compile) for network in COMPILED for compile in (0, 1)
    ]
    return sized + in_memory + parts + compiled


def run_apart(words: Sequence[str], work: Path) -> dict[str, Any]:
    """One measurement in a fresh process."""
    answer = work / "answer.json"
    command = [sys.executable, __file__, *words, "--work", str(work), "--output", str(answer)]
    with (work / "log").open("a") as log:
        done = subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        tail = (work / "log").read_text().strip().splitlines()[-1]
        return {"failure": tail}
    return json.loads(answer.read_text())


def draw_means(axes: Axes, points: Sequence[tuple[int, float]], label: str) -> None:
    """A dot for each measurement, and a line through the means of those of one size."""
    sizes = sorted({size for size, _ in points})
    means = [fmean(value for size, value in points if size == wanted) for wanted in sizes]
    (line,) = axes.plot(sizes, means, label=label)
    axes.plot(*zip(*points, strict=True), "o", color=line.get_color())


def draw(results: dict[str, Any], path: Path) -> None:
    """Time, memory and parts, side by side."""
    rows = [(Case(**row["case"]), row) for row in results["trainings"]]
    figure = Figure(figsize=(14, 4.2), layout="constrained")
    time_axes, memory_axes, part_axes = figure.subplots(1, 3, width_ratios=(1, 1, 1.3))
    sized = [(c, row) for c, row in rows if c.residency == "disk"]
    for threads in (1, 2):
        points = [(c.samples, r["batch_ms"]) for c, r in sized if c.threads == threads]
        draw_means(time_axes, points, f"{threads} thread{'s' * (threads > 1)}")
    time_axes.set(xscale="log", xlabel="samples", ylabel="time a batch of 128 [ms]", ylim=(0, None))
    time_axes.set_title("CNN 64k: a flat line is linear")
    time_axes.legend(loc="lower left")
    for kind, label in (("anon", "the process's own"), ("file", "page cache, mapped")):
        points = [(c.samples, r["memory_mb"][kind]) for c, r in sized if c.threads == 2]
        draw_means(memory_axes, points, label)
    memory_axes.set(xscale="log", xlabel="samples", ylabel="resident memory [MB]", ylim=(0, None))
    memory_axes.set_title("Memory, from disk")
    memory_axes.legend()
    parted = [(c, row["parts_ms"]) for c, row in rows if c.parts]
    totals = np.array([sum(parts.values()) for _, parts in parted])
    names = [f"{c.network}\n{total:.1f} ms" for (c, _), total in zip(parted, totals, strict=True)]
    left = np.zeros(len(parted))
    for part in PARTS:
        shares = 100 * np.array([parts[part] for _, parts in parted]) / totals
        part_axes.barh(names, shares, left=left, label=part)
        left += shares
    part_axes.set(xlabel="share of a step [%]", xlim=(0, 100), title="A step's time, 2 threads")
    part_axes.invert_yaxis()
    part_axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    for axes in (time_axes, memory_axes):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=130)


def show(results: dict[str, Any]) -> None:
    """The tables on the screen."""
    table = Table("network", "samples", "threads", "bytes in", "ms a batch", "s an epoch", "MB own")
    for row in results["trainings"]:
        case = Case(**row["case"])
        name = case.network + ", compiled" * case.compile + ", with clock" * case.parts
        cells = [f"{case.samples:,}", str(case.threads), case.residency, f"{row['batch_ms']:.2f}"]
        cells += [f"{row['epoch_seconds']:.1f}", f"{row['memory_mb']['anon']:.0f}"]
        table.add_row(name, *cells)
    parts = Table("ms a step", *PARTS)
    for row in results["trainings"]:
        if "parts_ms" in row:
            times = [f"{row['parts_ms'][part]:.2f}" for part in PARTS]
            parts.add_row(row["case"]["network"], *times)
    reading = Table("cold file", "ms a batch", "bytes read / used")
    for name, row in results["reading"].items() if "failure" not in results["reading"] else ():
        reading.add_row(name, f"{row['batch_ms']:.1f}", f"{row['read_over_used']:.1f}")
    console = Console()
    for failed in results["failures"]:
        console.print(f"failed: {failed['case']}: {failed['failure']}", markup=False)
    for each in (table, parts, reading):
        console.print(each)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sets, to try it")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "scaling.json")
    parser.add_argument("--case", help=argparse.SUPPRESS)  # a training's own process
    parser.add_argument("--reading", type=int, help=argparse.SUPPRESS)  # that of the cold file
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case or given.reading:
        found = (
            measure_reading(given.reading, given.work)
            if given.reading
            else measure_case(Case(**json.loads(given.case)), given.work)
        )
        given.output.write_text(json.dumps(found))
        return
    sizes = QUICK_SIZES if given.quick else SIZES
    used = {name: version(name) for name in PACKAGES}
    results: dict[str, Any] = {"machine": machine(), "versions": used}
    results |= {"trainings": [], "failures": []}
    with tempfile.TemporaryDirectory(prefix="avix-scaling-") as folder:
        work = Path(folder)
        for case in track(cases(sizes), description="trainings"):
            found = run_apart(["--case", json.dumps(asdict(case))], work)
            kind = "failures" if "failure" in found else "trainings"
            results[kind].append({"case": asdict(case), **found})
        results["reading"] = run_apart(["--reading", str(sizes[-1])], work)
    given.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    show(results)
    images = given.output.parent if given.quick else ROOT / "docs" / "images"
    draw(results, images / "scaling.png")


if __name__ == "__main__":
    main()
