"""A composed config, checked whole before anything starts.

Every key of our own has a type and bounds: those of the sections below, and for what a ``_target_``
names those of the constructor's signature. So a mistake is one sentence that names the key, before
data are made or anything is trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Interval, Len, Predicate, doc
from omegaconf import DictConfig

from src.schema.arguments import (
    check_arguments,
    check_value,
    section,
    shown,
    signature_of,
    unknown_key,
)
from src.schema.bounds import Count, NonNegative, PositiveCount, Seed, Text
from src.schema.foreign import bounds_of
from src.schema.plain import resolved
from src.schema.specs import HYDRA_KEYS, TARGET, imported
from src.utils.errors import ConfigError


def _is_folder_name(text: str) -> bool:
    return text.strip() == text and "\0" not in text and text not in (".", "..") and "/" not in text


Name = Annotated[
    str, Predicate(bool), Predicate(_is_folder_name), doc("the name of a folder, without a slash")
]
Tags = Text | Annotated[list[Text | int], Len(0, 1000)] | None
Node = Mapping[str, Any]


@dataclass(frozen=True)
class Monitor:
    """``monitor``: what checkpoints and early stopping look at."""

    metric: Text | None = None
    mode: Literal["min", "max"] | None = None


@dataclass(frozen=True)
class Paths:
    """``paths``: the folders."""

    root_dir: Text
    data_dir: Text
    vimh_dir: Text
    log_dir: Text
    output_dir: Text
    work_dir: Text


@dataclass(frozen=True)
class Extras:
    """``extras``: what is done before a task starts."""

    ignore_warnings: bool = False
    ignore_dataloader_warnings: bool = False
    enforce_tags: bool = False
    print_config: bool = False
    keep_freed_memory: bool = False


@dataclass(frozen=True)
class Report:
    """``report`` of an evaluation."""

    sounds: Count
    resamples: PositiveCount


@dataclass(frozen=True, kw_only=True)
class Task:
    """What every command's config has."""

    task_name: Name
    paths: Paths
    tags: Tags = None
    extras: Extras | None = None


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Task):
    """``configs/train.yaml``."""

    train: bool
    test: bool
    export: bool
    monitor: Monitor
    seed: Seed | None  # null: not seeded
    data: Node
    model: Node
    loss: Node
    trainer: Node
    optimized_metric: Text | None = None
    ckpt_path: Text | None = None
    callbacks: Node | None = None
    logger: Node | None = None


@dataclass(frozen=True, kw_only=True)
class EvalConfig(Task):
    """``configs/eval.yaml``."""

    ckpt_path: Text
    split: Literal["val", "test"]
    report: Report
    seed: Seed | None  # null: not seeded
    data: Node
    trainer: Node
    logger: Node | None = None


@dataclass(frozen=True, kw_only=True)
class PredictConfig(Task):
    """``configs/predict.yaml``."""

    ckpt_path: Text
    input: Text | Annotated[list[Text], Len(1, 1_000_000)]
    start: Literal["onset", "file"]
    split: Literal["train", "test"]
    batch_size: Annotated[int, Interval(ge=1, le=1_000_000)]
    sounds: Count
    play: bool
    limit: PositiveCount | None = None


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Task):
    """``configs/export.yaml``."""

    ckpt_path: Text
    opset: Annotated[int, Interval(ge=18, le=30)]
    tolerance: NonNegative
    output: Text | None = None


def check_config(cfg: DictConfig, schema: type[Task]) -> None:
    """Checks every key of a composed config that is ours, and what ``_target_`` s take.

    Args:
        cfg: As Hydra composed it.
        schema: The command's own keys.

    Raises:
        ConfigError: For the first key that is unknown, missing, of another type or out of bounds.
    """
    values = resolved(cfg)
    section(schema, values)
    if schema is EvalConfig:  # null: as the checkpoint has it
        values["data"] = {k: v for k, v in values["data"].items() if v is not None}
    if "data" in values:
        check_node(values["data"], "data")
    for group in ("callbacks", "logger"):
        for name, entry in (values.get(group) or {}).items():
            if entry is not None:
                check_node(entry, f"{group}.{name}")
    if "trainer" in values:
        check_trainer(values["trainer"])
    if "model" in values:
        from src.model_settings import ModelSettings

        check_model(values["model"])
        ModelSettings.of(cfg).try_optimizer()


