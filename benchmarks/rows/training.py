"""`Trainer.fit` with the default callbacks and logger against a bare PyTorch loop."""

from pathlib import Path

from benchmarks.fit import BareLoop, EpochPairs, compose_training, fit
from benchmarks.measure import Budget, Row, ratios
from src.build import build

AT_LEAST = Budget("at least", 0.90)


def measure(quick: bool, work: Path) -> list[Row]:
    """CNN 64k, batch 128: epochs of both in turns, in one process."""
    cfg = compose_training(work, samples=16384)
    built = build(cfg)
    bare = BareLoop(cfg, built)
    pairs = EpochPairs(bare.epoch, epochs=4 if quick else 10)
    fit(cfg, built, pairs)
    samples = bare.samples_per_epoch
    detail = {
        "samples_per_second": samples / min(pairs.fit_seconds),
        "samples_per_second_bare": samples / min(pairs.other_seconds),
        "batch_size": cfg.data.batch_size,
        "parameters": sum(p.numel() for p in built.model.net.parameters()),
    }
    name = f"training throughput, CNN 64k, {samples} samples an epoch"
    against = "bare loop over a float tensor"
    return [Row(name, against, AT_LEAST, ratios(pairs.other_seconds, pairs.fit_seconds), detail)]
