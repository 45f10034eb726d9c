"""What a checkpoint says to a training that goes on from it, held against the run's own state.

Lightning and torch put a checkpoint's states into their objects as they are: ``__dict__.update``
for the loops' counters and the schedulers, and paths that files are removed by. So everything is
compared with what the run has of its own before any of it is taken: the same keys, the same types,
the same shapes; and of paths only those to files of the run's own folder are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from src.utils.errors import CheckpointError

MAX_COUNT = 2**53  # of steps, epochs and samples
MAX_TEXT = 4096
_LOOPS = ("fit_loop", "validate_loop", "test_loop", "predict_loop")
_SCORES = ("best_model_score", "current_score", "kth_value")
_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")
_NUMBERS = (int, float)


def check_resumed(checkpoint: dict[str, object], module: LightningModule) -> None:
    """Refuse a checkpoint that does not fit the run, before its parts are handed out.

    Paths in it that do not lead to a file of this run's own folder are emptied.

    Raises:
        CheckpointError: If a part is missing, or of another kind than the run's own.
    """
    trainer: Any = module.trainer
    _check_weights(checkpoint.get("state_dict"), module)
    _check_callbacks(checkpoint, trainer)
    plugin = trainer.precision_plugin
    name = type(plugin).__qualname__
    if name in checkpoint:
        check_like(checkpoint[name], plugin.state_dict(), name)
    if "native_amp_scaling_state" in checkpoint:
        raise CheckpointError("native_amp_scaling_state is of a version that is not read any more")
    if trainer.state.fn == TrainerFn.FITTING:
        _check_training(checkpoint, trainer)
    elif "loops" in checkpoint:
        _check_loops(checkpoint["loops"], trainer)


def _check_training(checkpoint: dict[str, Any], trainer: Any) -> None:
    for key in ("optimizer_states", "lr_schedulers"):
        if not isinstance(checkpoint.get(key), list):
            raise CheckpointError(
                f"{key} is {_kind(checkpoint.get(key))}; expected a list. Training goes on from "
                "checkpoints that it wrote itself, with save_weights_only=false"
            )
    _check_loops(checkpoint.get("loops"), trainer)
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    if trainer.max_epochs not in (None, -1) and epochs > trainer.max_epochs:
        raise CheckpointError(
            f"it has trained {epochs} epochs, and trainer.max_epochs is {trainer.max_epochs}: "
            "raise it"
        )


def _check_weights(state: object, module: LightningModule) -> None:
    own = module.state_dict()
    if not isinstance(state, Mapping):
        raise CheckpointError(f"state_dict is {_kind(state)}; expected tensors by name")
    for name in own:
        if name not in state:
            raise CheckpointError(f"state_dict.{name} is missing: its model is another one")
    for name, tensor in state.items():
        key = f"state_dict.{str(name)[:100]}"
        if name not in own:
            raise CheckpointError(f"{key} is unknown here: its model is another one")
        check_like(tensor, own[name], key)


def _check_loops(loops: object, trainer: Trainer) -> None:
    if not isinstance(loops, dict) or "fit_loop" not in loops:
        raise CheckpointError("loops is no mapping with a fit_loop")
    for name in loops:
        if name not in _LOOPS:
            raise CheckpointError(f"loops.{str(name)[:60]} is unknown")
        found, own = loops[name], getattr(trainer, name).state_dict()
        if not isinstance(found, dict):
            raise CheckpointError(f"loops.{name} is {_kind(found)}; expected a mapping")
        for key, value in found.items():
            where = f"loops.{name}.{str(key)[:60]}"
            if key not in own:
                raise CheckpointError(f"{where} is unknown")
            if key == "state_dict" or str(key).endswith(".state_dict"):
                _check_places(value, where)
            else:
                check_like(value, own[key], where, counts=True)
        if missing := [key for key in own if key.endswith("_progress") and key not in found]:
            raise CheckpointError(f"loops.{name}.{missing[0]} is missing")


def _check_places(value: object, key: str) -> None:
    """Check the loaders' places in an epoch and the number of steps: whole numbers by name."""
    if isinstance(value, dict):
        for name, part in value.items():
            _check_places(part, f"{key}.{str(name)[:60]}")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            _check_places(part, f"{key}[{number}]")
    elif type(value) is not int or not 0 <= value < MAX_COUNT:
        raise CheckpointError(f"{key} is {_kind(value)}; expected a whole number of at least 0")


