"""Before a training goes on from a checkpoint: is it of the same data, heads, network and loss?

Weights and the optimiser's state mean nothing elsewhere, and the best epoch of another data set
says nothing of this one. So what differs is refused by its key. The settings of optimiser and
scheduler may differ: :mod:`src.new_settings` applies them. Fine-tuning is something else.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import torch
from omegaconf import DictConfig
from torch import nn

from src.build import Built
from src.checkpoints.checkpoint_io import load_checkpoint
from src.models.multihead_module import MultiheadLitModule
from src.schema.arguments import shown
from src.schema.plain import check_plain, plain_values
from src.schema.specs import HYDRA_KEYS, TARGET
from src.utils.errors import CheckpointError, ConfigError
from src.utils.pylogger import RankedLogger

log = RankedLogger(__name__, rank_zero_only=True)

# Settings of the data that decide what the network sees, what it learns from, and which samples
# it must not have seen. Augmentation and the size of batches may change.
DATA_KEYS = (
    "feature_types",
    "feature_config",
    "auxiliary_features",
    "channel_selection",
    "target_width",
    "train_val_test_split",
    "use_random_split",
    "avix_training_mode",
    "seed",
)
# What says that two data sets are the same; a checksum of every file where there is one.
METADATA_KEYS = (
    "dataset_name",
    "height",
    "width",
    "channels",
    "channel_labels",
    "parameter_names",
    "parameter_mappings",
    "recipe",
    "checksums",
)
# Lightning's own words for a checkpoint; they mean none that this project writes.
WORDS = ("best", "hpc", "registry")
SETTINGS = ("optimizer", "scheduler")
Difference = tuple[str, Any, Any]  # a key and its two values


@dataclass(frozen=True)
class Former:
    """What a checkpoint says of the settings that may change."""

    path: Path  # where it lies
    optimizer: Mapping[str, object]  # the keys of model.optimizer
    scheduler: Mapping[str, object]  # the keys of model.scheduler; empty where there was none
    own_folder: bool  # whether the run goes on where it was
    epochs: int  # the epochs that are trained
    is_finished: bool = False  # whether nothing is left to train; only the test is done


def check_going_on(cfg: DictConfig, built: Built) -> Former | None:
    """Compare a checkpoint with the run that is to go on from it.

    Returns:
        The settings that it was trained with; None without a ``ckpt_path``.

    Raises:
        CheckpointError: If there is no such checkpoint, or nothing can go on from it.
        ConfigError: If its data, heads, network, loss, optimiser or scheduler are others, or it
            has all epochs or steps that the config admits; names the key.
    """
    if cfg.ckpt_path is None:
        return None
    path = _file(str(cfg.ckpt_path))
    checkpoint = load_checkpoint(path)
    then = _description(checkpoint, path)
    now = plain_values(built.model.provenance)
    for key, before, after in _differences(then, now):
        raise ConfigError(
            f"ckpt_path={path}: it was trained with {key} {shown(before)}, and this run has "
            f"{shown(after)}. Going on is for the same data, heads, network, loss, optimiser and "
            f"scheduler: leave {key} as it was, or start anew with ckpt_path=null"
        )
    was_exact, is_exact = (_is_exact(described["metadata"]) for described in (then, now))
    if was_exact != is_exact:
        log.warning(
            f"ckpt_path={path} was trained {'on exact values' if was_exact else 'on bytes'}, and "
            f"the data set now has {'exact values' if is_exact else 'bytes alone'}: figures from "
            "here on are of these"
        )
    _check_states(checkpoint, path)
    _check_moments(checkpoint, then, built.model, path)
    own_folder = Path(cfg.paths.output_dir).absolute() in path.absolute().parents
    epochs, is_finished = _check_length(cfg, checkpoint, path, own_folder)
    optimizer, scheduler = (then["config"]["model"].get(name) or {} for name in SETTINGS)
    return Former(path, optimizer, scheduler, own_folder, epochs, is_finished)


def _file(ckpt_path: str) -> Path:
    if ckpt_path.partition(":")[0] in WORDS:
        raise ConfigError(
            f"ckpt_path={ckpt_path}: name the checkpoint's file; ckpt_path=last goes on with the "
            "newest run, and the best epoch of a run is checkpoints/epoch_….ckpt in its folder"
        )
    path = Path(ckpt_path)
    if path.is_dir():
        raise CheckpointError(
            f"ckpt_path={path} is a folder without checkpoints/last.ckpt: name a checkpoint's "
            "file, or the folder of a run"
        )
    if path.suffix == ".safetensors":
        raise CheckpointError(
            f"ckpt_path={path} holds weights for prediction and no state of a training: go on "
            "from a .ckpt file"
        )
    return path


def _description(checkpoint: Mapping[str, object], path: Path) -> dict[str, Any]:
    """Read the checkpoint's description of its data and model."""
    check_plain(checkpoint.get("avix"), f"{path}: avix")
    described = plain_values(checkpoint.get("avix"))
    parts = ("metadata", "config", "config.data", "config.model", "config.loss")
    for part in (*parts, "config.model.optimizer"):
        node = described
        for name in part.split("."):
            node = node.get(name) if isinstance(node, dict) else None
        if not isinstance(node, dict):
            raise CheckpointError(
                f"ckpt_path={path} has no avix.{part}: it does not say what it was trained with, "
                "so nothing can go on from it"
            )
    assert isinstance(described, dict)
    return described


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield each key that has to be the same and is not, with both values."""
    for key in METADATA_KEYS:
        before, after = then["metadata"].get(key), now["metadata"].get(key)
        # Sets of before there were checksums and recipes have none.
        if key in ("recipe", "checksums") and None in (before, after):
            continue
        # The same samples may be there with exact values or without, as pickles or not.
        if key == "checksums" and isinstance(before, dict) and isinstance(after, dict):
            common = before.keys() & after.keys()
            before, after = ({name: sums[name] for name in common} for sums in (before, after))
        yield from _nested(f"the data set's {key}", before, after)
    old, new = then["config"], now["config"]
    for key in DATA_KEYS:
        yield from _nested(f"data.{key}", old["data"].get(key), new["data"].get(key))
    yield from _node("model.net", old["model"].get("net"), new["model"]["net"])
    margins = (part["model"].get("head_margin") or 0.0 for part in (old, new))
    yield from _nested("model.head_margin", *margins)
    yield from _node("loss", old["loss"], new["loss"])
    yield from _losses(old["model"].get("losses"), new["model"].get("losses") or {})
    for name in SETTINGS:
        before, after = ((part["model"].get(name) or {}).get(TARGET) for part in (old, new))
        yield from _nested(f"model.{name}.{TARGET}", before, after)


def _is_exact(metadata: Mapping[str, object]) -> bool:
    encoding = metadata.get("label_encoding")
    return isinstance(encoding, dict) and encoding.get("values") is not None


def _nested(key: str, before: object, after: object) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            yield from _nested(f"{key}.{name}", before.get(name), after.get(name))
    elif before != after:
        yield key, before, after


def _losses(then: object, now: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield the differences of the losses of single heads and kinds; null is a missing one."""
    then = then if isinstance(then, dict) else {}
    for name in sorted(then.keys() | now.keys(), key=str):
        key, before, after = f"model.losses.{name}", then.get(name), now.get(name)
        yield from _nested(key, before, None) if after is None else _node(key, before, after)


