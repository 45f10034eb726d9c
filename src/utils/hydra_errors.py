"""What Hydra and OmegaConf say is wrong, in one sentence."""

from __future__ import annotations

import re

from omegaconf.errors import OmegaConfBaseException

# Lines in which they speak of themselves.
ADVICE = ("To append", "Set the environment", "See https", "object_type=")


def first_part(error: Exception) -> str:
    r"""The message of an error without advice on appending and without the search path.

    Args:
        error: From Hydra or OmegaConf.

    Example:
        >>> first_part(ValueError("Could not override 'a'.\nTo append to your config use +a=1"))
        "Could not override 'a'."
    """
    text = str(error).partition("Config search path")[0]
    lines = [line.strip() for line in text.splitlines()]
    if isinstance(error.__cause__, OmegaConfBaseException):
        lines.append(str(error.__cause__).partition("\n")[0])
    kept = " ".join(line for line in lines if line and not line.startswith(ADVICE))
    # What a resolver of ours says is a sentence already.
    return re.sub(
        r"^ConfigError raised while resolving interpolation: (.*?)( full_key:.*)?$", r"\1", kept
    )
