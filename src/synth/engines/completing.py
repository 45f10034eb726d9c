"""The parameters of a recipe, as the user names them, filled in from the engine's controls."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from src.schema.arguments import shown
from src.synth.engines.control import Control
from src.synth.errors import RecipeError

MOST_PARAMETERS = 255  # that vary: what a record of VIMH holds
_SECTION = {"min", "max", "step", "unit", "spacing", "description"}


def completed_parameters(
    given: Mapping[str, Any], fixed: Mapping[str, float | str], controls: Iterable[Control]
) -> dict[str, dict[str, Any]]:
    """Return `synth.parameters` with all that the engine says of the controls it names.

    Args:
        given: `synth.parameters`; empty: all controls vary but those of the note and the fixed.
        fixed: `synth.fixed`.
        controls: those of the engine.

    Returns:
        Every control that varies or is fixed, whole; the latter with `min` = `max`.

    Raises:
        RecipeError: for a control that the engine lacks, and what it cannot be set to.
    """
    known = {control.name: control for control in controls}
    _check_names("parameters", given, known)
    _check_names("fixed", fixed, known)
    if both := given.keys() & fixed.keys():
        name = min(both)
        raise RecipeError(
            f"synth.fixed.{name} is given, and synth.parameters.{name}: leave one out"
        )
    chosen = given or {
        name: {}
        for name, c in known.items()
        if not c.of_note and c.min < c.max and name not in fixed
    }
    result = {name: _varying(known[name], own or {}) for name, own in chosen.items()}
    result |= {name: _fixed(known[name], value) for name, value in fixed.items()}
    count = sum(own["min"] < own["max"] for own in result.values())
    if count > MOST_PARAMETERS:
        raise RecipeError(
            f"synth.parameters: {count} controls would vary; expected at most {MOST_PARAMETERS}: "
            f"name those that shall, such as '+synth.parameters.{next(iter(chosen))}={{}}' "
            "(--list-parameters shows all)"
        )
    return result


def _check_names(key: str, given: Mapping[str, Any], known: Mapping[str, Control]) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise RecipeError(
                f"synth.{key}.{name} is no control of the engine{hint} "
                f"(--list-parameters shows all {len(known)})"
            )


def _whole(control: Control) -> dict[str, Any]:
    """Return a control as an entry of `synth.parameters`."""
    is_menu = bool(control.class_names)
    more: dict[str, Any] = (
        {"kind": "categorical", "class_names": list(control.class_names)}
        if is_menu
        else {"spacing": control.spacing, "step": control.step}
    )
    ends = {"min": control.min, "max": control.max}
    return {**ends, "unit": control.unit, "description": control.description, **more}


def _varying(control: Control, own: Any) -> dict[str, Any]:
    if not isinstance(own, Mapping):
        raise RecipeError(
            f"synth.parameters.{control.name} is {shown(own)}; expected a mapping, such as {{}} "
            "for the engine's range"
        )
    entry = {**_whole(control), **own}
    for key in ("min", "max"):
        _check_within(control, f"synth.parameters.{control.name}.{key}", entry[key])
    return entry


def _fixed(control: Control, value: float | str) -> dict[str, Any]:
    key = f"synth.fixed.{control.name}"
    if isinstance(value, str):
        if value not in control.class_names:
            classes = ", ".join(control.class_names)
            expected = f"one of {classes}" if classes else "a number"
            raise RecipeError(f"{key} is {shown(value)}; expected {expected}")
        value = float(control.class_names.index(value))
    _check_within(control, key, value)
    return {**_whole(control), "min": value, "max": value}


def _check_within(control: Control, key: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecipeError(f"{key} is {shown(value)}; expected a number")
    if not control.min <= value <= control.max:
        unit = f" {control.unit}" if control.unit else ""
        raise RecipeError(
            f"{key} is {value:g}; expected {control.min:g} to {control.max:g}{unit}, as the engine "
            "has it"
        )
