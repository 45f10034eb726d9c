"""The end of a run: a table beside its baselines, ``metrics.json``, and where things lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from rich.console import Console

from src.data.preparation import Preparation
from src.evaluation.baselines import MAX_TRAINING_SAMPLES, SplitArrays, baselines
from src.evaluation.report import (
    Row,
    comparison_table,
    remarks,
    row_of,
    rows_as_json,
    write_metrics,
)

if TYPE_CHECKING:
    from src.build import Built
    from src.data.vimh_datamodule import VIMHDataModule
    from src.models.multihead_module import MultiheadLitModule


@rank_zero_only
def report_run(
    cfg: DictConfig,
    built: Built,
    metrics: Mapping[str, Any],
    checkpoint: str,
    loggers: list[Logger],
    trained_on: VIMHDataModule | None = None,
) -> None:
    """Prints the table and the paths, and writes ``metrics.json`` into the run's folder.

    Args:
        cfg: The composed config.
        built: The data module and the module, after testing.
        metrics: Every logged metric by name.
        checkpoint: The best checkpoint's path; empty where there is none.
        loggers: The run's loggers.
        trained_on: The data whose training split the baselines learn from; None: ``built``'s own.
    """
    console = Console()
    output_dir = Path(cfg.paths.output_dir)
    values = {name: float(value) for name, value in metrics.items()}
    parameters = list(built.model.parameters_by_head.values())
    info = built.datamodule.get_dataset_info()
    rows: list[Row] = []
    stage = "test" if "test/loss" in values else "val"
    if f"{stage}/loss" in values:
        own = {n.removeprefix(f"{stage}/"): v for n, v in values.items() if n.startswith(stage)}
        rows = [Row("network", own), *baseline_rows(built, stage, trained_on)]
        split = "test" if stage == "test" else "validation"
        console.print(
            comparison_table(
                rows,
                parameters,
                title=f"{info[f'num_{stage}_samples']} {split} samples of "
                f"{built.datamodule.metadata.dataset_name}",
            )
        )
        for sentence in remarks(rows[0], rows[1:]):
            console.print(sentence)
    if "val/jnd_best" in values:
        console.print(
            f"Validation samples with all heads within one JND, best epoch: "
            f"{100 * values['val/jnd_best']:.1f} %"
        )
    write_metrics(
        output_dir / "metrics.json",
        values,
        parameters,
        {split: info[f"num_{split}_samples"] for split in ("train", "val", "test")},
        cfg.seed,
        dataset=built.datamodule.metadata.dataset_name,
        num_weights=sum(weight.numel() for weight in built.model.net.parameters()),
        checkpoint=checkpoint or None,
        baselines=rows_as_json(rows[1:]),
    )
    if checkpoint:
        console.print(f"Checkpoint:  {checkpoint}", soft_wrap=True)
        console.print(f"  evaluate:  python src/eval.py ckpt_path={checkpoint}", soft_wrap=True)
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            console.print(f"TensorBoard: {logger.log_dir}", soft_wrap=True)
            console.print(
                f"  look:      tensorboard --logdir {logger.log_dir}  (http://localhost:6006)",
                soft_wrap=True,
            )
    console.print(f"Run:         {output_dir}", soft_wrap=True)


def baseline_rows(built: Built, stage: str, trained_on: VIMHDataModule | None = None) -> list[Row]:
    """The baselines on one split, by the metrics that the network is measured with.

    Args:
        built: The data module and the module.
        stage: "val" or "test".
        trained_on: The data whose training split they learn from; None: ``built``'s own.

    Returns:
        A row for each baseline; none where there is nothing to learn from.
    """
    source = trained_on or built.datamodule
    if source.get_dataset_info()["split_sizes"]["train"] == 0:
        return []
    parameters = list(built.model.parameters_by_head.values())
    train = split_arrays(built.model, source, "train", limit=MAX_TRAINING_SAMPLES)
    tried = split_arrays(built.model, built.datamodule, stage)
    found = baselines(train, tried, [p.is_categorical for p in parameters])
    return [row_of(name, predicted, tried.values, parameters) for name, predicted in found]


@torch.no_grad()
def split_arrays(
    model: MultiheadLitModule, datamodule: VIMHDataModule, split: str, limit: int | None = None
) -> SplitArrays:
    """A split as the network sees it, as arrays.

    Args:
        model: Its preparation is applied.
        datamodule: What the split is of.
        split: "train", "val" or "test".
        limit: The most samples to read; None: all.
    """
    preparation = model.preparation
    assert isinstance(preparation, Preparation)
    images, auxiliary, values = [], [], []
    preparation.cpu().eval()  # eval: baselines look at images that are not augmented
    for raw in datamodule.raw_batches(split, limit=limit):
        batch = preparation.prepare_batch(raw)
        images.append(batch.images.flatten(1).numpy())
        values.append(batch.values.numpy())
        if batch.auxiliary is not None:
            auxiliary.append(batch.auxiliary.numpy())
    parameters = model.parameters_by_head.values()
    lowest = np.array([p.min for p in parameters])
    spans = np.array([p.range for p in parameters])
    return SplitArrays(
        np.concatenate(images),
        np.concatenate(auxiliary) if auxiliary else None,
        lowest + spans * np.concatenate(values),
    )
