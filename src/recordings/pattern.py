"""Labels in the names of files, by a pattern such as ``{instrument}_{note:d}_{velocity:d}.wav``."""

import functools
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass

from src.recordings.table import FILE, Table
from src.utils.errors import ConfigError
from src.vimh.plain import shown

SKIPPED = "_"  # {_} stands for any text that is no label
MAX_FIELDS = 64
# What a field of each kind takes, at its beginning; the longest one comes first.
_KINDS = {
    "": re.compile(r"[^/]+"),
    "d": re.compile(r"[+-]?\d+"),
    "f": re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"),
}


@dataclass(frozen=True)
class _Field:
    name: str
    kind: str


class Pattern:
    """A pattern of file names.

    ``{name}`` is any text without a slash, ``{name:d}`` a whole number, ``{name:f}`` a number;
    ``{_}`` is any text that is no label, ``{{`` and ``}}`` are braces. A pattern with a slash is
    compared with the path from the folder on, one without it with the file's own name. Where
    several readings fit, texts are as short as possible.

    Args:
        text: the pattern.

    Raises:
        ConfigError: it has no field, one twice, or one of another kind.

    Example:
        >>> Pattern("{instrument}_{note:d}-{_}.wav").match("bass/low_synth_068-x.wav")
        {'instrument': 'low_synth', 'note': '068'}
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts = _parts(text)
        self.names = [p.name for p in self._parts if isinstance(p, _Field) and p.name != SKIPPED]
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice or not self.names or len(self._parts) > 2 * MAX_FIELDS:
            found = f"{twice[0]} twice" if twice else "none" if not self.names else "more"
            raise ConfigError(
                f"pattern is {shown(text)}; expected 1 to {MAX_FIELDS} fields such as {{pitch:d}}, "
                f"each once, found {found}"
            )

    def match(self, file: str) -> dict[str, str] | None:
        """Return the fields of a file's name, or None where the name is of another form."""
        name = file if "/" in self.text else file.rpartition("/")[2]
        parts = self._parts

        @functools.cache  # a place is tried once, so that the time is bounded
        def rest(index: int, place: int) -> tuple[str, ...] | None:
            if index == len(parts):
                return () if place == len(name) else None
            part = parts[index]
            if isinstance(part, str):
                there = name.startswith(part, place)
                return rest(index + 1, place + len(part)) if there else None
            longest = _KINDS[part.kind].match(name, place)
            if longest is None:
                return None
            ends: Sequence[int] = range(place + 1, longest.end() + 1)
            for end in ends if not part.kind else reversed(ends):
                if part.kind and not _KINDS[part.kind].fullmatch(name, place, end):
                    continue
                following = rest(index + 1, end)
                if following is not None:
                    own = () if part.name == SKIPPED else (name[place:end],)
                    return (*own, *following)
            return None

        found = rest(0, 0)
        return None if found is None else dict(zip(self.names, found, strict=True))

    def table(self, files: Sequence[str]) -> tuple[Table, list[str]]:
        """Return the labels of files, and those files whose names are of another form."""
        columns: dict[str, list[str]] = {name: [] for name in (FILE, *self.names)}
        others: list[str] = []
        for file in files:
            fields = self.match(file)
            if fields is None:
                others.append(file)
                continue
            for name, value in {FILE: file, **fields}.items():
                columns[name].append(value)
        return Table(f"pattern {self.text}", columns, []), others


def _parts(text: str) -> tuple[str | _Field, ...]:
    parts: list[str | _Field] = []
    try:
        for literal, name, kind, conversion in string.Formatter().parse(text):
            if literal:
                parts.append(literal)
            if name is None:
                continue
            if conversion or kind not in _KINDS or not name.isidentifier() or name == FILE:
                raise ConfigError(
                    f"pattern is {shown(text)}; expected fields such as {{name}}, {{name:d}} and "
                    f"{{name:f}}, found {{{name}{'!' if conversion else ''}{conversion or ''}"
                    f"{':' if kind else ''}{kind}}}"
                )
            parts.append(_Field(name, kind))
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"pattern is {shown(text)}: {error}; {{{{ is a brace") from error
    return tuple(parts)
