"""``metrics.json``: the figures of a run or an evaluation, for scripts."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import lightning
import torch
from omegaconf import DictConfig

from src.evaluation.scoring.rows import Row
from src.utils.strict_json import strict_json
from src.vimh.atomic import whole_file

if TYPE_CHECKING:
    from src.build import Built


def save_metrics(
    cfg: DictConfig,
    built: Built,
    values: Mapping[str, float],
    checkpoint: str | None,
    baselines: Sequence[Row],
    **more: object,
) -> None:
    """Write ``metrics.json`` into the run's folder; a file that is there is replaced.

    Args:
        cfg: The composed config; ``paths`` and ``seed`` are read.
        built: The data module and the module; units, ranges and steps of its heads are noted.
        values: Every logged metric by name; null in the file where one is NaN or infinite.
        checkpoint: Path of the checkpoint that was measured.
        baselines: Their rows.
        **more: Further entries.
    """
    datamodule, model = built.datamodule, built.model
    info = datamodule.get_dataset_info()
    measured = {stage: model.num_measured(stage) for stage in ("val", "test")}
    content: dict[str, object] = {
        "metrics": dict(sorted(values.items())),
        "parameters": {
            p.name: {"unit": p.unit, "min": p.min, "max": p.max, "step": p.step}
            | ({"spacing": p.spacing} if p.is_log else {})
            for p in model.parameters_by_head.values()
        },
        "num_samples": {split: info[f"num_{split}_samples"] for split in ("train", "val", "test")},
        "seed": cfg.seed,
        "versions": versions(),
        "commit": commit(),
        "num_measured": {stage: count for stage, count in measured.items() if count},
        "dataset": datamodule.metadata.dataset_name,
        "data_dir": str(datamodule.data_dir.absolute()),
        "num_weights": sum(weight.numel() for weight in model.net.parameters()),
        "checkpoint": checkpoint,
        "baselines": [asdict(row) for row in baselines],
        **more,
    }
    with whole_file(Path(cfg.paths.output_dir) / "metrics.json") as temporary:
        temporary.write_text(strict_json(content, indent=2) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """Return the versions of what computed a result."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": lightning.__version__,
    }


def commit() -> str | None:
    """Return the commit of the code, with ``-dirty`` where files differ; None outside git."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return None
    return found.stdout.strip() or None
