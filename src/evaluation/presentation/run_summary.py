"""The screen of a run: what begins; at the end a table beside baselines, and where things lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, SupportsFloat

import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from rich.console import Console

from src.evaluation.presentation.comparison_table import comparison_table
from src.evaluation.presentation.metrics_file import save_metrics
from src.evaluation.scoring.figures import step_word
from src.evaluation.scoring.rows import Row, baseline_rows, network_row, remarks
from src.utils.pylogger import RankedLogger
from src.utils.rich_utils import plain_console, print_table
from src.utils.words import path_word, shell_word, shown_path

if TYPE_CHECKING:
    from src.build import Built

log = RankedLogger(__name__, rank_zero_only=True)
EXPERIMENT = "experiment"


def report_start(cfg: DictConfig, built: Built, trainer: Trainer) -> None:
    """Log what is about to run: what was asked for, data, network, loss, device and folder.

    Args:
        cfg: The composed config.
        built: The data module and the module.
        trainer: The trainer.
    """
    device = trainer.strategy.root_device
    devices = f"{trainer.num_devices} x {device.type}" if trainer.num_devices > 1 else str(device)
    if trainer.num_nodes > 1:
        devices = f"{trainer.num_nodes} nodes x {devices}"
    said = {
        **_description(cfg, built),
        "device": f"{devices}, threads: {torch.get_num_threads()}",
        "run": shown_path(cfg.paths.output_dir),
    }
    for what, text in said.items():
        log.info("%-11s %s", what, text)


def _description(cfg: DictConfig, built: Built) -> dict[str, str]:
    """Return what a run is of, in words."""
    metadata, sizes = built.datamodule.metadata, built.datamodule.splits.sizes
    samples = f"{sizes['train']} train, {sizes['val']} validation, {sizes['test']} test"
    weights = list(built.model.net.parameters())
    trained = sum(weight.numel() for weight in weights if weight.requires_grad)
    total = sum(weight.numel() for weight in weights)
    frozen = f", {trained:,} of them trained" if trained != total else ""
    return {
        **_asked(),
        "data set": f"{metadata.dataset_name}: {samples}, {metadata.image_size}",
        "network": f"{_class_name(cfg.model.net)}, {total:,} weights{frozen}",
        "loss": _class_name(cfg.loss),
    }


def _asked() -> dict[str, str]:
    """Return what the command line chose; empty where there is none, as in tests."""
    if not HydraConfig.initialized():
        return {}
    hydra = HydraConfig.get()
    experiment = hydra.runtime.choices.get(EXPERIMENT)
    others = [shell_word(o) for o in hydra.overrides.task if not o.startswith(f"{EXPERIMENT}=")]
    found = {EXPERIMENT: experiment, "overrides": " ".join(others)}
    return {what: text for what, text in found.items() if text}


def _class_name(node: DictConfig) -> str:
    return str(node._target_).rpartition(".")[2]


@rank_zero_only
def report_run(
    cfg: DictConfig,
    built: Built,
    metrics: Mapping[str, SupportsFloat],
    checkpoint: str,
    loggers: list[Logger],
    last: str = "",
    ended: Mapping[str, object] | None = None,
) -> None:
    """Print the table and the paths, and write ``metrics.json`` into the run's folder.

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
            console.print(sentence, soft_wrap=True)
    if "val/jnd_best" in values:
        word = step_word(list(built.model.parameters_by_head.values()))
        console.print(
            f"Validation samples with all heads within one {word}, best epoch: "
            f"{100 * values['val/jnd_best']:.1f} %"
        )
    saved = checkpoint or last
    save_metrics(cfg, built, values, saved or None, rows[1:], ended=ended)
    tested = ", so the weights of the last step were tested" if stage == "test" else ""
    if saved and not checkpoint:
        console.print(f"There is no best checkpoint{tested}.", soft_wrap=True)
    elif not saved and cfg.train and tested:
        console.print(f"No checkpoint was saved{tested}.", soft_wrap=True)
    _log_text(cfg, built, loggers, rows, stage)
    print_run(console, cfg, loggers)
    if saved:
        console.print(f"evaluate:    {evaluation_command(cfg, built, saved)}", soft_wrap=True)


def _log_text(
    cfg: DictConfig, built: Built, loggers: list[Logger], rows: list[Row], stage: str
) -> None:
    """Log what was run and the table of its result as TensorBoard's text."""
    lines = [f"{what:11} {text}" for what, text in _description(cfg, built).items()]
    console = plain_console(width=120)
    with console.capture() as printed:
        if rows:
            print_comparison(console, built, rows, stage)
    # Markdown shows lines that are indented as they are.
    text = "".join(f"    {line}\n" for line in [*lines, "", *printed.get().splitlines()])
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_text("run", text)
            logger.experiment.flush()


def evaluation_command(cfg: DictConfig, built: Built, checkpoint: str) -> str:
    """The command that evaluates a checkpoint on the data that it was trained on, for copying."""
    words = [path_word("ckpt_path", checkpoint)]
    # Where src/eval.py looks, by the data set's name: a checkpoint keeps no path.
    usual = Path(cfg.paths.root_dir, "data-vimh", built.datamodule.metadata.dataset_name)
    if built.datamodule.data_dir.absolute() != usual:
        words.append(path_word("data.data_dir", built.datamodule.data_dir))
    return " ".join(["python src/eval.py", *words])


def print_comparison(console: Console, built: Built, rows: list[Row], stage: str) -> None:
    """Print the table of the network and the baselines."""
    name = built.datamodule.metadata.dataset_name
    title = f"{measured_text(built, stage)} samples of {name}"
    parameters = list(built.model.parameters_by_head.values())
    print_table(console, comparison_table(rows, parameters, title=title))


def measured_text(built: Built, stage: str) -> str:
    """Return how many samples the last figures of "val" or "test" are of, and of how many."""
    total = built.datamodule.get_dataset_info()["split_sizes"][stage]
    count = built.model.num_measured(stage)
    split = "test" if stage == "test" else "validation"
    # limit_test_batches, limit_val_batches and the like leave some out.
    return f"{total} {split}" if count >= total else f"{count} of {total} {split}"


def print_run(console: Console, cfg: DictConfig, loggers: list[Logger]) -> None:
    """Print where a run lies, where its loggers' data are, and how to look at TensorBoard's."""
    console.print(f"Run:         {shown_path(cfg.paths.output_dir)}", soft_wrap=True)
    used = {name: own for name, own in (cfg.get("logger") or {}).items() if own is not None}
    for (name, settings), logger in zip(used.items(), loggers, strict=True):
        if not isinstance(logger, TensorBoardLogger):
            _print_place(console, name, settings, logger)
            continue
        folder = Path(logger.log_dir)
        # Beside the others of its kind, a run is shown by its name.
        if Path(cfg.paths.log_dir) in folder.parent.parents:
            folder = folder.parent
        console.print(
            f"look:        tensorboard --logdir {shell_word(shown_path(folder))}"
            "  (http://localhost:6006)",
            soft_wrap=True,
        )


def _print_place(console: Console, name: str, settings: DictConfig, logger: Logger) -> None:
    """Print where a logger keeps its data: a folder, a database, or a service."""
    said = settings.get("tracking_uri") or settings.get("repo")
    place = said or logger.log_dir or logger.save_dir or settings.get("offline_directory")
    place = place if place and (said or Path(place).exists()) else "its service"
    where = shown_path(place) if Path(place).exists() else place
    console.print(f"logged:      {name}: {where}", soft_wrap=True)
