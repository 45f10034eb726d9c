"""The frame of a task: its seed, optional extras before it, cleaning up after it, its metric."""

import ctypes
import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, SupportsFloat

from omegaconf import DictConfig

from src.utils import pylogger, rich_utils
from src.utils.errors import ConfigError, Interrupted, was_pruned
from src.utils.foreign_errors import translated
from src.utils.trust import trusting_config

log = pylogger.RankedLogger(__name__, rank_zero_only=True)

PORT = "MASTER_PORT"  # where DDP's processes meet; Lightning sets it if it is not set
Task = Callable[[DictConfig], tuple[dict[str, Any], dict[str, Any]]]
MAX_SEED = 2**32 - 1  # the largest that NumPy's global generator takes
# Of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 1 << 30

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


def keep_freed_memory() -> bool:
    """Keep freed memory in the process, up to 1 GiB a block, for the next allocation.

    glibc returns large blocks to the system as soon as they are freed, so a training step on the
    CPU asks for its activations again each time, and the system clears every page of them. The
    environment can set the same: MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_. Existing blocks
    stay as they are. (Generating needs less and changes no settings of the process:
    `src.synth.parallel.reuse_freed_blocks`.)

    Returns:
        Whether the allocator took the settings; False for other C libraries (macOS, musl).
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if getattr(library, "gnu_get_libc_version", None) is None:  # musl has no mallopt
        return False
    options = (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD)
    return min(library.mallopt(option, _KEPT_BYTES) for option in options) == 1


def check_seed(seed: object, key: str) -> int:
    """Return a seed that torch, NumPy and Lightning all take.

    Raises:
        ConfigError: It is no whole number, or out of range; the message names the key.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"{key} is {seed!r}; expected a whole number from 0 to {MAX_SEED}")
    return seed


def seed_everything(seed: object) -> None:
    """Seed Python, NumPy and torch, here and in the loader's workers; None seeds nothing.

    Raises:
        ConfigError: As :func:`check_seed`.
    """
    if seed is not None:
        import lightning.pytorch as pl  # not at the top: utils is light to import

        pl.seed_everything(check_seed(seed, "seed"), workers=True, verbose=False)


def extras(cfg: DictConfig) -> None:
    """Apply the settings of ``configs/extras``, if there are any, before the task starts.

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
            # The entry point tells a user's mistake, and what the disk refuses, in one sentence
            # without a traceback, and raises what it does not know.
            quiet = isinstance(error, ValueError | OSError) or was_pruned(error)
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


def get_metric_value(metrics: Mapping[str, SupportsFloat], name: str | None) -> float | None:
    """Return the metric that a sweep optimises, by its logged name; None without a name.

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