def _check_callbacks(checkpoint: dict[str, object], trainer: Any) -> None:
    states = checkpoint.get("callbacks")
    if states is None:
        return
    if not isinstance(states, dict):
        raise CheckpointError(f"callbacks is {_kind(states)}; expected a mapping")
    for name, state in states.items():
        if not isinstance(name, str) or not isinstance(state, dict):
            raise CheckpointError(f"callbacks.{str(name)[:60]} is {_kind(state)}; expected states")
    for callback in trainer.callbacks:
        state = states.get(callback.state_key)
        if state is not None:
            states[callback.state_key] = checked_state(callback, state)


def checked_state(callback: Callback, state: dict[str, object]) -> dict[str, object]:
    """Check a callback's state and return it; unknown classes check theirs when they load it.

    Raises:
        CheckpointError: A value does not fit; the message names its key.
    """
    key = f"callbacks.{type(callback).__name__}"
    if isinstance(callback, EarlyStopping):
        found = {"stopping_reason": 0, "stopping_reason_message": None, **state}
        own = {**callback.state_dict(), "best_score": torch.zeros(())}
        # The run may have stopped since, and its best checkpoint was saved before.
        own["stopping_reason_message"] = None if found["stopping_reason_message"] is None else ""
        check_like(found, own, key, counts=True)
        reasons = {reason.value for reason in type(callback.stopping_reason)}
        if found["stopping_reason"] not in reasons:
            raise CheckpointError(f"{key}.stopping_reason is none of {sorted(reasons)}")
        return found
    return checked_files(callback, state, key) if isinstance(callback, ModelCheckpoint) else state


def checked_files(callback: ModelCheckpoint, state: dict[str, Any], key: str) -> dict[str, Any]:
    """Check a ``ModelCheckpoint``'s state; return it with paths into this run's folder only.

    Raises:
        CheckpointError: A value does not fit; the message names its key.
    """
    for name in _SCORES:
        if not _is_score(state.get(name)):
            raise CheckpointError(f"{key}.{name} is {_kind(state.get(name))}; expected a number")
    kept = {name: state.get(name) or "" for name in (*_PATHS, "dirpath")}
    best = state.get("best_k_models", {})
    if not isinstance(best, dict) or not all(map(_is_score, best.values())):
        raise CheckpointError(f"{key}.best_k_models is no mapping of paths to numbers")
    for name, path in [*kept.items(), *(("best_k_models", path) for path in best)]:
        if not isinstance(path, str) or len(path) > MAX_TEXT or not path.isprintable():
            raise CheckpointError(f"{key}.{name} is {_kind(path)}; expected a path")
    folder = str(callback.dirpath)
    is_own = kept["dirpath"] == folder
    for name in _PATHS:
        kept[name] = kept[name] if is_own and lies_in(kept[name], folder) else ""
    # Without its file a score is of no use, and would keep new files from being written.
    if not kept["best_model_path"] or not all(lies_in(path, folder) for path in best):
        scores = {**dict.fromkeys(_SCORES), "kth_value": callback.kth_value}
        return {"monitor": callback.monitor, **kept, **scores, "best_k_models": {}}
    if kept["kth_best_model_path"] not in best and 0 < callback.save_top_k <= len(best):
        raise CheckpointError(f"{key}.kth_best_model_path is none of best_k_models")
    scores = {name: state.get(name) for name in _SCORES}
    return {"monitor": callback.monitor, **kept, **scores, "best_k_models": best}


