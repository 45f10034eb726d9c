"""How loud the sounds of a data set are, and how much of their images is at the floor."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
from annotated_types import Interval
from jaxtyping import Float, Float64, UInt8

from src.schema.arguments import section
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError

# Metadata of recordings and of the zoo's models have it; of other sounds some are rendered.
LEVELS_KEY = "training_levels"
Level = Annotated[float, Interval(ge=-1e6, le=1e6)]


def floor_shares(images: UInt8[np.ndarray, "B C H W"], sides: int = 1) -> Float64[np.ndarray, "B"]:
    """Return the share of each image's pixels that have the least byte: the floor, or silence.

    Example:
        >>> floor_shares(np.array([[[[0, 0, 0, 255]]]], np.uint8)).tolist()
        [0.75]
    """
    return (images[:, :sides] == 0).mean(axis=(1, 2, 3))


@dataclass(frozen=True)
class Levels:
    """What is known of some sounds.

    Attributes:
        lowest_db: the level of the quietest; a sound's level is the highest of its spectrogram.
        highest_db: that of the loudest.
        floor_share: the largest share of an image at the floor.
    """

    lowest_db: Level
    highest_db: Level
    floor_share: Annotated[float, Interval(ge=0, le=1)]

    @classmethod
    def of(cls, levels_db: Float[np.ndarray, "B"], shares: Float64[np.ndarray, "B"]) -> "Levels":
        """Return those of some sounds, by the level and the share of each."""
        return cls(float(levels_db.min()), float(levels_db.max()), float(shares.max()))

    @classmethod
    def in_metadata(cls, raw: Mapping[str, object], where: str) -> "Levels | None":
        """Return those that metadata say; None where they say none.

        Raises:
            VIMHError: the metadata say them in another way.
        """
        if LEVELS_KEY not in raw:
            return None
        try:
            return section(cls, raw[LEVELS_KEY], LEVELS_KEY)
        except ConfigError as error:
            raise VIMHError(f"{where}: {error}") from error

    def __or__(self, other: "Levels | None") -> "Levels":
        if other is None:
            return self
        return Levels(
            min(self.lowest_db, other.lowest_db),
            max(self.highest_db, other.highest_db),
            max(self.floor_share, other.floor_share),
        )

    def to_json(self) -> dict[str, float]:
        """Return it as metadata keep it."""
        return asdict(self)
