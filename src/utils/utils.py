"""The frame of a task: optional extras before it, cleaning up after it, and its metric."""

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
from src.utils.trust import trusting_config

log = pylogger.RankedLogger(__name__, rank_zero_only=True)

PORT = "MASTER_PORT"  # where DDP's processes meet; Lightning sets it if it is not set
Task = Callable[[DictConfig], tuple[dict[str, Any], dict[str, Any]]]

# Lightning's advice about loaders, which does not fit here: a batch is one gather from a memory
# map, which needs no worker processes, and the module prepares images from bytes.
DATALOADER_WARNINGS = (
    "The '.*_dataloader' does not have many workers",
    "Consider setting `persistent_workers=True`",
    "You have overridden `on_after_batch_transfer` in `LightningModule` but have passed in a",
)
KNOWN_WARNINGS = (
    # Lightning 2.6 asks torch's pytree for an old class.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    # Not every process on a machine with SLURM is for SLURM.
    "The `srun` command is available on your system but is not used",
    # The metrics of an epoch are torchmetrics', which add up over all processes by themselves.
    r"It is recommended to use `self.log\(.*sync_dist=True",
    # The project logs this itself: a run in a new folder has its own best epoch.
    "The dirpath has changed from",
    # A run that goes on finds its own.
    "Checkpoint directory .* exists and is not empty",
    # A config may leave out a callback of the run before.
    "Be aware that when using `ckpt_path`, callbacks used to create the checkpoint",
)


def extras(cfg: DictConfig) -> None:
    """Apply the settings of ``configs/extras`` before the task starts.

    Args:
        cfg: The composed config, with or without ``extras``.

    Raises:
        ConfigError: If tags are enforced, missing, and nobody can be asked.
    """
    pylogger.silence_lightning()
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
    rich_utils.write_config_tree(cfg, show=bool(wanted.get("print_config")))


def task_wrapper(task: Task) -> Task:
    """Wrap a task so that it cleans up, however it ends.

    While the task runs, files may name classes of the modules that its config trusts.
    The wrapper logs an exception to the log file and raises it again.
    It closes a Weights & Biases run, because a multirun would go on in the run that failed. It
    forgets a port that Lightning chose for DDP, because the next run of a multirun would take it
    even if another program has it by then.

    Args:
        task: Takes the composed config; returns metrics and objects.
    """

    @wraps(task)
    def wrapped(cfg: DictConfig) -> tuple[dict[str, Any], dict[str, Any]]:
        port = os.environ.get(PORT)
        try:
            with trusting_config(cfg), translated(cfg):
                return task(cfg)
        except Interrupted as interruption:
            log.warning("The task was %s.", interruption)
            raise
        except Exception as error:
            # The entry point tells a user's mistake in one sentence, without a traceback. An
            # OSError that names a file or folder is about the disk, not about the code.
            of_disk = isinstance(error, OSError) and error.filename is not None
            quiet = isinstance(error, ValueError) or of_disk or was_pruned(error)
            level = logging.DEBUG if quiet else logging.ERROR
            log.log(level, "The task failed.", exc_info=error)
            raise
        finally:
            _close_wandb()
            if port is None:
                os.environ.pop(PORT, None)

    return wrapped


def _close_wandb() -> None:
    # Not imported here: if nobody has imported it, there is no run to close.
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        log.info("Closing the Weights & Biases run.")
        wandb.finish()


def get_metric_value(metrics: Mapping[str, Any], name: str | None) -> float | None:
    """Return the metric that a sweep optimises; None without a name.

    Args:
        metrics: Every metric by its logged name.
        name: Of the wanted one, or None.

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
