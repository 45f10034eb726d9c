"""The end of a run: a table beside its baselines, ``metrics.json``, and where things lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from rich.console import Console

from src.evaluation.baselines import MAX_TRAINING_SAMPLES, SplitArrays, baselines
from src.evaluation.report import (
    Row,
    comparison_table,
    remarks,
    row_of,
    rows_as_json,
    write_metrics,
)
from src.inputs.targets import exact
from src.utils.rich_utils import plain_console
from src.utils.words import path_word, shell_word, shown_path
from src.vimh.parameters import ParameterSpace

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
    last: str = "",
    ended: Mapping[str, Any] | None = None,
) -> None:
    """Prints the table and the paths, and writes ``metrics.json`` into the run's folder.

    Args:
        cfg: The composed config.
        built: The data module and the module, after testing.
        metrics: Every logged metric by name.
        checkpoint: The best checkpoint's path; empty where there is none.
        loggers: The run's loggers.
        last: The path of the checkpoint of the last step; empty where there is none. It is named
            where there is no best one.
        ended: Why the training ended, for ``metrics.json``; None where there was none.
    """
    console = plain_console()
    values = {name: float(value) for name, value in metrics.items()}
    rows: list[Row] = []
    stage = "test" if "test/loss" in values else "val"
    if f"{stage}/loss" in values:
        count = built.model.num_measured(stage)
        rows = [network_row(values, stage), *baseline_rows(built, stage, count)]
        print_comparison(console, built, rows, stage)
        for sentence in remarks(rows[0], rows[1:]):
            console.print(sentence)
    if "val/jnd_best" in values:
        console.print(
            f"Validation samples with all heads within one JND, best epoch: "
            f"{100 * values['val/jnd_best']:.1f} %"
        )
    saved = checkpoint or last
    save_metrics(cfg, built, values, saved or None, rows[1:], ended=ended)
    tested = ", so the weights of the last step were tested" if stage == "test" else ""
    if saved:
        console.print(f"Checkpoint:  {saved}", soft_wrap=True)
        if not checkpoint:
            console.print(
                f"             of the last step; there is no best one{tested}", soft_wrap=True
            )
        console.print(f"  evaluate:  {evaluation_command(cfg, built, saved)}", soft_wrap=True)
    elif cfg.train and tested:
        console.print(f"Checkpoint:  none was saved{tested}")
    print_loggers(console, loggers)
    console.print(f"Run:         {cfg.paths.output_dir}", soft_wrap=True)


def evaluation_command(cfg: DictConfig, built: Built, checkpoint: str) -> str:
    """The command that evaluates a checkpoint on the data that it was trained on, for copying."""
    words = [path_word("ckpt_path", checkpoint)]
    # Where src/eval.py looks, by the data set's name: a checkpoint keeps no path.
    usual = Path(cfg.paths.root_dir, "data-vimh", built.datamodule.metadata.dataset_name)
    if built.datamodule.data_dir.absolute() != usual:
        words.append(path_word("data.data_dir", built.datamodule.data_dir))
    return " ".join(["python src/eval.py", *words])


def network_row(values: Mapping[str, float], stage: str) -> Row:
    """The network's figures on "val" or "test", out of all metrics by their logged names."""
    own = {n.removeprefix(f"{stage}/"): v for n, v in values.items() if n.startswith(f"{stage}/")}
    return Row("network", own)


def print_comparison(console: Console, built: Built, rows: list[Row], stage: str) -> None:
    """Prints the table of the network and the baselines."""
    name = built.datamodule.metadata.dataset_name
    title = f"{measured_text(built, stage)} samples of {name}"
    parameters = list(built.model.parameters_by_head.values())
    console.print(comparison_table(rows, parameters, title=title))


