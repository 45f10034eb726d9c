"""What an engine does. It lives in a process of its own, which imports no torch."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from src.synth.engines.control import Control


class EngineError(ValueError):
    """The engine cannot be used as it was asked for; the message says what to change."""


@dataclass(frozen=True)
class EngineSpec:
    """How a worker builds its engine.

    Attributes:
        engine: The import path of an :class:`Engine`.
        arguments: What its constructor gets, plain values by name.
    """

    engine: str
    arguments: Mapping[str, object]


@dataclass(frozen=True)
class Description:
    """What an engine says of itself.

    Attributes:
        version: Of the package that renders.
        controls: All of them.
    """

    version: str
    controls: tuple[Control, ...]


class Engine(ABC):
    """Renders one sound after another.

    A subclass imports its package in the constructor, which gets `sample_rate_hz` and the
    arguments of its config. An error at rendering costs the sound; the worker is started again.

    Raises:
        EngineError: if it cannot be used.
    """

    @abstractmethod
    def version(self) -> str:
        """Return the version of the package that renders."""

    @abstractmethod
    def controls(self) -> Sequence[Control]:
        """Return every control that can be set."""

    @abstractmethod
    def clear(self) -> None:
        """Forget the last sound: what rings on, phases, delays."""

    @abstractmethod
    def render(
        self, values: Mapping[str, float], num_samples: int
    ) -> Float32[np.ndarray, "{num_samples}"]:
        """Render a sound, after :meth:`clear`.

        Args:
            values: controls that are set; all others stand at their default. Of a menu the index
                of the class.
            num_samples: its length: the beginning of a longer one with the same values.

        Returns:
            One channel; where the engine has several, their mean.
        """
