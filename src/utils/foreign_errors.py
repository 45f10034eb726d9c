"""Translate what Lightning and torch raise because of a config to a sentence that names the key.

This is the only table of such errors. It is used where an exception leaves a task, before the log
says that the task failed. An exception that is not in it is a fault of the project and keeps its
traceback.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf

from src.utils.errors import ConfigError


@dataclass(frozen=True)
class Cause:
    r"""A text of another package, and what it means here.

    Attributes:
        pattern: A regular expression that is searched for in the exception's text.
        sentence: The message; ``{key.of.the.config}`` stands for the config's value, and ``\1`` for
            the first group of the pattern.
    """

    pattern: str
    sentence: str


CAUSES = (
    Cause(
        r"Input type \(.*\) and (weight|bias) type \(.*\) should be the same"
        r"|mat1 and mat2 must have the same dtype"
        r"|expected (m1 and m2|scalar type) .*(dtype|but found)",
        "trainer.precision={trainer.precision}: images come as 32-bit numbers, which weights of "
        "another precision do not take; expected 32-true, 16-mixed or bf16-mixed",
    ),
    Cause(
        r"SyncBatchNorm (layers only work with GPU modules|expected input tensor to be on)",
        "trainer.sync_batchnorm=true needs GPUs, and trainer.accelerator={trainer.accelerator}: "
        "set trainer.sync_batchnorm=false, or take trainer=ddp_sim to try DDP on a CPU",
    ),
    Cause(
        r"cannot log CPU stats as `psutil` is not installed",
        "DeviceStatsMonitor reads the processor's load by the package psutil, which is not "
        "installed: pip install psutil, or set its cpu_stats=false",
    ),
    Cause(
        r"(Failed to find C compiler|No working C\+\+ compiler found|InvalidCxxCompiler|"
        r"(FileNotFoundError|No such file or directory).*'(g\+\+|gcc|clang|cc|c\+\+)')",
        "model.compile=true needs a C++ compiler, and there is none on this machine: install one "
        "(g++, or name it in the environment as CXX), or set model.compile=false",
    ),
    Cause(
        r"Cannot find a working triton installation|Triton is not available",
        "model.compile=true needs the package triton on a GPU: pip install triton, or set "
        "model.compile=false",
    ),
    Cause(
        r"Function '(\w+)' returned nan values",
        r"training has diverged: \1 gives NaN (trainer.detect_anomaly=true). Lower "
        "model.optimizer.lr={model.optimizer.lr}, or set trainer.gradient_clip_val",
    ),
    Cause(
        r"You requested to check ([\d.e-]+) of the `(\w+?)_dataloader` but",
        r"trainer.limit_\2_batches=\1 is less than one batch: give a larger share, or a whole "
        "number of batches",
    ),
    Cause(
        r"(CUDA|MPS|HIP)[\w ]* out of memory",
        r"\1 is out of memory: lower data.batch_size={data.batch_size}, or take a smaller network",
    ),
    Cause(
        r"Error\(s\) in loading state_dict for \w+",
        "ckpt_path={ckpt_path}: its weights are not those of this network; give the model that it "
        "was trained with, or use src/eval.py, which takes the model from the checkpoint",
    ),
    Cause(
        r"You restored a checkpoint with current_epoch=(\d+)",
        r"ckpt_path={ckpt_path} has \1 epochs already: raise trainer.max_epochs="
        "{trainer.max_epochs}",
    ),
    Cause(
        r"does not support automatic gradient clipping|gradient clipping .*not supported|"
        r"does not allow for gradient clipping",
        "trainer.gradient_clip_val={trainer.gradient_clip_val} with trainer.precision="
        "{trainer.precision}: a fused optimiser cannot be clipped then, so set "
        "model.optimizer.fused=false",
    ),
)


@contextmanager
def translated(cfg: DictConfig) -> Iterator[None]:
    """Raise a :class:`ConfigError` for an exception that a config has caused.

    Args:
        cfg: The composed config.

    Raises:
        ConfigError: With the sentence of the table; other exceptions pass as they are.
    """
    try:
        yield
    except Exception as error:
        sentence = None if type(error).__module__.startswith("src.") else sentence_of(error, cfg)
        if sentence is None:
            raise
        raise ConfigError(sentence) from error


def sentence_of(error: BaseException, cfg: DictConfig) -> str | None:
    """Return the sentence for an exception that a config has caused; None for an unknown one.

    Args:
        error: From Lightning, torch, or a process that they have started.
        cfg: The composed config, whose values the sentence names.
    """
    text = str(error)
    for cause in CAUSES:
        if found := re.search(cause.pattern, text):
            return _filled(cause.sentence, found, cfg)
    return None


def _filled(sentence: str, found: re.Match[str], cfg: DictConfig) -> str:
    def value(match: re.Match[str]) -> str:
        at: object = OmegaConf.select(cfg, match[1])
        return "null" if at is None else str(at)

    with_groups = re.sub(r"\\(\d)", lambda match: found[int(match[1])] or "", sentence)
    return re.sub(r"\{([\w.]+)\}", value, with_groups)
