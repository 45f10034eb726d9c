"""The entries of a recipe's `synth.parameters` and `synth.draws`, as users write them."""

from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Interval, Len, Predicate, doc

from src.schema.arguments import section, unknown_key
from src.schema.plain import plain_values
from src.synth.errors import RecipeError, parameter_errors, recipe_errors
from src.vimh.codec import Spacing
from src.vimh.fields import MAX_NAME_BYTES, Kind, StepKind
from src.vimh.parameters import Parameter

_Edge = Annotated[float, Interval(ge=-1e12, le=1e12)]


def _is_label(text: str) -> bool:
    return text.isprintable() and len(text.encode()) <= MAX_NAME_BYTES


_Label = Annotated[
    str, Predicate(_is_label), doc(f"a text of at most {MAX_NAME_BYTES} bytes that can be printed")
]


@dataclass(frozen=True)
class ParameterSection:
    """An entry of `synth.parameters`; :class:`src.vimh.parameters.Parameter` explains its keys."""

    min: _Edge
    max: _Edge
    step: Annotated[float, Interval(ge=0, le=1e12)] | None = None
    description: str = ""
    unit: _Label = ""
    scale: str | None = None
    kind: Kind = "continuous"
    class_names: Annotated[list[_Label], Len(0, 256)] = field(default_factory=list)
    spacing: Spacing = "linear"
    step_kind: StepKind = "jnd"


@dataclass(frozen=True)
class DrawSection:
    """An entry of `synth.draws`: a range whose numbers are drawn evenly, or evenly by ratio."""

    min: _Edge
    max: _Edge
    spacing: Spacing = "linear"
    unit: _Label = ""
    description: str = ""


def recipe_parameter(name: str, mapping: object) -> Parameter:
    """Read an entry of `synth.parameters`.

    Raises:
        VIMHError: if it is not well-formed.
    """
    with recipe_errors():
        given = section(ParameterSection, plain_values(mapping), f"synth.parameters.{name}")
    with parameter_errors(name):
        parameter = Parameter(name, **{**vars(given), "class_names": tuple(given.class_names)})
        parameter.check_generatable()
    return parameter


def drawn_quantity(name: str, mapping: object, known: tuple[str, ...]) -> Parameter:
    """Read an entry of `synth.draws`, whose name is one of the known ones.

    Raises:
        VIMHError: if it is not well-formed.
    """
    key = f"synth.draws.{name}"
    if name not in known:
        raise RecipeError(unknown_key(key, name, known))
    with recipe_errors():
        given = section(DrawSection, plain_values(mapping), key)
    with parameter_errors(name, "synth.draws"):
        return Parameter(name, **vars(given))
