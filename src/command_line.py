"""What a user types, made fit for Hydra's grammar: a path is taken as it is.

Hydra reads ``key=value`` by a grammar of its own, in which brackets, ``=``, ``,``, ``'``, ``#``,
``~`` and every letter outside of ASCII mean something or nothing. Here the values of keys that name
a path are quoted where they need it, before Hydra sees them.
"""

from __future__ import annotations

import atexit
import gc
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Collection, Sequence
from glob import glob
from pathlib import Path

from hydra.core.override_parser.types import ChoiceSweep, RangeSweep

from src.overrides import add_or_override
from src.utils.errors import ConfigError
from src.utils.terminal import take_any_text
from src.utils.words import Unreadable, in_quotes, parsed, quoted

# The last part of a key that names a path: ckpt_path, input, data.data_dir, hydra.run.dir ...
PATH_KEY = re.compile(
    r"([a-z0-9]+_)*(path|dir|dirpath|file|filename|folder|root|input|output|dsp|plugin)"
)
OVERRIDE = re.compile(r"(?P<key>\+{0,2}[\w./@:-]+)=(?P<value>.*)", re.DOTALL)
CHECK = "--check-config"
RIGHT = "The config is right. Nothing was started."
_check_folders: list[str] = []
MULTIRUN = ("-m", "--multirun", "hydra.mode=MULTIRUN")
# Hydra's options that the next argument belongs to.
OPTIONS_WITH_VALUE = (
    *("--config-name", "-cn", "--config-dir", "-cd", "--config-path", "-cp"),
    *("--cfg", "-c", "--package", "-p", "--info", "-i", "--experimental-rerun"),
)


def prepare() -> None:
    """Make this process's command line fit for Hydra; called before ``hydra.main``."""
    take_any_text()
    try:
        sys.argv[1:] = add_or_override(user_paths(take_check(sys.argv[1:])))
    except ConfigError as error:
        sys.exit(f"error: {error}")


def take_check(arguments: Sequence[str]) -> list[str]:
    """Take out ``--check-config``, for which Hydra writes no files.

    The config is then composed and checked as for a run, in a folder that is removed at the end;
    :func:`is_check` says so to the command.

    Args:
        arguments: Of the command line, without the script.
    """
    if CHECK not in arguments:
        return list(arguments)
    gc.disable()  # until this process ends, soon: importing torch and Lightning makes no garbage
    folder = tempfile.mkdtemp(prefix="avix-check-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _check_folders.append(folder)
    left = [argument for argument in arguments if argument != CHECK]
    return [*left, f"hydra.run.dir={quoted(folder)}", "hydra.output_subdir=null"]


def is_check() -> bool:
    """Tell whether the command line asks only whether its config is right."""
    return bool(_check_folders)


def user_paths(arguments: Sequence[str]) -> list[str]:
    """Quote the values of path keys that Hydra could not read.

    What names something that is there is taken as it is. Else a value stays where Hydra reads a
    text, null or a list, or in a multirun a sweep, and is quoted otherwise. A ``~`` at its
    beginning becomes the home directory.

    Args:
        arguments: Of the command line, without the script.

    Example:
        >>> user_paths(["input=saw (1).wav", "split=test", "ckpt_path=epoch=3.ckpt"])
        ["input='saw (1).wav'", 'split=test', "ckpt_path='epoch=3.ckpt'"]
    """
    is_multirun = any(argument in MULTIRUN for argument in arguments)
    return [_user_path(argument, is_multirun) for argument in arguments]


def _user_path(argument: str, is_multirun: bool) -> str:
    said = OVERRIDE.fullmatch(argument)
    if said is None or not PATH_KEY.fullmatch(said["key"].lstrip("+").split(".")[-1]):
        return argument
    key, value = said["key"], os.path.expanduser(said["value"])
    if value in ("", "null", "???"):
        return argument
    if os.path.lexists(value):
        return f"{key}={quoted(value)}"
    found = parsed(value)
    is_sweep = isinstance(found, ChoiceSweep | RangeSweep)
    # A path is no number; without a multirun there is nothing to sweep; Hydra drops blanks.
    is_other = isinstance(found, bool | int | float | Unreadable) or value != value.strip()
    if is_other or (is_sweep and not is_multirun):
        return f"{key}={in_quotes(value)}"
    return f"{key}={value}"


def by_position(arguments: Sequence[str], keys: Collection[str]) -> tuple[list[str], list[str]]:
    """Split the arguments into Hydra's and those that are given by position.

    Args:
        arguments: Of the command line, without the script.
        keys: The first parts of the keys that the config has.

    Returns:
        Options and overrides; and the others, which name files.

    Example:
        >>> by_position(["model.ckpt", "./a=1.wav", "split=test", "-c", "job"], {"split"})
        (['split=test', '-c', 'job'], ['model.ckpt', './a=1.wav'])
    """
    hydras: list[str] = []
    others: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument in OPTIONS_WITH_VALUE:
            hydras += [argument, *(value for value in [next(rest, "")] if value)]
        elif _is_hydras(argument, keys):
            hydras.append(argument)
        else:
            others.append(argument)
    return hydras, others


def _is_hydras(argument: str, keys: Collection[str]) -> bool:
    said = OVERRIDE.fullmatch(argument)
    if said is not None and re.split(r"[./@:]", said["key"].lstrip("+"))[0] in keys:
        return True
    if any(os.path.lexists(path) for path in matches(argument)):
        return False
    # An unknown key is Hydra's to complain about; a key of ours has no slash.
    is_override = said is not None and "/" not in said["key"]
    return is_override or argument.startswith("-") or bool(re.fullmatch(r"~[\w.]+", argument))


def matches(pattern: str) -> list[str]:
    """Find the files that a name or a pattern matches; an existing name matches itself.

    Args:
        pattern: A path, perhaps with ``*``, ``?`` or ``[a-z]``; a ``~`` is the home directory.

    Returns:
        The files by name; the pattern itself where nothing fits.

    Example:
        >>> matches("src/trai?.py"), matches("src/none*.py")
        (['src/train.py'], ['src/none*.py'])
    """
    path = Path(os.path.expanduser(pattern))
    # The folders that are there are no pattern, whatever they are called.
    there = next(folder for folder in (path, *path.parents) if os.path.lexists(folder))
    if there == path:
        return [str(path)]
    found = sorted(glob(str(path.relative_to(there)), root_dir=there))
    return [str(there / name) for name in found] or [str(path)]
