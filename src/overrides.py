"""Command lines as people type them, made into what Hydra takes."""

from __future__ import annotations

import re
from collections.abc import Sequence

# One plus and a key with a dot: groups (+experiment=..., +model/optimizer=...) have none.
ADDITION = re.compile(r"\+[^+=/@~]+\.[^=/@]+=")


def add_or_override(arguments: Sequence[str]) -> list[str]:
    """Turn ``+key=value`` into ``++key=value``: Hydra's spelling for a key that may be there.

    Hydra refuses ``+key`` where the config has a value already, and whether it has one depends on
    the experiment: ``+trainer.gradient_clip_val=0.5`` would work with some and not with others.

    Args:
        arguments: The words of a command line, without the program's name.

    Example:
        >>> add_or_override(["+trainer.max_time=00:01:00:00", "+experiment=example", "seed=1"])
        ['++trainer.max_time=00:01:00:00', '+experiment=example', 'seed=1']
    """
    return [f"+{word}" if ADDITION.match(word) else word for word in arguments]
