"""Checkpoints as files from elsewhere: read without running any code, then built from.

A checkpoint says what the network and the losses are. What it says is plain data, checked once as
a whole. The classes are looked up in the tables of :mod:`src.model_settings`, or imported from the
modules that the user trusts (:mod:`src.utils.trust`), and built from the values that were checked.
Trainer, callbacks, loggers and optimiser come from our own configs, and no path in a checkpoint is
followed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from src.build import CHECKPOINT_DATA_KEYS, build_from
from src.calibration.calibration import NUMBERS, TENSORS, Calibration
from src.checkpoints.checkpoint_io import load_checkpoint
from src.checkpoints.zoo import model_path
from src.data.vimh_datamodule import VIMHDataModule
from src.inputs.preparation import Preparation
from src.inputs.preparation_settings import PreparationSettings
from src.model_settings import (
    LOSSES,
    MODULES,
    NETWORKS,
    OF_MODULE,
    ModelSettings,
    head_settings,
    loss_spec,
    loss_specs,
    module_spec,
    network_spec,
)
from src.models.intervals import adopt
from src.models.multihead_module import MultiheadLitModule
from src.schema.arguments import check_arguments, shown, signature_of, unknown_key
from src.schema.plain import check_plain, plain_values
from src.schema.specs import HYDRA_KEYS, TARGET, listed
from src.synth.front_end import FrontEnd
from src.synth.synthesizers import Synthesizer
from src.synth.table import own_classes
from src.utils.errors import CheckpointError, ConfigError
from src.utils.pylogger import RankedLogger
from src.utils.trust import KEY, current_trust
from src.vimh.metadata import Metadata

log = RankedLogger(__name__, rank_zero_only=True)

SAFETENSORS = ".safetensors"
MAX_TEXT_BYTES = 4 * 2**20  # of the descriptions in a safetensors file; 0.02 MB is usual
MAX_HEADER_BYTES = 16 * 2**20  # of a safetensors file; it names the tensors
GROUPS = ("data", "model", "loss")
NEEDED = ("avix", "state_dict", "epoch", "global_step")
CALIBRATION = "calibration"  # its key in a checkpoint, and the beginning of its tensors' names


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file, read and checked; nothing is built of it yet."""

    path: Path  # where it lies
    settings: ModelSettings  # the network, the losses and the weights of the heads
    # The checked settings of the data, those of :data:`CHECKPOINT_DATA_KEYS`
    data: Mapping[str, Any]
    preparation: PreparationSettings  # what its network sees of the data
    metadata: Metadata  # the description of the data set it was trained on
    state_dict: dict[str, Tensor]  # the module's tensors
    epoch: int  # the epoch it was saved in, from 0
    global_step: int  # the optimiser steps taken
    calibration: Calibration | None = None  # what was measured of it; None in older files


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint, or a file of :func:`write_safetensors`: plain data and tensors, no code.

    Args:
        path: The file, or ``zoo:NAME``: a model of the repository, from any working directory.

    Raises:
        CheckpointError: If there is no such file, or it is damaged or no checkpoint at all.
        ConfigError: If it is not a checkpoint of this project, or its config is not what one says.
        VIMHError: If its description of a data set is none.
    """
    path = model_path(path)
    raw = _load_safetensors(path) if path.suffix == SAFETENSORS else load_checkpoint(path)
    return check_content(raw, path)


def check_content(raw: Any, path: Path) -> Checkpoint:
    """Check the content of a checkpoint as a whole, before any part is used.

    Raises:
        ConfigError: If it is not a checkpoint of this project, or its config is none.
        VIMHError: If its metadata are none.
    """
    if not isinstance(raw, Mapping) or any(key not in raw for key in NEEDED):
        raise ConfigError(
            f"{path} is not a checkpoint of this project: it needs the keys {', '.join(NEEDED)}."
        )
    described = raw["avix"]
    if not isinstance(described, Mapping) or not {"config", "metadata"} <= described.keys():
        raise ConfigError(f"{path} does not describe its model: no avix.config or avix.metadata.")
    for key in ("config", "metadata"):
        if not isinstance(described[key], dict):
            raise ConfigError(f"{path}: avix.{key} is {shown(described[key])}; expected a mapping.")
        check_plain(described[key], f"{path}: avix.{key}")
    for key in ("epoch", "global_step"):
        if type(raw[key]) is not int or not 0 <= raw[key] < 2**63:
            raise ConfigError(f"{path}: {key} is {shown(raw[key])}; expected a whole number.")
    try:
        data, preparation, settings = _checked_config(plain_values(described["config"]))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    metadata = Metadata.from_json(plain_values(described["metadata"]), where=str(path))
    return Checkpoint(
        path=path,
        settings=settings,
        data=data,
        preparation=preparation,
        metadata=metadata,
        state_dict=_checked_tensors(raw["state_dict"], path),
        epoch=raw["epoch"],
        global_step=raw["global_step"],
        calibration=_checked_calibration(raw.get(CALIBRATION), list(metadata.parameters), path),
    )


def _checked_calibration(parts: Any, heads: list[str], path: Path) -> Calibration | None:
    if parts is None:
        return None
    if isinstance(parts, Mapping):
        check_plain(parts.get(NUMBERS), f"{path}: {CALIBRATION}")
        _checked_tensors(parts.get(TENSORS), path, CALIBRATION)
    return Calibration.from_parts(parts, heads, str(path))


def _checked_config(
    config: dict[str, Any],
) -> tuple[dict[str, Any], PreparationSettings, ModelSettings]:
    """Read the data's settings and the model's from the config in a file, which is plain data."""
    for key in config:
        if key not in GROUPS:
            raise ConfigError(unknown_key(key, key, GROUPS))
    for key in GROUPS:
        if not isinstance(config.get(key), dict):
            raise ConfigError(f"{key} is {shown(config.get(key))}; expected a mapping")
    data, model = config["data"], config["model"]
    known = {*signature_of(VIMHDataModule).arguments, TARGET, *HYDRA_KEYS}
    for key in data:
        if key not in known:
            raise ConfigError(unknown_key(f"data.{key}", key, sorted(known)))
    for key in ("model.net", "loss"):
        if (model.get("net") if key == "model.net" else config["loss"]) is None:
            raise ConfigError(f"its config has no {key}")
    preparation = PreparationSettings.of(data)
    given = {key: data[key] for key in CHECKPOINT_DATA_KEYS if data.get(key) is not None}
    kept = dict.fromkeys(CHECKPOINT_DATA_KEYS) | check_arguments(
        VIMHDataModule, given, "data", complete=False
    )
    only = "a checkpoint may name only"
    # How it was trained is there for people, and decides nothing.
    built = {key: value for key, value in model.items() if key not in OF_MODULE}
    module = module_spec(built, listed(MODULES, f"{only} modules"))
    heads = head_settings(model)
    look_up = listed(LOSSES, f"{only} losses")
    losses = loss_specs(model.get("losses"), look_up)
    kept_nodes = {"net": model["net"]} | ({"losses": model["losses"]} if losses else {})
    settings = ModelSettings(
        module=module,
        net=network_spec(model.get("net"), listed(NETWORKS, f"{only} networks")),
        loss=loss_spec(config["loss"], look_up),
        losses=losses,
        target_width=kept.get("target_width") or 0.0,
        config={
            "data": {**vars(preparation), **kept},
            "model": {TARGET: module.target, **kept_nodes, **module.arguments, **heads},
            "loss": config["loss"],
        },
        **heads,
    )
    return kept, preparation, settings


def warn_of_untrusted(model: MultiheadLitModule) -> None:
    """Warn before a training of the classes that no later command would load."""
    config, metadata = model.provenance["config"], model.provenance["metadata"]
    synth = (metadata.get("recipe") or {}).get("synth") or {}
    front_end = metadata.get("spectrogram_config") or {}
    losses = {f"model.losses.{n}": own for n, own in (config["model"].get("losses") or {}).items()}
    named = {
        f"model.{TARGET}": (config["model"].get(TARGET), MODULES),
        "model.net": (config["model"]["net"][TARGET], NETWORKS),
        "loss": (config["loss"][TARGET], LOSSES),
        **{key: (own[TARGET], LOSSES) for key, own in losses.items() if own is not None},
        "the data set's synthesiser": (synth.get(TARGET), own_classes(Synthesizer)),
        "the data set's front end": (front_end.get(TARGET), own_classes(FrontEnd)),
    }
    found = {
        key: target
        for key, (target, table) in named.items()
        if target is not None and target not in table and not current_trust().covers(target)
    }
    if found:
        modules = dict.fromkeys(target.rpartition(".")[0] for target in found.values())
        log.warning(
            "%s: no other command will import this from a checkpoint or data set, unless you trust "
            "its module. Say %s=[%s] in your own config, or on each command line: docs/own_code.md",
            ", ".join(f"{key} is {target}" for key, target in found.items()),
            KEY,
            ",".join(modules),
        )


def _checked_tensors(state: Any, path: Path, key: str = "state_dict") -> dict[str, Tensor]:
    """Check that the tensors by name are plain, and that each has memory of its own size.

    A tensor of a million million numbers can be a view of one number: what is copied from it is not
    bounded by the file.
    """
    if not isinstance(state, Mapping):
        raise ConfigError(f"{path}: {key} is {shown(state)}; expected tensors by name.")
    total, size = 0, path.stat().st_size
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ConfigError(
                f"{path}: {key} has {shown(name)} of type {type(tensor).__name__}; expected "
                "tensors by name."
            )
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
            raise ConfigError(f"{path}: {key}.{name[:100]} is no plain tensor.")
        if tensor.is_complex() or tensor.requires_grad:
            raise ConfigError(f"{path}: {key}.{name[:100]} is no tensor of plain numbers.")
        total += tensor.numel() * tensor.element_size()
        if total > size:
            raise ConfigError(
                f"{path}: {key}: its tensors would take more than the {size} bytes of the file; "
                "expected each to be stored whole."
            )
    return dict(state)


def write_safetensors(checkpoint: Checkpoint, path: Path, about: Mapping[str, str]) -> Path:
    """Write what loading needs as safetensors: no optimiser's state, and no paths of ours.

    ``about`` has more texts by name for the file's own metadata.
    """
    from safetensors.torch import save_file

    described = {
        "config": dict(checkpoint.settings.config),
        "metadata": checkpoint.metadata.to_json(),
    }
    place = {"epoch": checkpoint.epoch, "global_step": checkpoint.global_step}
    texts = {"avix": json.dumps(described), "place": json.dumps(place)}
    tensors = dict(checkpoint.state_dict)
    if checkpoint.calibration is not None:
        parts = checkpoint.calibration.to_parts()
        texts[CALIBRATION] = json.dumps(parts[NUMBERS])
        tensors |= {f"{CALIBRATION}.{name}": own for name, own in parts[TENSORS].items()}
    tensors = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    save_file(tensors, path, metadata={**about, **texts})
    return path


def _load_safetensors(path: Path) -> dict[str, Any]:
    """Read the keys of a checkpoint from a format that holds numbers and texts, and no code."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such checkpoint file")
    with path.open("rb") as start:
        header_bytes = int.from_bytes(start.read(8), "little")
    if header_bytes > min(MAX_HEADER_BYTES, path.stat().st_size):
        raise CheckpointError(
            f"{path} cannot be read as safetensors: its header claims {header_bytes} bytes"
        )
    try:
        with safe_open(path, framework="pt") as file:
            texts = file.metadata() or {}
            too_long = [key for key, text in texts.items() if len(text) > MAX_TEXT_BYTES]
            if too_long:
                raise ValueError(f"{too_long[0]} has more than {MAX_TEXT_BYTES} characters")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        known = ("avix", "place", CALIBRATION)
        described = {key: json.loads(texts[key]) for key in known if key in texts}
    except (SafetensorError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from error
    place = described.pop("place", {})
    if CALIBRATION in described:
        ours = [name for name in tensors if name.startswith(f"{CALIBRATION}.")]
        own = {name.removeprefix(f"{CALIBRATION}."): tensors.pop(name) for name in ours}
        described[CALIBRATION] = {NUMBERS: described[CALIBRATION], TENSORS: own}
    return {**described, **(place if isinstance(place, dict) else {}), "state_dict": tensors}


def load_model(checkpoint: Checkpoint) -> MultiheadLitModule:
    """Build the module that a checkpoint describes and load its weights, in eval mode.

    Raises:
        ConfigError: If the parts do not fit one another, or the weights do not fit the network.
    """
    try:
        preparation = Preparation(checkpoint.metadata, checkpoint.preparation)
        model = build_from(
            checkpoint.settings, checkpoint.metadata, preparation, checkpoint.state_dict
        )
        model.load_state_dict(checkpoint.state_dict)
        if checkpoint.calibration is not None:
            adopt(model, checkpoint.calibration)
    except RuntimeError as error:
        raise ConfigError(
            f"{checkpoint.path}: its weights do not fit the network it describes: {error}"
        ) from error
    except ValueError as error:  # of what the file says, in any part that is built
        raise ConfigError(f"{checkpoint.path}: {error}") from error
    return model.eval()
