"""Command lines as people type them, made into what Hydra takes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from src.utils.errors import ConfigError
from src.utils.words import parsed

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


def add_or_override(arguments: Sequence[str]) -> list[str]:
    """Turn ``+key=value`` into ``++key=value``: Hydra's spelling for a key that may be there.

    Hydra refuses ``+key`` where the config has a value already, and whether it has one depends on
    the experiment: ``+trainer.gradient_clip_val=0.5`` would work with some and not with others.

    Args:
        arguments: The words of a command line, without the program's name.

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

    Args:
        arguments: The words of a command line, without the program's name.

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
