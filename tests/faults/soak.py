"""Trains for a long time on a tiny set, and tells what grows: ``python -m tests.faults.soak``."""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import rootutils

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from hydra import compose, initialize_config_dir  # noqa: E402
from lightning.pytorch import Callback, Trainer  # noqa: E402
from omegaconf import DictConfig, open_dict  # noqa: E402

import src.train  # noqa: E402

ROOT = Path(__file__).parents[2]
OVERRIDES = (
    *("experiment=digits_cnn", "model/scheduler=constant", "callbacks.early_stopping=null"),
    *("trainer.accelerator=cpu", "trainer.check_val_every_n_epoch=1", "extras.print_config=false"),
    *("callbacks.progress_bar=null", "+trainer.enable_progress_bar=false"),
    *("callbacks.model_summary=null", "test=false"),
)


class Watch(Callback):
    """Notes memory, open files and the size of logs after each epoch, and ends the run in time."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self.end = folder, time.monotonic() + seconds
        self.rows: list[dict[str, int]] = []

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        self.rows.append(
            {
                "epoch": trainer.current_epoch,
                "rss_kb": _rss_kb(),
                "files": len(list(Path("/proc/self/fd").iterdir())),
                "log_bytes": sum(path.stat().st_size for path in self.folder.glob("*.log")),
                "event_bytes": sum(p.stat().st_size for p in self.folder.rglob("events.*")),
                "checkpoints": len(list(self.folder.glob("checkpoints/*"))),
            }
        )
        if time.monotonic() > self.end:
            trainer.should_stop = True


def _rss_kb() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("/proc/self/status has no VmRSS")


def soak(seconds: float, folder: Path, vimh_dir: Path, cfg: DictConfig | None = None) -> list[dict]:
    """Trains for so long; a row for each epoch."""
    if cfg is None:
        with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "configs")):
            cfg = compose("train", list(OVERRIDES))
    watch = Watch(folder, seconds)
    with open_dict(cfg):
        cfg.paths.output_dir, cfg.paths.vimh_dir = str(folder), str(vimh_dir)
        cfg.paths.work_dir = str(ROOT)
        cfg.trainer.max_epochs = -1
    make_callbacks = src.train.instantiate_callbacks
    src.train.instantiate_callbacks = lambda callbacks: [*make_callbacks(callbacks), watch]
    try:
        src.train.train(cfg)
    finally:
        src.train.instantiate_callbacks = make_callbacks
    return watch.rows


def growth(rows: list[dict[str, int]]) -> dict[str, float]:
    """What is more in the last fifth than in the second; in the first one, caches fill.

    Memory and open files are medians: either is a little higher in some epochs than in others.
    """
    fifth = max(1, len(rows) // 5)
    before, after, last = rows[fifth : 2 * fifth], rows[-fifth:], rows[-1]

    def grown(key: str) -> float:
        return median(row[key] for row in after) - median(row[key] for row in before)

    first = before[0]
    epochs = last["epoch"] - first["epoch"]
    return {
        "epochs": last["epoch"] + 1,
        "rss_mb": last["rss_kb"] / 1024,
        "rss_growth_mb": grown("rss_kb") / 1024,
        "open_files": last["files"],
        "open_files_growth": grown("files"),
        "log_growth_bytes": last["log_bytes"] - first["log_bytes"],
        "event_bytes_an_epoch": (last["event_bytes"] - first["event_bytes"]) / max(epochs, 1),
        "checkpoint_files": last["checkpoints"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "run").mkdir()
        rows = soak(60 * minutes, Path(folder) / "run", Path(folder) / "data")
    for name, value in growth(rows).items():
        print(f"{name:22} {value:,.1f}", file=sys.stdout)


if __name__ == "__main__":
    main()
