"""Arguments checked against the signature that they are for.

A constructor's annotations are the schema: its names, its types, and the bounds that
:mod:`src.schema.bounds` adds to them. pydantic checks the values, strictly: a text is no number,
``true`` is no 1, and NaN and infinity are no numbers.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin

import annotated_types
from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from typing_extensions import is_typeddict

from src.utils.errors import ConfigError

T = TypeVar("T")
Hint: TypeAlias = Any  # an annotation, with or without bounds

_STRICT = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
_MAX_SHOWN = 60  # characters of a value in a message
_MAX_LENGTH_SHOWN = 1000  # a longer list is no mistake that anybody makes
_NOUNS = {
    bool: ("true or false", "of true and false"),
    int: ("a whole number", "of whole numbers"),
    float: ("a number", "of numbers"),
    str: ("a text", "of texts"),
    type(None): ("null", "of nulls"),
}


@dataclass(frozen=True)
class Argument:
    """One argument of a constructor: its annotation, with bounds, and whether it has no default."""

    hint: Hint
    required: bool

    @functools.cached_property
    def validate(self) -> Callable[[object], Any]:
        """The function that returns a checked value or raises pydantic's ``ValidationError``."""
        hint = Any if self.hint is inspect.Parameter.empty else self.hint
        try:
            return TypeAdapter(hint, config=_STRICT).validate_python
        except (PydanticSchemaGenerationError, PydanticUserError):
            return TypeAdapter(Any).validate_python  # another package's word that is no type


@dataclass(frozen=True)
class Signature:
    """What a class takes by name, and whether any other name too (an untyped ``**kwargs``)."""

    arguments: Mapping[str, Argument]
    is_open: bool


@functools.cache
def signature_of(cls: type) -> Signature:
    """Read the arguments of a class's constructor; ``**options: Unpack[Options]`` is spelled out.

    Of a ``TypedDict``, its keys.
    """
    if is_typeddict(cls):
        keys = typing.get_type_hints(cls, include_extras=True)
        return Signature({key: Argument(hint, False) for key, hint in keys.items()}, False)
    hints = _hints(cls)
    arguments: dict[str, Argument] = {}
    is_open = False
    for name, parameter in inspect.signature(cls).parameters.items():
        hint = hints.get(name, inspect.Parameter.empty)
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            if get_origin(hint) is not typing.Unpack:
                is_open = True
                continue
            arguments |= signature_of(get_args(hint)[0]).arguments
        elif parameter.kind is not inspect.Parameter.VAR_POSITIONAL:
            arguments[name] = Argument(hint, parameter.default is inspect.Parameter.empty)
    return Signature(arguments, is_open)


def _hints(cls: type) -> dict[str, Hint]:
    owner: Any = cls if is_dataclass(cls) else getattr(cls, "__init__")  # noqa: B009 - mypy
    try:
        return typing.get_type_hints(owner, include_extras=True)
    except (NameError, AttributeError, TypeError):
        return {}  # another package's names that exist only for its type checker


def check_arguments(
    cls: type,
    given: Mapping[Any, object],
    where: str,
    *,
    complete: bool = True,
    bounds: Mapping[str, Hint] | None = None,
) -> dict[str, Any]:
    """Check the names and values of arguments that a config gives for a class.

    Args:
        cls: The class.
        given: Plain values by name.
        where: The key of the config that they stand under, for messages; "" for the top.
        complete: Whether every argument without a default has to be given.
        bounds: Annotations that take the place of the class's own, by argument.

    Returns:
        The values, checked: new containers of plain values.

    Raises:
        ConfigError: An argument is unknown, missing, of another type or out of bounds. The message
            names its key, what was found and what is expected.

    Example:
        >>> from src.schema.bounds import Rate
        >>> class Network:
        ...     def __init__(self, units: int, dropout: Rate = 0.0) -> None: ...
        >>> check_arguments(Network, {"units": 8, "dropout": 0.5}, "model.net")
        {'units': 8, 'dropout': 0.5}
        >>> check_arguments(Network, {"units": 8, "dropout": "a"}, "model.net")
        Traceback (most recent call last):
        ...
        src.utils.errors.ConfigError: model.net.dropout is 'a'; expected a number of at least 0 ...
    """
    signature = signature_of(cls)
    overlay = bounds or {}
    prefix = f"{where}." if where else ""
    checked: dict[str, Any] = {}
    for name, value in given.items():
        known = signature.arguments.get(name)
        if name in overlay:
            known = Argument(overlay[name], required=False)
        if known is None:
            if not signature.is_open:
                raise ConfigError(unknown_key(f"{prefix}{name}", name, signature.arguments))
            checked[name] = value
            continue
        options = next(filter(is_typeddict, options_of(known.hint)), None)
        if options is not None and isinstance(value, Mapping):
            checked[name] = check_arguments(options, value, f"{prefix}{name}")
        else:
            checked[name] = _checked(known, value, f"{prefix}{name}")
    missing = [
        name
        for name, argument in signature.arguments.items()
        if argument.required and name not in given
    ]
    if missing and complete:
        expected = describe(signature.arguments[missing[0]].hint)
        raise ConfigError(f"{prefix}{missing[0]} is missing; expected {expected}")
    return checked


