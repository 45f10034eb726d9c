"""The error of a recipe: its message begins with the whole key that is at fault."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from src.utils.errors import ConfigError
from src.vimh.errors import ParameterError, VIMHError


class RecipeError(VIMHError):
    """A recipe with an unknown key, a missing one, or a value that makes no data set."""


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