def _is_score(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and value.is_floating_point() and not value.isnan().any()
    return value is None or (type(value) in _NUMBERS and not math.isnan(value))


def lies_in(path: str, folder: str) -> bool:
    """Tell whether a path leads into a folder, with no ``..`` on the way."""
    file = Path(path)
    return ".." not in file.parts and Path(folder) in file.parents


def check_optimizers(
    checkpoint: Mapping[str, Any],
    optimizer: torch.optim.Optimizer,
    scheduler: Any,
    make: Callable[..., torch.optim.Optimizer],
) -> None:
    """Refuse states that are not of the run's own optimiser and scheduler.

    Raises:
        CheckpointError: As :func:`check_resumed`.
    """
    states, schedulers = checkpoint["optimizer_states"], checkpoint["lr_schedulers"]
    if len(states) != 1:
        raise CheckpointError(f"optimizer_states has {len(states)} entries; expected one")
    (state,) = states
    if not isinstance(state, dict) or state.keys() != {"state", "param_groups"}:
        raise CheckpointError("optimizer_states[0] is none of an optimiser")
    groups, own = state["param_groups"], optimizer.state_dict()["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(own):
        raise CheckpointError("optimizer_states[0].param_groups is none of this optimiser's")
    for number, (group, ours) in enumerate(zip(groups, own, strict=True)):
        key = f"optimizer_states[0].param_groups[{number}]"
        check_like(group, ours, key)
        if group["params"] != ours["params"]:
            raise CheckpointError(f"{key}.params are not those of the model")
    _check_moments(state["state"], optimizer, make)
    own_schedulers = [] if scheduler is None else [scheduler.state_dict()]
    check_like(schedulers, own_schedulers, "lr_schedulers")


def _check_moments(
    found: object, optimizer: torch.optim.Optimizer, make: Callable[..., torch.optim.Optimizer]
) -> None:
    """Check the optimiser's state of each weight against that of one after a step on zeros."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    copies = [torch.nn.Parameter(torch.zeros_like(weight)) for weight in weights]
    for weight in copies:
        weight.grad = torch.zeros_like(weight)
    probe = make(params=copies)
    probe.step(lambda: 0.0)  # some need a closure
    own = probe.state_dict()["state"]
    if not isinstance(found, dict):
        raise CheckpointError("optimizer_states[0].state is no mapping")
    for index, state in found.items():
        key = f"optimizer_states[0].state[{str(index)[:20]}]"
        if index not in own:
            raise CheckpointError(f"{key} is of no weight of this model and optimiser")
        check_like(state, own[index], key)


def check_like(found: Any, own: object, key: str, *, counts: bool = False) -> None:
    """Refuse a value that is not of the kind of another one.

    Args:
        found: The value out of a checkpoint.
        own: The run's own: mappings have its keys, lists its length, tensors its shape.
        key: Where the value stands, for messages.
        counts: Whether whole numbers have to be at least 0, and are no others.

    Raises:
        CheckpointError: Names the key.

    Example:
        >>> check_like({"lr": 0.5}, {"lr": 1}, "group")
        >>> check_like({"lr": "a"}, {"lr": 1}, "group")
        Traceback (most recent call last):
        ...
        src.utils.errors.CheckpointError: group.lr is a str; expected a number
    """
    if isinstance(own, Tensor):
        _check_tensor(found, own, key)
    elif isinstance(own, Mapping):
        _check_keys(found, own, key)
        for name, value in found.items():
            if name in own:
                check_like(value, own[name], f"{key}.{name}", counts=counts)
    elif isinstance(own, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(own):
            raise CheckpointError(f"{key} is {_kind(found)}; expected a list of {len(own)}")
        for number, (value, ours) in enumerate(zip(found, own, strict=True)):
            check_like(value, ours, f"{key}[{number}]", counts=counts)
    else:
        is_like, expected = _like_scalar(found, own, counts)
        if not is_like:
            raise CheckpointError(f"{key} is {_kind(found)}; expected {expected}")


def _like_scalar(found: Any, own: Any, counts: bool) -> tuple[bool, str]:
    """Tell whether a value is of a scalar's kind, and what that kind is called."""
    if own is None:
        return found is None or type(found) in (bool, str, *_NUMBERS), "true or false"
    if isinstance(own, bool):
        return found is None or type(found) is bool, "true or false"
    if isinstance(own, str):
        return type(found) is str and len(found) <= MAX_TEXT, "a text"
    if counts:
        is_count = type(found) is int and 0 <= found < MAX_COUNT
        return is_count, "a whole number, 0 or more"
    if type(found) is int:
        return abs(found) < MAX_COUNT, "a number"
    # Infinite only if the run's own is.
    is_like = type(found) is float and not math.isnan(found)
    return is_like and (math.isfinite(found) or not math.isfinite(own)), "a number"


def _check_keys(found: object, own: Mapping[object, object], key: str) -> None:
    """Check that the keys are the run's own; another scheduler may have left ``initial_lr``."""
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{key} is {_kind(found)}; expected a mapping")
    for name in own:
        if name not in found:
            raise CheckpointError(f"{key}.{name} is missing; the run's own has it")
    for name in found:
        if name not in own and name != "initial_lr":
            raise CheckpointError(f"{key}.{str(name)[:60]} is unknown; the run's own has it not")


def _check_tensor(found: object, own: Tensor, key: str) -> None:
    if not isinstance(found, Tensor):
        raise CheckpointError(f"{key} is {_kind(found)}; expected a tensor")
    if found.shape != own.shape or found.is_floating_point() != own.is_floating_point():
        raise CheckpointError(
            f"{key} is {found.dtype} of shape {tuple(found.shape)}; expected {own.dtype} of shape "
            f"{tuple(own.shape)}"
        )


def _kind(value: Any) -> str:
    """Name the type of a value in a file; its text may be long."""
    if value is None:
        return "null"
    if type(value) in (bool, *_NUMBERS) and (isinstance(value, float) or abs(value) < 2**64):
        return str(value)
    return f"a {type(value).__name__}"