def check_model(model: Mapping[str, Any]) -> None:
    """Checks the keys of ``model``; :class:`ModelSettings` checks the network and the loss.

    Raises:
        ConfigError: Naming the key.
    """
    from src.models.multihead_module import MultiheadLitModule
    from src.optimization import without_fused

    parts = ("net", "optimizer", "scheduler", "loss", "criterion")
    known = [key for key in signature_of(MultiheadLitModule).arguments if key not in OBJECTS]
    for key in model:
        if key not in (*known, *parts, TARGET):
            raise ConfigError(unknown_key(f"model.{key}", key, [*parts, *known]))
    given = {k: v for k, v in model.items() if k in known and v is not None and k not in parts}
    check_arguments(MultiheadLitModule, given, "model", complete=False)
    for key in ("optimizer", "scheduler"):
        if model.get(key) is not None:
            check_node(without_fused(model[key], f"model.{key}"), f"model.{key}")


# Arguments of the module that are objects; a config says them in other ways.
OBJECTS = ("criteria", "parameters", "preparation", "provenance")


def check_trainer(node: Any) -> None:
    """Checks the arguments of Lightning's Trainer; null is its own default.

    Raises:
        ConfigError: Naming the key.
    """
    from lightning.pytorch import Trainer

    given = _arguments(node, "trainer")
    objects = {key for key, value in given.items() if _holds_nodes(value)}
    for key in objects:
        _check_nodes(given[key], f"trainer.{key}")
    plain = {k: v for k, v in given.items() if k not in objects and v is not None}
    check_arguments(Trainer, plain, "trainer", bounds=bounds_of(Trainer))
    if node.get("max_epochs") is None and not (node.get("max_steps") or node.get("max_time")):
        expected = "a whole number of at least 1, or -1 for no limit"
        raise ConfigError(f"trainer.max_epochs is null; expected {expected}")


def check_node(node: Any, where: str) -> None:
    """Checks a node with a ``_target_`` of a user's own config, and the nodes in its arguments.

    Args:
        node: Plain containers.
        where: Its key.

    Raises:
        ConfigError: Naming the key.
    """
    if not isinstance(node, Mapping):
        raise ConfigError(f"{where} is {shown(node)}; expected a mapping with a {TARGET}")
    if TARGET not in node:
        raise ConfigError(
            f"{where} has no {TARGET} (it has {', '.join(map(str, node)) or 'nothing'}); null "
            "leaves it out"
        )
    target = check_value(Text, node[TARGET], f"{where}.{TARGET}")
    found = imported(target, f"{where}.{TARGET}")
    given = _arguments(node, where)
    objects = {key for key, value in given.items() if _holds_nodes(value)}
    if node.get("_recursive_", True):
        for key in objects:
            _check_nodes(given[key], f"{where}.{key}")
    plain = {k: v for k, v in given.items() if k not in objects}
    # A partial gets what is missing later; an object may stand where a value would.
    complete = not node.get("_partial_") and not objects and "_args_" not in node
    check_arguments(found, plain, where, complete=complete, bounds=bounds_of(found))


def _arguments(node: Any, where: str) -> dict[str, Any]:
    if not isinstance(node, Mapping):
        raise ConfigError(f"{where} is {shown(node)}; expected a mapping")
    return {str(k): v for k, v in node.items() if k not in (TARGET, *HYDRA_KEYS)}


def _holds_nodes(value: Any) -> bool:
    if isinstance(value, Mapping):
        return TARGET in value or any(map(_holds_nodes, value.values()))
    return isinstance(value, list) and any(map(_holds_nodes, value))


def _check_nodes(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        if TARGET in value:
            check_node(value, where)
            return
        for key, part in value.items():
            _check_nodes(part, f"{where}.{key}")
    elif isinstance(value, list):
        for i, part in enumerate(value):
            _check_nodes(part, f"{where}[{i}]")
