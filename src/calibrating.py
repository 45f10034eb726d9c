"""Measure a trained model on its validation split, and write that into its file."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.table import Table
from rich.text import Text
from torch import Tensor

from src.calibration.calibration import Calibration
from src.calibration.conformal import kept_scores
from src.calibration.unlike import SAMPLES, Unlike, cell, coarse, fit_unlike
from src.checkpoint import (
    CALIBRATION,
    SAFETENSORS,
    check_content,
    load_model,
    read_checkpoint,
    write_safetensors,
)
from src.checkpoints.checkpoint_io import AtomicCheckpointIO, load_checkpoint
from src.data.vimh_datamodule import VIMHDataModule
from src.evaluation.export.model_files import description
from src.evaluation.scoring.coverage import Seen, seen_batches
from src.models.intervals import head_scores
from src.models.multihead_module import MultiheadLitModule
from src.synth.parallel import progress_bar
from src.utils.errors import CheckpointError, ConfigError
from src.utils.pylogger import RankedLogger
from src.vimh.atomic import whole_file
from src.vimh.errors import VIMHError
from src.vimh.parameters import Parameter

log = RankedLogger(__name__, rank_zero_only=True)


def calibrate(
    model: MultiheadLitModule, datamodule: VIMHDataModule, samples: int = SAMPLES
) -> Calibration:
    """Measure a model on all of its validation split and on a seeded sample of the training split.

    Shows a progress bar where there are many samples.

    Args:
        model: On any device; it is left in eval mode.
        datamodule: The data that it was trained on, split as then.
        samples: Of the training split, at most, that sounds are compared with.

    Raises:
        ConfigError: If there are no validation samples, or the model's figures are not finite.
    """
    if len(datamodule.splits.val) == 0:
        raise ConfigError(
            "there are no validation samples, which intervals are measured on: give the second of "
            "data.train_val_test_split more than 0"
        )
    unlike = _unlike(model.eval(), datamodule, samples)
    scores: list[Tensor] = []
    far: list[Tensor] = []
    squares: list[Tensor] = []
    with progress_bar(visible=len(datamodule.splits.val) > SAMPLES) as advance:
        for seen in seen_batches(model, datamodule, "val"):
            columns = zip(model.heads.items(), seen.true.unbind(1), strict=True)
            own = [head_scores(head, seen.outputs[name], true) for (name, head), true in columns]
            scores.append(torch.stack(own, dim=1))
            squares.append(_squared_errors(model, seen))
            if unlike is not None:
                far.append(unlike[1].distance(seen.images, seen.features, seen.auxiliary))
            advance("measuring", sum(map(len, scores)), len(datamodule.splits.val))
    spread = torch.cat(squares).mean(dim=0).sqrt()
    found = torch.cat(scores)
    tensors = {}
    if unlike is not None:
        distances = kept_scores(torch.cat(far)[:, None])[:, 0]
        tensors = {**unlike[0], "distances": distances}
    if not all(bool(own.isfinite().all()) for own in (found, spread, *tensors.values())):
        raise ConfigError("its predictions of the validation samples are not all finite")
    return Calibration(
        count=len(found),
        spread=dict(zip(model.heads, spread.clamp(max=1.0).tolist(), strict=True)),
        scores=kept_scores(found).float().cpu(),
        unlike_tensors={name: tensor.cpu() for name, tensor in tensors.items()},
    )


def _squared_errors(model: MultiheadLitModule, seen: Seen) -> Tensor:
    """Return squared errors (B, P) as shares of the range; 1 for a wrong class."""
    columns = []
    for (name, head), true in zip(model.heads.items(), seen.true.unbind(1), strict=True):
        codec, value = head.codec, head.decode(seen.outputs[name]).to(true.dtype)
        if head.parameter.is_categorical:
            columns.append((codec.class_of(value) != codec.class_of(true)).to(true.dtype))
        else:
            columns.append((codec.normalise(value) - codec.normalise(true)).square())
    return torch.stack(columns, dim=1)


def _unlike(
    model: MultiheadLitModule, datamodule: VIMHDataModule, samples: int
) -> tuple[dict[str, Tensor], Unlike] | None:
    """Fit what sounds are compared with; None where there are fewer than two training samples."""
    shape = model.required_preparation.image_shape
    parts: list[tuple[Tensor, Tensor, Tensor | None]] = [
        (
            coarse(seen.images, cell(shape)).cpu(),
            seen.features.cpu(),
            None if seen.auxiliary is None else seen.auxiliary.cpu(),
        )
        for seen in seen_batches(model, datamodule, "train", samples)
    ]
    pixels, features, auxiliary = zip(*parts, strict=True) if parts else ((), (), ())
    if sum(map(len, pixels)) < 2:
        return None
    known = torch.cat(features)
    if not known.isfinite().all():
        raise ConfigError("its features of the training samples are not all finite")
    given = [own for own in auxiliary if own is not None]
    tensors = fit_unlike(shape, torch.cat(pixels), known, torch.cat(given) if given else None)
    none = {"distances": torch.zeros(1)}
    return tensors, Unlike({**tensors, **none}, shape, 1).to(model.device)


def calibrate_file(
    path: Path, datamodule: VIMHDataModule, device: torch.device | str = "cpu"
) -> Calibration:
    """Calibrate the model of a file, and write that into it; the rest stays as it is.

    Args:
        path: A checkpoint, or a safetensors file; it is replaced as a whole or not at all.
        datamodule: Data of its heads: what it was trained on, split as then.
        device: Where to predict.

    Raises:
        CheckpointError: If the file cannot be read or replaced.
        ConfigError: As :func:`src.checkpoint.read_checkpoint` and :func:`calibrate`.
    """
    if path.suffix == SAFETENSORS:
        checkpoint = read_checkpoint(path)
        model = load_model(checkpoint)
        checkpoint = replace(checkpoint, calibration=calibrate(model.to(device), datamodule))
        with whole_file(path) as temporary:
            write_safetensors(checkpoint, temporary, description(checkpoint.metadata, model))
        assert checkpoint.calibration is not None
        return checkpoint.calibration
    raw = load_checkpoint(path)
    # The random numbers of building it are no part of the run's.
    with torch.random.fork_rng(devices=[]):
        model = load_model(check_content(raw, path))
    calibration = calibrate(model.to(device), datamodule)
    AtomicCheckpointIO().save_checkpoint({**raw, CALIBRATION: calibration.to_parts()}, path)
    return calibration


def calibrate_run(
    paths: Iterable[str], datamodule: VIMHDataModule, device: torch.device
) -> list[Path]:
    """Calibrate the checkpoints that a training left, and return which could be.

    A training that got so far has a result without: what cannot be calibrated is said.
    """
    done, began = [], time.monotonic()
    for path in dict.fromkeys(Path(path) for path in paths if path):
        if not path.is_file():  # a folder, of a checkpoint in parts
            continue
        try:
            calibrate_file(path, datamodule, device)
        except (CheckpointError, ConfigError, VIMHError) as error:
            log.warning("%s has no intervals: %s", path.name, error)
        else:
            done.append(path)
    if done:
        names = ", ".join(path.name for path in done)
        took = time.monotonic() - began
        log.info("Intervals measured on the validation split, for %s, in %.1f s", names, took)
    return done


def calibration_table(calibration: Calibration, parameters: Sequence[Parameter]) -> Table:
    """Return each head's error on the validation split."""
    title = f"Measured on {calibration.count} validation samples"
    table = Table(title=title, title_justify="left")
    table.add_column("head", overflow="fold")
    table.add_column("RMS error [% of range]", justify="right")
    for p in parameters:
        share = calibration.spread[p.name]
        # Of classes the root of the share that is wrong is no figure for people.
        shown = f"{100 * share**2:.2f} wrong" if p.is_categorical else f"{100 * share:.2f}"
        table.add_row(Text(p.name), shown)
    return table
