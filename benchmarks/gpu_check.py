"""Tries everything on the GPU and writes docs/gpu.json; under eight minutes on one of them.

The tests marked `gpu`; shipped experiments for a few epochs, in 32 bits, in bf16-mixed and
compiled, and their losses beside the CPU's; `Trainer.fit` against a bare loop with the data on the
device; the arithmetic of generating on the device against the generator's. Ends with 1 where
something is not as expected. Without a GPU the short form runs on the CPU, and shows that only a
device is missing: `--output` says where its report goes.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from io import StringIO
from pathlib import Path

import rootutils

ROOT: Path = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import lightning.pytorch as pl  # noqa: E402
import torch  # noqa: E402
from hydra import compose, initialize_config_dir  # noqa: E402
from omegaconf import DictConfig, OmegaConf  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import Progress  # noqa: E402
from rich.table import Table  # noqa: E402

from benchmarks.fit import BareLoop, EpochTurns, compose_training, fit  # noqa: E402
from benchmarks.measure import ratios  # noqa: E402
from benchmarks.run import PACKAGES, commit, machine  # noqa: E402
from src.build import build  # noqa: E402
from src.train import train  # noqa: E402

MODULE = "benchmarks.gpu_check"  # also where this file is the command
EPOCHS = 3
# What differs in kind: grid and random samples, CNN, MLP, dense net, ViT and ConvNeXt, losses of
# classes and of values, auxiliary features and derived channels.
EXPERIMENTS = (
    "avix_mlp_72dss_jnd", "avix_cnn_72dss_jnd_dg_hybrid", "avix_densenet_72dss_64k_jnd_dg_features",
    "avix_vit_72dss_jnd", "avix_convnext_16kdss", "simple_3p_cnn_hybrid", "digits_cnn",
)  # fmt: skip
SHORT_EXPERIMENTS = EXPERIMENTS[:1]
SAMPLES = 1024  # of sets that are drawn; a grid has its own number
# How far the losses of the epochs may lie from those of the CPU in 32 bits, as a share of them.
TOLERANCE = {"32-true": 0.02, "bf16-mixed": 0.1, "compiled": 0.02}


@dataclass
class Report:
    """What was found.

    Attributes:
        device: The device's name.
        rows: Group, what, figure in words, and whether it is as expected.
        detail: Figures by name, for scripts.
    """

    device: str
    rows: list[tuple[str, str, str, bool]] = field(default_factory=list)
    detail: dict[str, object] = field(default_factory=dict)

    def add(self, group: str, what: str, figure: str, good: bool = True) -> None:
        """Add a row."""
        self.rows.append((group, what, figure, good))


class Losses(pl.Callback):
    """Keep the training loss of each epoch, and how long the epoch took."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.seconds: list[float] = []
        self._started = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the loss of the epoch before, which is logged by now."""
        self._take(trainer)
        self._started = time.perf_counter()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the last epoch's."""
        self._take(trainer)

    def _take(self, trainer: pl.Trainer) -> None:
        if "train/loss" in trainer.callback_metrics:
            self.losses.append(float(trainer.callback_metrics["train/loss"]))
            self.seconds.append(time.perf_counter() - self._started)


def the_device() -> str:
    """Return cuda, mps, or cpu where there is neither."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def name_of(device: str) -> str:
    """Return the device's own name."""
    return torch.cuda.get_device_name() if device == "cuda" else device


def composed(experiment: str, accelerator: str, work: Path, *words: str) -> DictConfig:
    """Compose an experiment for a few epochs on a device, with what it writes under ``work``."""
    lines = [
        f"experiment={experiment}",
        f"trainer.accelerator={accelerator}",
        f"trainer.max_epochs={EPOCHS}",
        "trainer.check_val_every_n_epoch=1",
        "~logger",
        "callbacks=none",
        f"+callbacks.losses._target_={MODULE}.Losses",
        "extras.print_config=false",
        "export=false",
        "test=false",
        f"paths.log_dir={work}",
        f"paths.vimh_dir={work}/data",
        f"paths.output_dir={work}/run",
        *words,
    ]
    with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "configs")):
        cfg = compose("train", lines)
    source = cfg.data.source
    if "recipe" in source and not source.recipe.avix:
        source.recipe.dataset.size = SAMPLES
    if "dropout" in cfg.model.net:
        cfg.model.net.dropout = 0.0  # each device draws other numbers
    return cfg


