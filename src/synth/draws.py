"""Values that follow from draws: of a synthesiser that draws other quantities than it reports."""

from collections.abc import Mapping
from itertools import product

import numpy as np
from jaxtyping import Float64

from src.synth.errors import RecipeError
from src.synth.rendering import Columns
from src.synth.synthesizers import Synthesizer
from src.synth.waves import fill_lanes
from src.vimh.parameters import Parameter

# Of a range: what rounding may add to a value at its end.
_ROUNDING = 1e-9
_MAX_CORNERS = 2**12


def check_draws(synthesizer: Synthesizer) -> None:
    """Refuse draws that are missing, and ranges that do not hold what follows from the draws.

    A value that rises or falls with each of its draws is furthest out where all draws are at an
    end of their ranges. So these are tried before anything is made.

    Raises:
        RecipeError: naming the draws and the value.
    """
    missing = [name for name in synthesizer.draw_names if name not in synthesizer.draws]
    if missing:
        raise RecipeError(
            f"synth.draws.{missing[0]} is missing; expected min and max ({synthesizer.synth_type} "
            f"draws {', '.join(synthesizer.draw_names)}, and its parameters follow from them)"
        )
    if synthesizer.draws and not synthesizer.draws.heads:
        raise RecipeError("synth.draws: every range is a single value, nothing to draw")
    ends = [sorted({p.min, p.max}) for p in synthesizer.draws.values()]
    if ends and np.prod([float(len(pair)) for pair in ends]) <= _MAX_CORNERS:
        corners = np.array(list(product(*ends)))
        derived(synthesizer, dict(zip(synthesizer.draws, corners.T, strict=True)))


def derived(synthesizer: Synthesizer, draws: Columns) -> dict[str, Float64[np.ndarray, "B"]]:
    """Return the value of every parameter that follows from the draws of each sample.

    Raises:
        RecipeError: for a value that is not there, no number, or out of its parameter's range; it
            names the draws and the value.
    """
    count = len(next(iter(draws.values())))
    values: object = synthesizer.derive(fill_lanes(draws))
    wanted = synthesizer.parameters.names
    name = type(synthesizer).__name__
    if not isinstance(values, Mapping) or set(values) != set(wanted):
        found = [str(key) for key in values] if isinstance(values, Mapping) else [str(type(values))]
        raise RecipeError(
            f"synth: {name}.derive must return the values of {', '.join(wanted)}, found "
            f"{', '.join(found)}"
        )
    result = {}
    for parameter in synthesizer.parameters.values():
        column = np.asarray(values[parameter.name], np.float64)
        if column.ndim != 1 or len(column) < count:
            raise RecipeError(
                f"synth: {name}.derive must return one {parameter.name} a sample, found an array "
                f"of shape {column.shape}"
            )
        result[parameter.name] = _within(parameter, column[:count], draws)
    return result


def _within(
    parameter: Parameter, column: Float64[np.ndarray, "B"], draws: Columns
) -> Float64[np.ndarray, "B"]:
    """Return values that their parameter has; what rounding puts beside the range is its end."""
    room = _ROUNDING * max(parameter.range, abs(parameter.min), abs(parameter.max))
    inside = (column + room >= parameter.min) & (column - room <= parameter.max)  # NaN is not
    if not inside.all():
        row = int(np.argmin(inside))
        drawn = ", ".join(f"{name}={values[row]:.6g}" for name, values in draws.items())
        raise RecipeError(
            f"synth.parameters.{parameter.name} is {column[row]:.6g} where the draws are {drawn}; "
            f"expected {parameter.min:g} to {parameter.max:g}: widen the parameter's range, or "
            "narrow those of the draws"
        )
    return column.clip(parameter.min, parameter.max)
