"""Measures a trained model on its validation split, and writes that into its checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from src.calibration.calibration import Calibration
from src.calibration.conformal import kept_scores
from src.calibration.unlike import SAMPLES, Unlike, cell, coarse, fit_unlike
from src.checkpoint import CALIBRATION, check_content, load_model
from src.checkpoints.checkpoint_io import AtomicCheckpointIO, load_checkpoint
from src.data.vimh_datamodule import VIMHDataModule
from src.inputs.targets import widened
from src.models.intervals import head_scores, outputs_and_features
from src.models.multihead_module import MultiheadLitModule
from src.utils.errors import ConfigError
from src.utils.pylogger import RankedLogger

log = RankedLogger(__name__, rank_zero_only=True)


class _Seen(NamedTuple):
    """A batch, as the network saw it, and what it said."""

    images: Tensor
    features: Tensor
    auxiliary: Tensor | None
    outputs: dict[str, Tensor]
    true: Tensor  # float64 (B, P), in units


def calibrate(model: MultiheadLitModule, datamodule: VIMHDataModule) -> Calibration:
    """Measure a model on all of its validation split and on a seeded sample of the training split.

    Args:
        model: On any device; it is left in eval mode.
        datamodule: The data that it was trained on, split as then.

    Raises:
        ConfigError: If there are no validation samples, or the model's figures are not finite.
    """
    if len(datamodule.splits.val) == 0:
        raise ConfigError(
            "there are no validation samples, which intervals are measured on: give the second of "
            "data.train_val_test_split more than 0"
        )
    unlike = _unlike(model.eval(), datamodule)
    scores, far, squares = [], [], []
    for seen in _seen(model, datamodule, "val"):
        columns = zip(model.heads.items(), seen.true.unbind(1), strict=True)
        own = [head_scores(head, seen.outputs[name], true) for (name, head), true in columns]
        scores.append(torch.stack(own, dim=1))
        squares.append(_squared_errors(model, seen))
        if unlike is not None:
            far.append(unlike[1].distance(seen.images, seen.features, seen.auxiliary))
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


def _squared_errors(model: MultiheadLitModule, seen: _Seen) -> Tensor:
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
    model: MultiheadLitModule, datamodule: VIMHDataModule
) -> tuple[dict[str, Tensor], Unlike] | None:
    """Fit what sounds are compared with; None where there are fewer than two training samples."""
    shape = model.required_preparation.image_shape
    parts: list[tuple[Tensor, Tensor, Tensor | None]] = [
        (coarse(seen.images, cell(shape)), seen.features, seen.auxiliary)
        for seen in _seen(model, datamodule, "train", SAMPLES)
    ]
    pixels, features, auxiliary = zip(*parts, strict=True) if parts else ((), (), ())
    if sum(map(len, pixels)) < 2:
        return None
    given = [own for own in auxiliary if own is not None]
    tensors = fit_unlike(
        shape, torch.cat(pixels), torch.cat(features), torch.cat(given) if given else None
    )
    none = {"distances": torch.zeros(1)}
    return tensors, Unlike({**tensors, **none}, shape, 1).to(model.device)


@torch.no_grad()
def _seen(
    model: MultiheadLitModule, datamodule: VIMHDataModule, split: str, limit: int | None = None
) -> Iterator[_Seen]:
    """Yield the batches of a split as they are predicted, without augmentation."""
    preparation = model.required_preparation
    parameters = datamodule.metadata.parameters
    for raw in datamodule.raw_batches(split, limit=limit):
        device = model.device
        images, auxiliary = preparation(raw.images.to(device), raw.scale_factors.to(device))
        outputs, features = outputs_and_features(model, images, auxiliary)
        values = widened(raw.values.to(device), parameters.values()).cpu().numpy()
        true = torch.from_numpy(parameters.codec.denormalise(values)).to(device)
        yield _Seen(images, features.float(), auxiliary, outputs, true)


def calibrate_checkpoint(path: Path, datamodule: VIMHDataModule) -> Calibration:
    """Calibrate the model of a checkpoint, and write that into the file; the rest stays as it is.

    Args:
        path: A checkpoint of a run; it is replaced as a whole or not at all.
        datamodule: The data that it was trained on, split as then.

    Raises:
        CheckpointError: If the file cannot be read or replaced.
        ConfigError: As :func:`src.checkpoint.read_checkpoint` and :func:`calibrate`.
    """
    raw = load_checkpoint(path)
    # The random numbers of building it are no part of the run's.
    with torch.random.fork_rng(devices=[]):
        model = load_model(check_content(raw, path))
    calibration = calibrate(model, datamodule)
    AtomicCheckpointIO().save_checkpoint({**raw, CALIBRATION: calibration.to_parts()}, path)
    return calibration