def section(cls: Callable[..., T], given: object, where: str = "") -> T:
    """Check a mapping of plain containers and make a dataclass of it, and of its sections.

    `where` is the key of the config that the mapping stands under; "" for the top.

    Raises:
        ConfigError: As :func:`check_arguments`.
    """
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where or 'the config'} is {shown(given)}; expected a mapping")
    prefix = f"{where}." if where else ""
    values = dict(given)
    assert isinstance(cls, type)
    for name, argument in signature_of(cls).arguments.items():
        options = options_of(argument.hint)
        kind = next((o for o in options if isinstance(o, type) and is_dataclass(o)), None)
        is_left_out = values.get(name) is None and type(None) in options
        if kind is not None and name in values and not is_left_out:
            values[name] = section(kind, values[name], f"{prefix}{name}")
    return cls(**check_arguments(cls, values, where))


def options_of(hint: Hint) -> tuple[Hint, ...]:
    """Return the types of a union, or the one type."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def check_value(hint: Hint, value: object, key: str) -> Any:
    """Check one value, whose whole key in the config is given, against an annotation.

    Raises:
        ConfigError: It does not fit.
    """
    return _checked(Argument(hint, False), value, key)


def _checked(argument: Argument, value: object, key: str) -> Any:
    if is_too_large(value):
        raise ConfigError(f"{key} is {shown(value)}; whole numbers have at most 64 bits")
    try:
        return argument.validate(value)
    except ValidationError as error:
        _check_within(argument.hint, value, key)
        raise ConfigError(f"{key} is {shown(value)}; expected {describe(argument.hint)}") from error


def _check_within(hint: Hint, value: object, key: str) -> None:
    """Name the entry of a mapping that is at fault."""
    if not isinstance(value, Mapping):
        return
    for option in options_of(hint):
        origin, args = get_origin(option), get_args(option)
        if isinstance(origin, type) and issubclass(origin, Mapping) and len(args) == 2:
            for name, part in value.items():
                check_value(args[1], part, f"{key}.{name}")


def is_too_large(value: object) -> bool:
    """Tell whether a value is, or a list holds, a whole number that no array takes."""
    if isinstance(value, int):
        return value.bit_length() > 63
    return isinstance(value, list | tuple) and any(map(is_too_large, value))


def unknown_key(key: str, name: object, known: Collection[str]) -> str:
    """Say that a key is not read, and which similar key is."""
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{key} is unknown{hint} (there are {', '.join(known)})"


def shown(value: object, length: int = _MAX_SHOWN) -> str:
    """Show a value in a message, cut to a length in characters."""
    if isinstance(value, int) and value.bit_length() > 256:
        return "a number of more than 256 bits"
    text = "null" if value is None else repr(value)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def describe(hint: Hint) -> str:
    """Describe in words what an annotation admits.

    Example:
        >>> from src.schema.bounds import Rate, Size
        >>> describe(Size | None), describe(list[str])
        ('a whole number of at least 1 and at most 65536 or null', 'a list of texts')
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _described_bounds(*args)
    if origin in (Union, types.UnionType):
        return _described_union(args)
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}"
    if hint in _NOUNS:
        return _NOUNS[hint][0]
    if is_typeddict(hint) or is_dataclass(hint):
        return "a mapping"
    container = origin or hint
    if isinstance(container, type) and issubclass(container, Mapping):
        return "a mapping"
    if isinstance(container, type) and issubclass(container, Sequence):
        inner = next((a for a in args if a is not Ellipsis), None)
        return f"a list {_plural(inner)}".rstrip()
    if hint is Any or hint is inspect.Parameter.empty:
        return "a value"
    return f"a {getattr(hint, '__name__', hint)}"


def _plural(hint: Hint) -> str:
    text = describe(hint) if hint is not None else ""
    for singular, plural in _NOUNS.values():
        if text == singular or text.startswith(f"{singular} of "):
            return plural + text[len(singular) :]
    return f"of entries, each {text}" if text else ""


def _described_union(options: Sequence[Hint]) -> str:
    kept = [o for o in options if not (o is int and float in options)]
    texts = dict.fromkeys(describe(option) for option in kept)
    texts.pop("null", None)
    nothing = ["null"] if type(None) in options else []
    return " or ".join([*texts, *nothing])


def _described_bounds(hint: Hint, *metadata: object) -> str:
    texts: list[str] = []
    lengths: list[str] = []
    for bound in _flattened(metadata):
        match bound:
            case annotated_types.DocInfo():
                return bound.documentation
            case annotated_types.Ge():
                texts.append(f"at least {bound.ge}")
            case annotated_types.Gt():
                texts.append(f"more than {bound.gt}")
            case annotated_types.Le():
                texts.append(f"at most {bound.le}")
            case annotated_types.Lt():
                texts.append(f"less than {bound.lt}")
            case annotated_types.MinLen() if bound.min_length:
                lengths.append(f"at least {bound.min_length}")
            case annotated_types.MaxLen() if bound.max_length <= _MAX_LENGTH_SHOWN:
                lengths.append(f"at most {bound.max_length}")
    base = describe(hint)
    if texts:
        base = f"{base} of {' and '.join(texts)}"
    return f"{base}, {' and '.join(lengths)} of them" if lengths else base


def _flattened(metadata: Sequence[object]) -> list[object]:
    flat: list[object] = []
    for bound in metadata:
        if isinstance(bound, annotated_types.GroupedMetadata):
            flat += _flattened(list(bound))
        else:
            flat.append(bound)
    return flat
