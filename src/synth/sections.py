"""Config sections as dataclasses: keys and types are checked in one place."""

import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Literal

from src.vimh.errors import VIMHError

MAX_NUMBER = 1e300  # beyond it products overflow
MAX_BITS = 63  # of a whole number, beside its sign


class RecipeError(VIMHError):
    """A recipe with an unknown key, a missing one, or a value that makes no data set."""


def plain(value: Any) -> Any:
    """Nested mappings and sequences (OmegaConf's too) as dicts and lists."""
    if is_dataclass(value):
        return plain(vars(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def _check_choice(key: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise RecipeError(f"{key} must be one of {', '.join(choices)}, found {value!r}")


def section(cls: type, mapping: Any, where: str) -> Any:
    """A dataclass from a mapping, its keys and the types of its values checked.

    Whole numbers are taken for floats and floats without a fraction for whole numbers, so that
    equal settings are equal objects.

    Args:
        cls: the dataclass; its fields may be bool, int, float, str, dict, a Literal, another
            dataclass, or one of these or None.
        mapping: plain containers.
        where: what stands before its keys in messages, such as "dataset.".

    Raises:
        RecipeError: naming the key, what was expected and what was found.
    """
    if not isinstance(mapping, dict):
        raise RecipeError(f"{where.rstrip('.')} must be a mapping, found {mapping!r}")
    known: dict[str, Field] = {f.name: f for f in fields(cls)}
    for key in mapping:
        if key not in known:
            raise RecipeError(f"unknown key '{where}{key}'; there are {', '.join(known)}")
    hints = typing.get_type_hints(cls)
    values = {}
    for key, declared in known.items():
        if key in mapping:
            values[key] = _value(hints[key], mapping[key], f"{where}{key}")
        elif declared.default is MISSING and declared.default_factory is MISSING:
            raise RecipeError(f"key '{where}{key}' is missing")
    return cls(**values)


def _value(hint: Any, value: Any, key: str) -> Any:
    if isinstance(hint, types.UnionType):  # X | None
        if value is None:
            return None
        hint = next(option for option in typing.get_args(hint) if option is not types.NoneType)
    if is_dataclass(hint):
        assert isinstance(hint, type)
        return section(hint, value, f"{key}.")
    if typing.get_origin(hint) is Literal:
        _check_choice(key, value, typing.get_args(hint))
        return value
    if typing.get_origin(hint) is dict:
        if isinstance(value, dict):
            return value
        raise RecipeError(f"{key} must be a mapping, found {value!r}")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and not abs(value) < MAX_NUMBER:
        raise RecipeError(f"{key} must be a number, found {str(value)[:40]}; 1e300 is too large")
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise RecipeError(f"{key} must be a number of at most 64 bits, found {str(value)[:40]}")
    if hint is float and is_number:
        return float(value)
    if hint is int and is_number and float(value).is_integer():
        return int(value)
    if hint in (bool, str) and isinstance(value, hint):
        return value
    expected = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
    raise RecipeError(f"{key} must be {expected[hint]}, found {value!r}")
