"""Quote words for Hydra's grammar and for a shell, so that users can copy command lines."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException


class Unreadable:
    """A value that does not fit Hydra's grammar."""


def parsed(value: str) -> object:
    """Parse an override's value, behind ``key=``: a text, null, a number, a list, a sweep ..."""
    try:
        found: object = OverridesParser.create().parse_override(f"key={value}").value()
    except HydraException:
        return Unreadable()
    return found


def in_quotes(value: str) -> str:
    r"""Put a value in single quotes, escaped for Hydra's grammar.

    Example:
        >>> in_quotes("it's")
        "'it\\'s'"
    """
    return QuotedString(text=value, quote=Quote.single).with_quotes()


def quoted(value: str) -> str:
    """Write a text so that Hydra reads it: as it is where Hydra can read that, else in quotes.

    Example:
        >>> quoted("logs/runs/epoch_3.ckpt"), quoted("saw (1).wav")
        ('logs/runs/epoch_3.ckpt', "'saw (1).wav'")
    """
    value = value.replace("${", r"\${")  # otherwise OmegaConf looks for a key of this name
    return value if value and parsed(value) == value else in_quotes(value)


def shell_word(text: str) -> str:
    """Quote a word for a shell; in double quotes where these are easier to read.

    Example:
        >>> print(shell_word("input='saw (1).wav'"))
        "input='saw (1).wav'"
    """
    word = shlex.quote(text)
    if word != text and "'" in text and not any(letter in text for letter in '"$`\\!'):
        return f'"{text}"'
    return word


def shown_path(path: str | Path) -> str:
    """Write a path for copying: relative if it is under the working directory."""
    whole = Path(os.path.abspath(path))
    here = Path.cwd()
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else str(whole)


def path_word(key: str, path: str | Path) -> str:
    """Write ``key=path`` for copying into a shell.

    Example:
        >>> print(path_word("ckpt_path", "epoch=3.ckpt"))
        "ckpt_path='epoch=3.ckpt'"
    """
    return shell_word(f"{key}={quoted(shown_path(path))}")
