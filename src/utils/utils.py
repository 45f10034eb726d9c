"""What surrounds a task: optional extras before it, order after it, and its metric at the end."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from omegaconf import DictConfig

from src.utils import pylogger, rich_utils
from src.utils.allocator import keep_freed_memory
from src.utils.errors import ConfigError, Interrupted, was_pruned
from src.utils.foreign_errors import translated

log = pylogger.RankedLogger(__name__, rank_zero_only=True)

PORT = "MASTER_PORT"  # where DDP's processes meet; Lightning sets it where nobody has
Task = Callable[[DictConfig], tuple[dict[str, Any], dict[str, Any]]]

# Lightning's advice about loaders. A batch here is one gather from a memory map: there is nothing
# for a process to do; and bytes become images in the module, since it has the preparation.
DATALOADER_WARNINGS = (
    "The '.*_dataloader' does not have many workers",
    "Consider setting `persistent_workers=True`",
    "You have overridden `on_after_batch_transfer` in `LightningModule` but have passed in a",
)
KNOWN_WARNINGS = (
    # Lightning 2.6 asks torch's pytree for an old class; nobody here can change that.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    # On a machine with SLURM not every process is meant for it.
    "The `srun` command is available on your system but is not used",
    # Said in our own words: a run in a folder of its own has its own best epoch.
    "The dirpath has changed from",
    # A config may leave out a callback that the run before had.
    "Be aware that when using `ckpt_path`, callbacks used to create the checkpoint",
)


def extras(cfg: DictConfig) -> None:
    """Does what ``configs/extras`` asks for, before the task starts.

    Args:
        cfg: The composed config; without ``extras`` nothing is done.

    Raises:
        ConfigError: If tags are enforced, missing, and nobody can be asked.
    """
    pylogger.silence_lightning_tips()
    for message in KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    wanted = cfg.get("extras")
    if not wanted:
        return
    if wanted.get("ignore_warnings"):
        log.info("Python warnings are off: extras.ignore_warnings=true")
        warnings.filterwarnings("ignore")
    if wanted.get("ignore_dataloader_warnings"):
        for message in DATALOADER_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
    if wanted.get("keep_freed_memory"):
        keep_freed_memory()
    if wanted.get("enforce_tags"):
        rich_utils.enforce_tags(cfg, save_to_file=True)
    if wanted.get("print_config"):
        rich_utils.print_config_tree(cfg, resolve=True, save_to_file=True)


def task_wrapper(task: Task) -> Task:
    """Wraps a task so that its end is in order, however it ends.

    An exception is written to the log file and raised again; the output folder is logged; a
    Weights & Biases run is closed (otherwise a multirun would go on in the run that failed); a
    port that Lightning chose for DDP is forgotten (the next run of a multirun would take it again,
    also where another program has it by then).

    Args:
        task: The task: the composed config in, metrics and objects out.

    Returns:
        The wrapped task.
    """

    @wraps(task)
    def wrapped(cfg: DictConfig) -> tuple[dict[str, Any], dict[str, Any]]:
        port = os.environ.get(PORT)
        try:
            with translated(cfg):
                return task(cfg)
        except Interrupted as interruption:
            log.warning("The task was %s.", interruption)
            raise
        except Exception as error:
            # What a user did wrong is told in one sentence by the entry point, without a trace.
            # An OSError that names a file or folder tells of the disk, and not of our code.
            of_disk = isinstance(error, OSError) and error.filename is not None
            quiet = isinstance(error, ValueError) or of_disk or was_pruned(error)
            level = logging.DEBUG if quiet else logging.ERROR
            log.log(level, "The task failed.", exc_info=error)
            raise
        finally:
            log.info("Output folder: %s", cfg.paths.output_dir)
            _close_wandb()
            if port is None:
                os.environ.pop(PORT, None)

    return wrapped


def _close_wandb() -> None:
    # Not imported here: where nobody has imported it, there is no run to close.
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        log.info("Closing the Weights & Biases run.")
        wandb.finish()


def get_metric_value(metrics: Mapping[str, Any], name: str | None) -> float | None:
    """Picks the metric that a sweep optimises.

    Args:
        metrics: Every metric by its logged name.
        name: The name of the wanted one, or None for none.

    Returns:
        The metric's value, or None without a name.

    Raises:
        ConfigError: If no metric has this name.

    Example:
        >>> get_metric_value({"val/loss": 0.5}, "val/loss")
        0.5
    """
    if not name:
        return None
    if name not in metrics:
        raise ConfigError(
            f"optimized_metric={name}: no such metric was logged. There are: "
            f"{', '.join(sorted(metrics)) or 'none'}"
        )
    value = float(metrics[name])
    log.info("%s: %.6g", name, value)
    return value
