"""`Trainer.fit` with the default callbacks and logger against bare PyTorch loops."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.fit import EpochTurns, LoopApart, compose_training, fit
from benchmarks.measure import Budget, Row, ratios
from src.build import build

# Of the same loop with all of our settings: what Lightning, callbacks, logger and data path cost.
OVERHEAD = Budget("at least", 0.85)


@dataclass(frozen=True)
class Case:
    """A network to train.

    Attributes:
        name: In the table.
        overrides: What makes it of CNN 64k.
        budget: Of the throughput against a plain PyTorch loop.
        samples: Of the data set.
    """

    name: str
    overrides: tuple[str, ...]
    budget: float
    samples: int = 16384


CASES = (
    Case("CNN 64k", (), 0.95),
    Case("CNN 11k", ("model=avix_cnn_11k_jnd",), 0.80),
    Case("DenseNet 64k", ("model=avix_densenet_64k_jnd",), 0.95),
    Case("ViT 64k", ("model=avix_vit_64k_jnd",), 0.95, samples=4096),
    Case(
        "CNN 1.1M",
        (
            "model.net.conv1_channels=64",
            "model.net.conv2_channels=128",
            "model.net.fc_hidden=512",
            "model.net.pooled_size=4",
        ),
        1.5,
        samples=4096,
    ),
)


def measure(quick: bool, work: Path) -> list[Row]:
    """Epochs of the fit and of both loops in turns, each loop in a process of its own."""
    cases = CASES[:1] if quick else CASES
    return [row for case in cases for row in measure_case(case, quick, work)]


def measure_case(case: Case, quick: bool, work: Path) -> list[Row]:
    """Two rows: against plain PyTorch, and against a loop with our settings.

    Args:
        case: The network.
        quick: Fewer pairs.
        work: A folder for everything that is written.
    """
    cfg = compose_training(work / case.name.replace(" ", "_"), case.samples, *case.overrides)
    built = build(cfg)
    loops = [LoopApart(cfg, plain=True), LoopApart(cfg, plain=False)]
    turns = EpochTurns([loop.epoch for loop in loops], epochs=4 if quick else 10)
    fit(cfg, built, turns)
    for loop in loops:
        loop.close()
    samples = loops[0].samples_per_epoch
    plain_seconds, tuned_seconds = turns.other_seconds
    detail = {
        "samples_per_second": samples / min(turns.fit_seconds),
        "samples_per_second_plain": samples / min(plain_seconds),
        "samples_per_second_tuned": samples / min(tuned_seconds),
        "batch_size": cfg.data.batch_size,
        "parameters": sum(p.numel() for p in built.model.net.parameters()),
    }
    name = f"training, {case.name}"
    plain = ratios(plain_seconds, turns.fit_seconds)
    tuned = ratios(tuned_seconds, turns.fit_seconds)
    return [
        Row(name, "plain PyTorch loop", Budget("at least", case.budget), plain, detail),
        Row(name, "the same, our settings", OVERHEAD, tuned, detail),
    ]