def _node(key: str, before: object, after: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield the differences of two nodes of a class; a missing argument has its default."""
    before = before if isinstance(before, dict) else {}
    if before.get(TARGET) != after[TARGET]:
        yield f"{key}.{TARGET}", before.get(TARGET), after[TARGET]
        return
    for name, old, new in changed_arguments(before, after):
        yield f"{key}.{name}", old, new


def changed_arguments(
    before: Mapping[str, object], after: Mapping[str, Any]
) -> Iterator[Difference]:
    """Return the arguments that differ between two nodes of one class, with both values."""
    parameters = inspect.signature(hydra.utils.get_object(after[TARGET])).parameters
    for name in sorted((before.keys() | after.keys()) - {TARGET, *HYDRA_KEYS}):
        known = name in parameters
        default = parameters[name].default if known else None
        default = None if default is inspect.Parameter.empty else plain_values(default)
        old, new = before.get(name, default), after.get(name, default)
        if old != new:
            yield name, old, new


def _check_states(checkpoint: Mapping[str, object], path: Path) -> None:
    for key in ("optimizer_states", "lr_schedulers", "loops"):
        if key not in checkpoint:
            raise CheckpointError(
                f"ckpt_path={path} has no {key}: it holds the weights only "
                "(callbacks.model_checkpoint.save_weights_only=true), so no training can go on "
                "from it. Take last.ckpt beside it, or use it with src/eval.py and src/predict.py"
            )


def _check_moments(
    checkpoint: Mapping[str, object],
    then: Mapping[str, Any],
    model: MultiheadLitModule,
    path: Path,
) -> None:
    """Refuse settings for which the optimiser needs a state that it did not keep."""
    assert model.optimizer is not None
    now = model.provenance["config"]["model"]["optimizer"]
    changed = [name for name, _, _ in changed_arguments(then["config"]["model"]["optimizer"], now)]
    if not changed:
        return
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    twin = model.optimizer(params=[weight])
    twin.step(lambda: 0.0)  # some need a closure
    needed = {name for name, value in twin.state[weight].items() if value is not None}
    # The whole of it is checked where it is loaded: src.checkpoints.resumed_state.
    states = checkpoint["optimizer_states"]
    first = states[0] if isinstance(states, list) and states else None
    kept = first.get("state") if isinstance(first, dict) else None
    for state in kept.values() if isinstance(kept, dict) else ():
        # Where there is nothing yet, the optimiser makes what it needs.
        if isinstance(state, dict) and state and (missing := sorted(needed - state.keys())):
            names = ", ".join(f"model.optimizer.{name}" for name in changed)
            raise ConfigError(
                f"ckpt_path={path}: {names} would need {', '.join(missing)} of each weight, which "
                "the optimiser has not kept: leave it as it was, or start anew with ckpt_path=null"
            )


def _check_length(
    cfg: DictConfig, checkpoint: Mapping[str, object], path: Path, own_folder: bool
) -> tuple[int, bool]:
    """Return the trained epochs, and whether they are all; refuse a new run with none left.

    A run that goes on in its own folder may have ended before its test: then only that is done.
    """
    epochs: object = checkpoint
    for name in ("loops", "fit_loop", "epoch_progress", "current", "processed"):
        epochs = epochs.get(name) if isinstance(epochs, dict) else None
    steps = checkpoint.get("global_step")
    if type(epochs) is not int or type(steps) is not int:
        raise CheckpointError(
            f"ckpt_path={path} does not say how far it is: its loops have {shown(epochs)} epochs, "
            f"its global_step is {shown(steps)}"
        )
    for key, unit, done in (("max_epochs", "epochs", epochs), ("max_steps", "steps", steps)):
        most = cfg.trainer.get(key)
        if most in (None, -1) or done < most:
            continue
        said = f"ckpt_path={path} has {done} {unit} already, and trainer.{key} is {most}"
        if not own_folder or done > most:
            raise ConfigError(
                f"{said}: to go on, set trainer.{key} to more than {done}; to measure it, use "
                f"src/eval.py ckpt_path={path}"
            )
        log.warning("%s: nothing is left to train; only the test is done.", said)
        return epochs, True
    return epochs, False
