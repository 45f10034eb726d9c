"""The errors of recipes: a message begins with the whole key that is at fault."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from jaxtyping import Float32, Shaped

from src.schema.arguments import shown
from src.schema.specs import Lookup, imported
from src.utils.errors import ConfigError
from src.vimh.errors import ParameterError, VIMHError


class RecipeError(VIMHError):
    """A recipe with an unknown key, a missing one, or a value that makes no data set."""


class LostSounds(VIMHError):  # noqa: N818 - the other sounds are there
    """An engine did not make some sounds of a batch.

    Args:
        audio: all sounds; those that are lost are all NaN.
        reasons: why each is lost, by its row.
        values: every parameter's value for each sound.
    """

    def __init__(
        self,
        audio: Float32[np.ndarray, "B T"],
        reasons: Mapping[int, str],
        values: Mapping[str, Shaped[np.ndarray, "B"]],
    ) -> None:
        row, reason = next(iter(reasons.items()))
        super().__init__(
            f"synth: {len(reasons)} of {len(audio)} sounds were not made, the first with "
            f"{described(values, row)}: {reason}"
        )
        self.audio = audio
        self.reasons = dict(reasons)


def described(values: Mapping[str, Shaped[np.ndarray, "_"]], row: int) -> str:
    """Return the parameters' values of a sound in words."""
    return ", ".join(f"{name}={column[row]:.7g}" for name, column in values.items())


@contextmanager
def recipe_errors(where: str = "") -> Iterator[None]:
    """Raise what is refused as a `RecipeError` with the whole key.

    Args:
        where: what stands before the recipe's own keys, such as "data.source.recipe.".
    """
    try:
        yield
    except (ConfigError, RecipeError) as error:
        raise RecipeError(f"{where}{error}") from error


@contextmanager
def parameter_errors(name: str, where: str = "synth.parameters") -> Iterator[None]:
    """Raise a parameter's error as a `RecipeError` with the whole key in `where`."""
    try:
        yield
    except ParameterError as error:
        key = f"{where}.{name}.{error.key}"
        raise RecipeError(f"{key} is {error.found}; {error.key} {error.what}") from error


@contextmanager
def class_errors(key: str) -> Iterator[None]:
    """Raise as `RecipeError` what a class refuses that `key` names; anybody may have written it."""
    try:
        yield
    except (ValueError, TypeError, ArithmeticError) as error:
        text = str(error)
        where = "" if re.match(r"(synth|stft|mel|image)[.:]", text) else f"{key}: "
        raise RecipeError(f"{where}{text}") from error


def named_class(
    target: object, key: str, base: type, example: str, look_up: Lookup = imported
) -> type:
    """Return the class that a recipe names.

    Args:
        target: its import path.
        key: where the recipe says it.
        base: what it is derived from.
        example: the path of another one, for messages.
        look_up: from the path to the class.

    Raises:
        RecipeError: if there is no such class, or it is not derived from `base`.
    """
    if not isinstance(target, str) or "." not in target:
        raise RecipeError(
            f"{key} is {shown(target)}; expected the import path of a {base.__name__}, such as "
            f"{example}"
        )
    with recipe_errors():
        found = look_up(target, key)
    if not issubclass(found, base) or found is base:
        raise RecipeError(f"{key} is {target}, not a subclass of {base.__name__}")
    return found
