"""The table of what a synthesiser's config can set."""

from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.table import Column, Table

from src.synth.engines.control import Control
from src.synth.recipe import Recipe
from src.vimh.parameters import Parameter


def listed_controls(recipe: Mapping[str, object]) -> list[Control]:
    """Return all controls of a recipe's engine; of another synthesiser its parameters.

    Raises:
        RecipeError: for a recipe that is not well-formed, or an engine that does not start.
    """
    checked = Recipe.from_mapping(recipe)
    found = checked.engine_controls()
    if found is not None:
        return found
    return [_control(p) for p in checked.synthesizer.parameters.values()]


def _control(p: Parameter) -> Control:
    last = len(p.class_names) - 1.0 if p.is_categorical and not p.is_fixed else p.max
    return Control(
        *(p.name, p.min, last, None, p.unit, p.spacing, p.class_names, p.step, p.description)
    )


def print_controls(recipe: Mapping[str, object]) -> None:
    """Print all controls of a recipe's engine, or of another synthesiser its parameters.

    Raises:
        RecipeError: as :func:`listed_controls`.
    """
    Console().print(controls_table(listed_controls(recipe)))


def controls_table(controls: Iterable[Control]) -> Table:
    """Return a table of controls for the screen."""
    table = Table(
        Column("name", no_wrap=True), "min", "max", "default", "unit", "spacing", "step", "classes"
    )
    for c in controls:
        numbers = ("" if x is None else f"{x:g}" for x in (c.min, c.max, c.default))
        step = "" if c.step is None else f"{c.step:g}"
        table.add_row(c.name, *numbers, c.unit, c.spacing, step, ", ".join(c.class_names))
    return table
