"""The keys of our own in the commands' configs, with their types and bounds.

What a ``_target_`` names has its own in the constructor's signature; :mod:`src.config_check` checks
both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Interval, Len, Predicate, doc

from src.schema.bounds import Count, Name, PositiveCount, Seed, Share, Text, Texts, TrustedModules


def _is_own_file(text: str) -> bool:
    """Tell whether the ONNX file would lie beside the files that are named after it."""
    path = Path(text)
    return path.suffix not in (".safetensors", ".pt2", ".sha256") and not path.is_dir()


OnnxFile = Annotated[
    str,
    Predicate(bool),
    Predicate(_is_own_file),
    doc(
        "the path of a file such as model.onnx, no folder, and not ending in .safetensors, .pt2 or "
        ".sha256, which are written beside it"
    ),
]
Tags = Text | Annotated[list[Text | int], Len(0, 1000)] | None
Node = Mapping[str, Any]
Refine = bool | Literal["cma"]
Confidence = Annotated[float, Interval(gt=0, lt=1)]


@dataclass(frozen=True)
class Monitor:
    """``monitor``: what checkpoints and early stopping look at."""

    metric: Text | None
    mode: Literal["min", "max"] | None  # null: as the module says of the metric


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
    trusted_modules: TrustedModules = ()
    trusted_programs: Texts = ()


@dataclass(frozen=True)
class Report:
    """``report`` of an evaluation."""

    sounds: Count
    resamples: Annotated[int, Interval(ge=1, le=1_000_000)]


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
    calibrate: bool = True
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
    refine: Refine
    limit: PositiveCount
    confidence: Confidence
    seed: Seed | None  # null: not seeded
    data: Node
    trainer: Node
    logger: Node | None = None


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig(Task):
    """``configs/calibrate.yaml``."""

    ckpt_path: Text
    data: Node


@dataclass(frozen=True, kw_only=True)
class PredictConfig(Task):
    """``configs/predict.yaml``."""

    ckpt_path: Text
    input: Text | Annotated[list[Text], Len(1, 1_000_000)]
    start: Literal["onset", "file"] | None
    window: Literal["first", "all"] | None
    refine: Refine
    split: Literal["train", "test"]
    batch_size: Annotated[int, Interval(ge=1, le=1_000_000)]
    confidence: Confidence
    sounds: Count
    play: bool
    limit: PositiveCount | None = None


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Task):
    """``configs/export.yaml``."""

    ckpt_path: Text
    opset: Annotated[int, Interval(ge=18, le=30)]
    confidence: Confidence
    tolerance: Share  # of a parameter's range
    output: OnnxFile | None = None