def trained(cfg: DictConfig) -> Losses:
    """Train without its tables; return the losses."""
    Path(cfg.paths.output_dir).mkdir(parents=True, exist_ok=True)
    with redirect_stdout(StringIO()):
        _, objects = train(cfg)
    found: Losses = next(c for c in objects["callbacks"] if type(c).__name__ == "Losses")
    return found


def check_tests(report: Report, device: str, work: Path, *, short: bool) -> None:
    """Run the tests marked `gpu`, on the device."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/test_gpu.py"],
        cwd=ROOT,
        env={**os.environ, "AVIX_GPU_TESTS": device},
        capture_output=True,
        text=True,
        check=False,
    )
    summary = (done.stdout.strip().splitlines() or ["no output"])[-1]
    report.add("tests", "tests/test_gpu.py", summary, done.returncode == 0)
    if done.returncode:
        report.detail["tests"] = done.stdout[-4000:]


def check_training(report: Report, device: str, work: Path, *, short: bool) -> None:
    """Train experiments on the device in three ways, and on the CPU."""
    variants = {
        "32-true": [],
        "bf16-mixed": ["trainer.precision=bf16-mixed"],
        "compiled": ["model.compile=true"],
    }
    if device == "cpu" and shutil.which(os.environ.get("CXX", "g++")) is None:
        del variants["compiled"]
        report.add("training", "compiled", "left out: there is no C++ compiler")
    for experiment in SHORT_EXPERIMENTS if short else EXPERIMENTS:
        expected = trained(composed(experiment, "cpu", work / experiment / "cpu")).losses
        figures: dict[str, object] = {"cpu": expected}
        for name, words in variants.items():
            cfg = composed(experiment, device, work / experiment / name, *words)
            cfg.paths.vimh_dir = f"{work}/{experiment}/cpu/data"
            losses = trained(cfg)
            pairs = zip(losses.losses, expected, strict=True)
            apart = max(abs(ours - theirs) / theirs for ours, theirs in pairs)
            figures[name] = {"losses": losses.losses, "seconds": losses.seconds, "apart": apart}
            text = f"{apart:.2g} from the CPU's losses, {losses.seconds[-1]:.2f} s an epoch"
            report.add("training", f"{experiment}, {name}", text, apart <= TOLERANCE[name])
        report.detail[f"training {experiment}"] = figures


class SyncedLoop(BareLoop):
    """A bare loop with all data on the device, which is done when the device is."""

    def epoch(self) -> None:
        """Run an epoch, and wait for the device."""
        super().epoch()
        if self.images.is_cuda:
            torch.cuda.synchronize()


def check_speed(report: Report, device: str, work: Path, *, short: bool) -> None:
    """Time `Trainer.fit` in turns with a bare loop, both with the data on the device."""
    samples, epochs = (512, 2) if short else (16384, 6)
    for batch_size in (128,) if short else (128, 4096):
        words = (f"trainer.accelerator={device}", "data.residency=device", "logger=csv")
        cfg = compose_training(work / "speed", samples, *words, f"data.batch_size={batch_size}")
        Path(cfg.paths.output_dir).mkdir(parents=True, exist_ok=True)
        built = build(cfg)
        # It takes the images themselves, and not their numbers on the device.
        bare = OmegaConf.merge(cfg, {"data": {"residency": "ram"}})
        assert isinstance(bare, DictConfig)
        loop = SyncedLoop(bare, plain=False, device=device)
        turns = EpochTurns([loop.epoch], epochs=epochs)
        with redirect_stdout(StringIO()):
            fit(cfg, built, turns)
        share = statistics.median(ratios(turns.other_seconds[0], turns.fit_seconds))
        rate = loop.samples_per_epoch / statistics.median(turns.fit_seconds)
        text = f"{share:.2f} of the bare loop's speed, {rate:,.0f} samples/s"
        report.add("speed", f"CNN 64k, batches of {batch_size}", text)
        report.detail[f"speed {batch_size}"] = {
            "fit_s": turns.fit_seconds, "bare_s": turns.other_seconds[0],
            "samples": loop.samples_per_epoch,
        }  # fmt: skip


def block_on_device(device: str, count: int) -> torch.Tensor:
    """Compute images of decaying saws as `simple` has them, on the device; return their bytes.

    2,560 samples each of a wave 2(ft mod 1) − 1 with an envelope, 32 frames of 128 points, dB.
    """
    time_s = torch.arange(2560, device=device) / 8000
    decay_s = torch.linspace(0.05, 0.5, count, device=device)
    sound = (2 * ((440 * time_s) % 1) - 1) * torch.exp(-time_s / decay_s[:, None])
    window = torch.hann_window(128, device=device)
    spectrum = torch.stft(sound, 128, 80, window=window, center=False, return_complex=True).abs()
    levels = 20 * torch.log10(spectrum[:, :32].clamp(min=1e-10))
    low, high = levels.amin((1, 2), keepdim=True), levels.amax((1, 2), keepdim=True)
    return ((levels - low) / (high - low) * 255).round().to(torch.uint8).cpu()


def check_generating(report: Report, device: str, work: Path, *, short: bool) -> None:
    """Set the arithmetic of a block on the device beside the generator, which runs on the CPU."""
    count, size = 819, 4096 if short else 100_000
    for _ in range(2):
        block_on_device(device, count)
    started = time.perf_counter()
    for _ in range(3 if short else 50):
        block_on_device(device, count)
    apart = (time.perf_counter() - started) / (3 if short else 50)
    command = [
        sys.executable,
        "generate_vimh.py",
        f"dataset.size={size}",
    ]
    started = time.perf_counter()
    subprocess.run(
        [*command, f"generate.output_dir={work}/generated"], cwd=ROOT, check=True,
        capture_output=True,
    )  # fmt: skip
    whole = time.perf_counter() - started
    rates = {"arithmetic_on_device": count / apart, "generate_vimh_py": size / whole}
    text = f"{rates['arithmetic_on_device']:,.0f} samples/s, arithmetic and copy alone; "
    text += f"generate_vimh.py {rates['generate_vimh_py']:,.0f} with start-up and files"
    report.add("generating", "simple, 32×32", text)
    report.detail["generating"] = rates


CHECKS = {
    "tests": check_tests,
    "training": check_training,
    "speed": check_speed,
    "generating": check_generating,
}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="the short form on a GPU, too")
    parser.add_argument("--only", choices=CHECKS, action="append", help="this part (repeatable)")
    parser.add_argument(
        "--output", type=Path, help="the report (default: docs/gpu.json where there is a GPU)"
    )
    return parser.parse_args()


def main() -> int:
    """Check, print a table, write the report; return 1 where something is not as expected."""
    args = arguments()
    # This stream also while a training's is elsewhere.
    console = Console(file=sys.stdout, markup=False, emoji=False)
    device = the_device()
    short = args.short or device == "cpu"
    if device == "cpu":
        console.print("There is no GPU here: the short form runs on the CPU.")
    report = Report(name_of(device))
    started = time.perf_counter()
    chosen = {name: check for name, check in CHECKS.items() if name in (args.only or CHECKS)}
    with (
        tempfile.TemporaryDirectory(prefix="avix-gpu-") as folder,
        Progress(console=console, transient=True) as progress,
    ):
        task = progress.add_task("checking", total=len(chosen))
        for name, check in chosen.items():
            progress.update(task, description=name)
            check(report, device, Path(folder), short=short)
            progress.advance(task)
    seconds = time.perf_counter() - started
    table = Table(title=f"{report.device}, {'short' if short else 'full'}, {seconds:.0f} s")
    for heading in ("part", "what", "found", ""):
        table.add_column(heading)
    for *cells, good in report.rows:
        table.add_row(*cells, "as expected" if good else "NOT AS EXPECTED")
    console.print(table)
    output = args.output or (ROOT / "docs" / "gpu.json" if device != "cpu" else None)
    if output is not None:
        content = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit(),
            "short": short,
            "seconds": round(seconds, 1),
            "machine": machine(),
            "versions": {name: version(name) for name in PACKAGES},
            **asdict(report),
        }
        output.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
        console.print(f"wrote {output}")
    return 0 if all(good for *_, good in report.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
