"""The error of a recipe: its message begins with the whole key that is at fault."""

from collections.abc import Iterator
from contextlib import contextmanager

from src.utils.errors import ConfigError
from src.vimh.errors import ParameterError, VIMHError


class RecipeError(VIMHError):
    """A recipe with an unknown key, a missing one, or a value that makes no data set."""


@contextmanager
def recipe_errors(where: str = "") -> Iterator[None]:
    """Within it what is refused is a `RecipeError` with the whole key.

    Args:
        where: what stands before the recipe's own keys, such as "data.source.recipe.".
    """
    try:
        yield
    except (ConfigError, RecipeError) as error:
        raise RecipeError(f"{where}{error}") from error


@contextmanager
def parameter_errors(name: str) -> Iterator[None]:
    """The same for a parameter of `synth.parameters`, which knows no more than its name."""
    try:
        yield
    except ParameterError as error:
        key = f"synth.parameters.{name}.{error.key}"
        raise RecipeError(f"{key} is {error.found}; {error.key} {error.what}") from error


@contextmanager
def synth_errors() -> Iterator[None]:
    """The same for a synthesiser's class, which anybody may have written."""
    try:
        yield
    except (ValueError, TypeError, ArithmeticError) as error:
        text = str(error)
        where = "" if text.startswith(("synth.", "synth:")) else "synth: "
        raise RecipeError(f"{where}{text}") from error