def measured_text(built: Built, stage: str) -> str:
    """How many samples the last figures of "val" or "test" are of, and of how many."""
    total = built.datamodule.get_dataset_info()["split_sizes"][stage]
    count = built.model.num_measured(stage)
    split = "test" if stage == "test" else "validation"
    # limit_test_batches, limit_val_batches and the like leave some out.
    return f"{total} {split}" if count >= total else f"{count} of {total} {split}"


def print_loggers(console: Console, loggers: list[Logger]) -> None:
    """Prints where TensorBoard's log lies, and how to look at it."""
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            console.print(f"TensorBoard: {logger.log_dir}", soft_wrap=True)
            console.print(
                f"  look:      tensorboard --logdir {shell_word(shown_path(logger.log_dir))}"
                "  (http://localhost:6006)",
                soft_wrap=True,
            )


def save_metrics(
    cfg: DictConfig,
    built: Built,
    values: Mapping[str, float],
    checkpoint: str | None,
    baselines: list[Row],
    **more: Any,
) -> None:
    """Writes ``metrics.json`` into the run's folder.

    Args:
        cfg: The composed config.
        built: The data module and the module.
        values: Every logged metric by name.
        checkpoint: Path of the checkpoint that was measured.
        baselines: Their rows.
        more: Further entries.
    """
    info = built.datamodule.get_dataset_info()
    write_metrics(
        Path(cfg.paths.output_dir) / "metrics.json",
        values,
        list(built.model.parameters_by_head.values()),
        {split: info[f"num_{split}_samples"] for split in ("train", "val", "test")},
        cfg.seed,
        num_measured={
            stage: count for stage in ("val", "test") if (count := built.model.num_measured(stage))
        },
        dataset=built.datamodule.metadata.dataset_name,
        data_dir=str(built.datamodule.data_dir.absolute()),
        num_weights=sum(weight.numel() for weight in built.model.net.parameters()),
        checkpoint=checkpoint,
        baselines=rows_as_json(baselines),
        **more,
    )


def baseline_rows(built: Built, stage: str, count: int) -> list[Row]:
    """The baselines on "val" or "test", by the metrics that the network is measured with.

    Args:
        built: The data module and the module.
        stage: "val" or "test".
        count: On so many of the first samples: those that the network was measured on.
    """
    parameters = list(built.model.parameters_by_head.values())
    # Every rank of a distributed run measures each n-th sample, so together they have the first.
    tried = split_arrays(built.model, built.datamodule, stage).first(count)
    return [
        row_of(name, predicted, tried.values, parameters)
        for name, predicted in baseline_predictions(built, tried).items()
    ]


def baseline_predictions(
    built: Built, tried: SplitArrays, trained_on: VIMHDataModule | None = None
) -> dict[str, Float[np.ndarray, "N P"]]:
    """What the baselines predict.

    Args:
        built: The data module and the module.
        tried: The samples to predict.
        trained_on: The data whose training split they learn from; None: ``built``'s own.

    Returns:
        By name; none where there is nothing to learn from.
    """
    source = trained_on or built.datamodule
    if source.get_dataset_info()["split_sizes"]["train"] == 0:
        return {}
    categorical = [p.is_categorical for p in built.model.parameters_by_head.values()]
    train = split_arrays(built.model, source, "train", limit=MAX_TRAINING_SAMPLES)
    return dict(baselines(train, tried, categorical))


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
    preparation = model.required_preparation
    images, auxiliary, values = [], [], []
    preparation.cpu().eval()  # eval: baselines look at images that are not augmented
    for raw in datamodule.raw_batches(split, limit=limit):
        batch = preparation.prepare_batch(raw)
        images.append(batch.images.flatten(1).numpy())
        values.append(exact(batch.values).numpy())
        if batch.auxiliary is not None:
            auxiliary.append(batch.auxiliary.numpy())
    codec = ParameterSpace(model.parameters_by_head.values()).codec
    return SplitArrays(
        np.concatenate(images),
        np.concatenate(auxiliary) if auxiliary else None,
        codec.denormalise(np.concatenate(values)),
    )
