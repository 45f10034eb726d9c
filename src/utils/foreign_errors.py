"""Say in one sentence that names the key what Hydra, Lightning or torch refuse of a config.

`CAUSES` is the only table of what Lightning and torch raise late. It is used where an exception
leaves a task, before the log says that the task failed. An exception that is not in it is a fault
of the project and keeps its traceback.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.utils.errors import ConfigError

Made = TypeVar("Made")
# Lines of advice that does not fit this project.
ADVICE = ("To append", "Set the environment", "See https", "object_type=")
# Hydra raises a plain ValueError where a group's choice is a number, true or null.
NO_CHOICE = "Config group override must be a string or a list"

# The exceptions for :func:`refusal`. Hydra's error of a missing config is an OSError too.
REFUSALS = (HydraException, OmegaConfBaseException, ValueError)
# What constructors were seen to refuse their arguments with, beside what Hydra wraps.
_BY_CONSTRUCTORS = (
    ValueError, TypeError, LookupError, AttributeError, RuntimeError, AssertionError,
    ArithmeticError, ImportError,
)  # fmt: skip


@dataclass(frozen=True)
class Cause:
    r"""A pattern that is searched for in an exception's text, and what it means here.

    ``{key.of.the.config}`` stands for the config's value, and ``\1`` for the pattern's first group.
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
        r"unable to (?:open|write|allocate|resize|mmap)[^:]*(?:shared memory|</torch_).*?:"
        r" ([\w -]+) \(\d+\)|DataLoader worker \(pid \d+\) is killed by signal: (Bus error)",
        r"/dev/shm, the memory that processes share, is too small or cannot be used (\1\2): "
        "enlarge it (docker run --shm-size=1g), or set data.num_workers=0, which needs hardly any",
    ),
    Cause(
        r"DataLoader worker \(pid\D*[\d, ]+\) (?:is (killed by signal: \w+)|(exited) unexpectedly)",
        r"data.num_workers={data.num_workers}: a process that loads data ended (\1\2), often "
        "because memory ran out; with 0 the run loads by itself. Its last checkpoint is untouched",
    ),
    Cause(
        # safetensors, torch.export and libsndfile
        r"Error while serializing: I/O error: ([\w ]+) \(os error"
        r"|PytorchStreamWriter (failed writing file)|(unexpected pos) \d+ vs \d+"
        r"|^(?:Error opening '.*': )?(System error)\.$",
        r"a file cannot be written in {paths.output_dir} (\1\2\3\4): make room, raise the limit on "
        "the size of files (ulimit -f), or choose another folder by paths.log_dir=...",
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
    """Return the sentence for an exception that a config has caused; None for an unknown one."""
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


def refusal(error: Exception, words: Sequence[str] = ()) -> str | None:
    """Say in one sentence what Hydra or OmegaConf refuse; None for an error of another package.

    Of the command line's overrides, the words, the sentence names the one at fault.

    Example:
        >>> print(refusal(KeyError("a")))
        None
    """
    if isinstance(error, ValueError) and str(error).startswith(NO_CHOICE):
        return f"{error}: expected the name of a file, as in trainer=cpu"
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return None
    text = first_part(error)
    sought = re.search(r"Interpolation key '([^']+)' not found", text)
    if sought is None:
        return text
    for word in words:
        key, _, value = word.lstrip("+").partition("=")
        if "${" in value and sought[1] in value:
            found = value.strip("'\"")
            return f"{key} is {found!r}: {sought[0]}"
        if word == f"~{sought[1].partition('.')[0]}":
            return f"{word[1:]} is left out, but other keys refer to it: {sought[0]}"
    return text


def first_part(error: Exception) -> str:
    r"""Return an error's message without advice on appending and without the search path.

    Example:
        >>> first_part(ValueError("Could not override 'a'.\nTo append to your config use +a=1"))
        "Could not override 'a'."
    """
    text = str(error).partition("Config search path")[0]
    lines = [line.strip() for line in text.splitlines()]
    if isinstance(error.__cause__, OmegaConfBaseException):
        lines.append(str(error.__cause__).partition("\n")[0])
    kept = " ".join(line for line in lines if line and not line.startswith(ADVICE))
    # The message of a resolver of this project is a sentence already.
    return re.sub(
        r"^ConfigError raised while resolving interpolation: (.*?)( full_key:.*)?$", r"\1", kept
    )


def called(make: Callable[[], Made], key: str) -> Made:
    """Call a constructor, and turn what it refuses into one sentence that names the key.

    ``make`` is a partial of a constructor, or of Hydra's ``instantiate``, which wraps what a class
    says of its arguments; the sentence holds the class's own words.

    Raises:
        ConfigError: If it is refused.

    Example:
        >>> called(lambda: int("abc"), "seed")
        Traceback (most recent call last):
        ...
        src.utils.errors.ConfigError: seed: invalid literal for int() with base 10: 'abc'
    """
    try:
        return make()
    except (InstantiationException, *_BY_CONSTRUCTORS) as error:
        wrapped = isinstance(error, InstantiationException)
        cause = (error.__cause__ or error) if wrapped else error
        reason = " ".join(str(cause).split()) or type(cause).__name__
        if isinstance(cause, KeyError):
            reason = f"there is no {reason}"
        # Our own errors name their key already.
        named = reason.startswith((f"{key} ", f"{key}.", f"{key}:"))
        raise ConfigError(reason if named else f"{key}: {reason}") from error
