"""A part of a data set, as a recipe names it: `generate.part=3/16`."""

import re
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Predicate, doc

JOIN = "join"  # in the place of a part: put the parts together
_PART = re.compile(r"(\d{1,9})/(\d{1,9})")


def _is_part(text: str) -> bool:
    found = _PART.fullmatch(text)
    return found is not None and 1 <= int(found[1]) <= int(found[2])


PartText = Annotated[
    str,
    Predicate(_is_part),
    doc("a part such as 3/16 (1/16 is the first, 16/16 the last)"),
]


@dataclass(frozen=True)
class Part:
    """One of the pieces that several processes make of a data set, `generate.part: 3/16`.

    Attributes:
        number: which, from 1.
        count: of how many.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Return the part that a :data:`PartText` names.

        Example:
            >>> Part.parse("3/16")
            Part(number=3, count=16)
        """
        number, _, count = text.partition("/")
        return cls(int(number), int(count))

    def positions(self, num_samples: int) -> range:
        """Return its share of the data set's positions 0…`num_samples` − 1.

        Example:
            >>> [Part(number, 3).positions(10) for number in (1, 2, 3)]
            [range(0, 3), range(3, 6), range(6, 10)]
        """
        start, stop = (n * num_samples // self.count for n in (self.number - 1, self.number))
        return range(start, stop)

    def __str__(self) -> str:
        return f"part {self.number} of {self.count}"
