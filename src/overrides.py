"""Command lines as people type them, made into what Hydra takes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

# One plus and a key with a dot: groups (+experiment=..., +model/optimizer=...) have none.
ADDITION = re.compile(r"\+[^+=/@~]+\.[^=/@]+=")

NULL_GROUP = re.compile(r"([a-z_]+)=null")
CONFIGS = Path(__file__).parents[1] / "configs"


def add_or_override(arguments: Sequence[str]) -> list[str]:
    """Turn ``+key=value`` into ``++key=value``: Hydra's spelling for a key that may be there.

    Hydra refuses ``+key`` where the config has a value already, and whether it has one depends on
    the experiment: ``+trainer.gradient_clip_val=0.5`` would work with some and not with others.

    ``extras=null`` leaves a group of the config out; Hydra's spelling for it is ``~extras``.

    Args:
        arguments: The words of a command line, without the program's name.

    Example:
        >>> add_or_override(["+trainer.max_time=00:01:00:00", "+experiment=example", "seed=1"])
        ['++trainer.max_time=00:01:00:00', '+experiment=example', 'seed=1']
    """
    return [f"+{word}" if ADDITION.match(word) else _left_out(word) for word in arguments]


def _left_out(word: str) -> str:
    """``group=null`` as ``~group``: Hydra's spelling for a group that is left out."""
    found = NULL_GROUP.fullmatch(word)
    return f"~{found[1]}" if found and (CONFIGS / found[1]).is_dir() else word
