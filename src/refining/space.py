"""The coordinates of a search: the heads' normalised values, reflected at the ends."""

from collections.abc import Mapping
from itertools import product

import numpy as np
from jaxtyping import Float64

from src.synth.synthesizers import Synthesizer
from src.vimh.errors import VIMHError
from src.vimh.parameters import Parameter

Classes = dict[str, float]  # the index of the class of each categorical parameter
_MOST_CHOICES = 64  # combinations of classes that are tried; of more the network's are kept


def reflected(points: Float64[np.ndarray, "*N"]) -> Float64[np.ndarray, "*N"]:
    """Fold any numbers into 0…1, as a ray between two mirrors.

    Example:
        >>> reflected(np.array([-0.25, 0.5, 1.25, 2.25])).tolist()
        [0.25, 0.5, 0.75, 0.25]
    """
    turned = np.mod(points, 2.0)
    return np.asarray(np.where(turned > 1.0, 2.0 - turned, turned))


class Space:
    """Which parameters are searched, and what is rendered at a point.

    A point has a coordinate of every continuous head but the level: the head's normalised value,
    folded into 0…1. The classes of categorical heads stand beside it.

    Args:
        synthesizer: what renders.
        start: values by parameter, in their units; None: there are none.

    Raises:
        VIMHError: if a parameter that varies is missing in `start`.

    Attributes:
        searched: the parameters of the coordinates, in their order.
        level: the parameter that only scales the sound and is solved for; None: there is none.
        start: the start's point; None where there is no start.
        choices: the combinations of classes that are tried, the start's first.
    """

    def __init__(self, synthesizer: Synthesizer, start: Mapping[str, float] | None) -> None:
        heads = synthesizer.parameters.heads
        if start is not None and (missing := [name for name in heads if name not in start]):
            raise VIMHError(
                f"refining starts from a value of each parameter; {missing[0]} has none"
            )
        continuous = [p for p in heads.values() if not p.is_categorical]
        levels = [p for p in continuous if p.name == synthesizer.level_parameter]
        self.level = levels[0] if levels and len(continuous) > 1 else None
        self.searched = tuple(p for p in continuous if p is not self.level)
        self.fixed = {name: p.min for name, p in synthesizer.parameters.fixed.items()}
        self._power = synthesizer.level_power
        self._names = tuple(synthesizer.parameters)
        self.start: Float64[np.ndarray, "P"] | None = None
        if start is not None:
            self.start = np.array(
                [float(p.normalise(start[p.name]).clip(0.0, 1.0)) for p in self.searched]
            )
        self.choices = _choices([p for p in heads.values() if p.is_categorical], start)

    @property
    def gains(self) -> tuple[float, float] | None:
        """The smallest and the largest factor on what is rendered; None: there is only 1."""
        if self.level is None:
            return None
        low, high = sorted(
            (value / self.level.max) ** self._power for value in (self.level.min, self.level.max)
        )
        return low, high

    def columns(
        self, points: Float64[np.ndarray, "B P"], classes: Classes
    ) -> dict[str, Float64[np.ndarray, "B"]]:
        """Return what a synthesiser renders of some points, with the level at its maximum."""
        folded, count = reflected(points), len(points)
        given = {p.name: p.denormalise(folded[:, k]) for k, p in enumerate(self.searched)}
        given |= {name: np.full(count, value) for name, value in (self.fixed | classes).items()}
        if self.level is not None:
            given[self.level.name] = np.full(count, self.level.max)
        return {name: given[name] for name in self._names}

    def values(
        self, point: Float64[np.ndarray, "P"], classes: Classes, gain: float
    ) -> dict[str, float]:
        """Return the values of the heads at a point, in their units."""
        folded = reflected(point)
        found = {p.name: float(p.denormalise(folded[k])) for k, p in enumerate(self.searched)}
        if self.level is not None:
            value = self.level.max * gain ** (1.0 / self._power) if gain > 0 else self.level.min
            found[self.level.name] = min(max(value, self.level.min), self.level.max)
        found |= classes
        return {name: found[name] for name in self._names if name in found}


def _choices(parameters: list[Parameter], start: Mapping[str, float] | None) -> list[Classes]:
    """Return combinations of classes; those of the start alone where all are too many."""
    own = {p.name: float(round(start[p.name])) for p in parameters} if start is not None else {}
    if np.prod([float(p.num_classes) for p in parameters]) > _MOST_CHOICES:
        return [own or {p.name: 0.0 for p in parameters}]
    every: list[Classes] = [
        dict(zip([p.name for p in parameters], map(float, indices), strict=True))
        for indices in product(*(range(p.num_classes) for p in parameters))
    ]
    return [own, *(c for c in every if c != own)] if start is not None else every
