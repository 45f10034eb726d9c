"""Say in one sentence what Hydra or OmegaConf refuse."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

# Lines of advice that does not fit this project.
ADVICE = ("To append", "Set the environment", "See https", "object_type=")
# Hydra raises a plain ValueError where a group's choice is a number, true or null.
NO_CHOICE = "Config group override must be a string or a list"

# The exceptions for :func:`refusal`. Hydra's error of a missing config is an OSError too.
REFUSALS = (HydraException, OmegaConfBaseException, ValueError)


def refusal(error: Exception, words: Sequence[str] = ()) -> str | None:
    """Say in one sentence what Hydra or OmegaConf refuse.

    Args:
        error: An exception of composing or resolving.
        words: The overrides of the command line; the sentence names the one at fault.

    Returns:
        The sentence; None for an error of another package.

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
    # The message of a resolver of this project is a sentence already.
    return re.sub(
        r"^ConfigError raised while resolving interpolation: (.*?)( full_key:.*)?$", r"\1", kept
    )
