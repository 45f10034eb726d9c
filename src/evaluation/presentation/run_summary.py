"""The end of a run: a table beside its baselines, ``metrics.json``, and where things lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, SupportsFloat

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from rich.console import Console

from src.evaluation.presentation.comparison_table import comparison_table
from src.evaluation.presentation.metrics_file import save_metrics
from src.evaluation.scoring.figures import step_word
from src.evaluation.scoring.rows import Row, baseline_rows, network_row, remarks
from src.utils.rich_utils import plain_console
from src.utils.words import path_word, shell_word, shown_path

if TYPE_CHECKING:
    from src.build import Built


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
            console.print(sentence)
    if "val/jnd_best" in values:
        word = step_word(list(built.model.parameters_by_head.values()))
        console.print(
            f"Validation samples with all heads within one {word}, best epoch: "
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


def print_comparison(console: Console, built: Built, rows: list[Row], stage: str) -> None:
    """Print the table of the network and the baselines."""
    name = built.datamodule.metadata.dataset_name
    title = f"{measured_text(built, stage)} samples of {name}"
    parameters = list(built.model.parameters_by_head.values())
    console.print(comparison_table(rows, parameters, title=title))


def measured_text(built: Built, stage: str) -> str:
    """Return how many samples the last figures of "val" or "test" are of, and of how many."""
    total = built.datamodule.get_dataset_info()["split_sizes"][stage]
    count = built.model.num_measured(stage)
    split = "test" if stage == "test" else "validation"
    # limit_test_batches, limit_val_batches and the like leave some out.
    return f"{total} {split}" if count >= total else f"{count} of {total} {split}"


def print_loggers(console: Console, loggers: list[Logger]) -> None:
    """Print where TensorBoard's log lies, and how to look at it."""
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            console.print(f"TensorBoard: {logger.log_dir}", soft_wrap=True)
            console.print(
                f"  look:      tensorboard --logdir {shell_word(shown_path(logger.log_dir))}"
                "  (http://localhost:6006)",
                soft_wrap=True,
            )
