"""Command lines as people type them, made into what Hydra takes: a path is taken as it is.

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

from src.utils.errors import ConfigError
from src.utils.terminal import take_any_text
from src.utils.words import Unreadable, in_quotes, parsed, quoted

# The last part of a key that names a path: ckpt_path, input, data.data_dir, hydra.run.dir ...
PATH_KEY = re.compile(
    r"([a-z0-9]+_)*(path|dir|dirpath|file|filename|folder|root|input|output|dsp|plugin)"
)
OVERRIDE = re.compile(r"(?P<key>\+{0,2}[\w./@:-]+)=(?P<value>.*)", re.DOTALL)
# One plus and a key with a dot: groups (+experiment=..., +model/optimizer=...) have none.
ADDITION = re.compile(r"\+[^+=/@~]+\.[^=/@]+=")

# A group, perhaps with the place where it goes: synth, model/optimizer, recipe@data.source.recipe
CHOICE = re.compile(r"(?P<plus>\+{0,2})(?P<key>(?P<group>[a-z_/]+)(@[\w.]+)?)=(?P<value>.*)")
# The loss of a head by its name: no list of defaults has it, unless a user's experiment does.
HEAD_LOSS = re.compile(r"loss@model\.losses\.(?!continuous=|categorical=)[\w.]+(?==)")
EXPERIMENT = re.compile(r"\+?experiment=")
NO_FOLDER = re.compile(r"\+{0,2}(hydra\.(?:run|sweep)\.dir)=(\"\"|''|null|)")
# Keys that older configs have and nothing reads, with what to do in their place.
FORMER = {
    "model.loss": "the loss is read from the key loss: choose it by loss=NAME, or its class by "
    "loss._target_=CLASS",
    "model.auto_configure_from_dataset": "the heads of a config always come from its data set: "
    "leave this key out",
}
KEY = re.compile(r"[+~]*([\w.]+)")
CONFIGS = Path(__file__).parents[1] / "configs"

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
    """Split the arguments into Hydra's options and overrides, and the others, which name files.

    ``keys`` are the first parts of the keys that the config has.

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
    """Find the files that a name or a pattern matches, by name.

    A pattern may have ``*``, ``?`` or ``[a-z]``, and a ``~`` at its beginning. An existing name
    matches itself, and so does a pattern that nothing fits.

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


def add_or_override(arguments: Sequence[str]) -> list[str]:
    """Turn ``+key=value`` into ``++key=value``: Hydra's spelling for a key that may be there.

    Hydra refuses ``+key`` where the config has a value already, and whether it has one depends on
    the experiment: ``+trainer.gradient_clip_val=0.5`` would work with some and not with others.

    Raises:
        ConfigError: As :func:`choices`.

    Example:
        >>> add_or_override(["+trainer.max_time=00:01:00:00", "+experiment=example", "seed=1"])
        ['++trainer.max_time=00:01:00:00', '+experiment=example', 'seed=1']
    """
    return [f"+{word}" if ADDITION.match(word) else word for word in choices(arguments)]


def choices(arguments: Sequence[str]) -> list[str]:
    """Turn ``group=null`` into ``~group``: Hydra's spelling for a group that is left out.

    The loss of a head, ``loss@model.losses.HEAD=NAME``, gets the plus that Hydra wants. Refuses
    what Hydra would meet with a traceback, a folder that nobody means, and former keys.

    Raises:
        ConfigError: If a group's choice is a number, a word has no key, a run's folder has no name,
            or nothing reads the key.

    Example:
        >>> choices(["extras=null", "seed=1"])
        ['~extras', 'seed=1']
    """
    return [_choice(_added(word, arguments)) for word in arguments]


def _added(word: str, arguments: Sequence[str]) -> str:
    found = HEAD_LOSS.match(word)
    if found is None:
        return word
    names = [said.partition("=")[2] for said in arguments if EXPERIMENT.match(said)]
    files = [CONFIGS / "experiment" / f"{name}.yaml" for name in names]
    listed = any(found[0] in file.read_text("utf-8") for file in files if os.path.isfile(file))
    return word if listed else f"+{word}"


def _choice(word: str) -> str:
    if word.startswith("="):
        raise ConfigError(f"{word} has no key; expected key=value")
    if found := NO_FOLDER.fullmatch(word):
        raise ConfigError(f"{found[1]} is {found[2] or chr(39) * 2}; expected the path of a folder")
    key = KEY.match(word)
    for former, advice in FORMER.items():
        if key is not None and f"{key[1]}.".startswith(f"{former}."):
            raise ConfigError(f"{key[1]} is not read, since {advice}")
    said = CHOICE.fullmatch(word)
    if said is None or not (CONFIGS / said["group"]).is_dir():
        return word
    value = parsed(said["value"])
    if value is None:
        return f"~{said['key']}"
    if isinstance(value, bool | int | float):
        raise ConfigError(
            f"{said['key']} is {said['value']}; expected the name of a file in "
            f"configs/{said['group']}, or null"
        )
    return word
