"""Types with bounds, for the signatures of what configs build.

A constructor that writes ``dropout: Rate`` says in one place what the argument may be:
:mod:`src.schema.arguments` reads it there. A bound keeps values out that would take all memory or
never end; no sensible setting is near it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import GroupedMetadata, Interval, Len, Predicate, doc
from pydantic import BeforeValidator


@dataclass(frozen=True)
class OneOf(GroupedMetadata):
    """A text out of some: ``Annotated[str, OneOf(DISTANCES)]``.

    Unlike a ``Literal`` it admits every text where only the type is checked, so that a constructor
    says itself what is wrong with it.
    """

    options: tuple[str, ...]

    def __iter__(self) -> Iterator[object]:
        yield Predicate(self.options.__contains__)
        yield doc(f"one of {', '.join(self.options)}")


def _without_fraction(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


# YAML and command lines write 1 where 1.0 is meant.
Real = float | int
# The other way round, and 1.0 is 1 then: equal settings are equal values.
Whole = Annotated[int, BeforeValidator(_without_fraction)]

Size = Annotated[int, Interval(ge=1, le=65_536)]  # units, channels, pixels
OptionalSize = Annotated[int, Interval(ge=0, le=65_536)]  # 0: none of them
MAX_CLASSES = 65_536  # a stored byte tells 256 apart
Classes = Annotated[int, Interval(ge=2, le=MAX_CLASSES)]
Outputs = Annotated[int, Interval(ge=1, le=2**24)]  # of a head
Sizes = Annotated[Sequence[Size], Len(1, 16)]  # one a stage
SizePair = Size | Annotated[Sequence[Size], Len(2, 2)]  # one number: a square
Layers = Annotated[int, Interval(ge=1, le=256)]
Depths = Annotated[Sequence[Layers], Len(1, 16)]  # one a stage
Count = Annotated[int, Interval(ge=0, le=2**31 - 1)]
PositiveCount = Annotated[int, Interval(ge=1, le=2**31 - 1)]

Rate = Annotated[float, Interval(ge=0, lt=1)]  # of dropout: 1 would leave nothing
Margin = Annotated[Real, Interval(ge=0, lt=1)]  # of a sigmoid over 0 and 1
Share = Annotated[Real, Interval(ge=0, le=1)]
Positive = Annotated[Real, Interval(gt=0, le=1e12)]
Bounds = Annotated[Sequence[Real], Len(2, 2)]  # low, high
SpacedBounds = Annotated[Sequence[Real | str], Len(2, 3)]  # low, high, or low, high, spacing
NonNegative = Annotated[Real, Interval(ge=0, le=1e12)]

# What is compared with a metric, in any unit.
Threshold = Annotated[Real, Interval(ge=-1e12, le=1e12)]
Seconds = Annotated[Real, Interval(ge=0, le=1e9)]

Seed = Annotated[int, Interval(ge=0, lt=2**32)]  # what torch, NumPy and Lightning all take
Text = Annotated[str, Len(1, 4096), doc("a text that is not empty")]
FolderPath = Annotated[
    str, Len(1, 4096), Predicate(lambda path: "\0" not in path), doc("the path of a folder")
]
Texts = Annotated[Sequence[Text], Len(0, 65_536)]

MAX_FOLDER_BYTES = 200  # most file systems take 255; a log's name has an ending


def _is_folder_name(text: str) -> bool:
    is_word = text.strip() == text and "\0" not in text and "/" not in text
    return is_word and text not in (".", "..") and len(os.fsencode(text)) <= MAX_FOLDER_BYTES


Name = Annotated[
    str, Predicate(bool), Predicate(_is_folder_name), doc("the name of a folder, without a slash")
]


def _is_module(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


ModuleName = Annotated[
    str,
    Len(1, 200),
    Predicate(_is_module),
    doc("the name of a module or package, such as my_synths or my_synths.nets"),
]
TrustedModules = Annotated[Sequence[ModuleName], Len(0, 100)]
