"""A constructor's signature as the schema of its config."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Unpack

import pytest
from annotated_types import Interval, Len
from typing_extensions import TypedDict

from src.schema.arguments import check_arguments, check_value, describe, section, shown
from src.schema.bounds import OneOf, Rate, Real, SizePair, Sizes, Texts
from src.utils.errors import ConfigError


class Options(TypedDict, total=False):
    depth: int


class Thing:
    def __init__(
        self,
        units: Annotated[int, Interval(ge=1, le=10)],
        rate: Rate = 0.0,
        scale: Real = 1.0,
        kind: Annotated[str, OneOf(("a", "b"))] = "a",
        mode: Literal["min", "max"] = "min",
        sizes: Sizes | None = None,
        weights: Mapping[str, float | None] | None = None,
        options: Options | None = None,
        call: Callable[..., Any] | None = None,
        untyped=None,
        **more: Unpack[Options],
    ) -> None:
        del units, rate, scale, kind, mode, sizes, weights, options, call, untyped, more


def test_what_fits_comes_back_as_it_is() -> None:
    given = {
        "units": 3, "rate": 0.5, "scale": 2, "kind": "b", "mode": "max", "sizes": [1, 2],
        "weights": {"x": None, "y": 1.0}, "options": {"depth": 2}, "untyped": object, "depth": 4,
    }  # fmt: skip
    checked = check_arguments(Thing, given, "thing")
    assert checked == given
    assert isinstance(checked["scale"], int)
    assert checked["sizes"] is not given["sizes"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("units", 0, "thing.units is 0; expected a whole number of at least 1 and at most 10"),
        ("units", 11, "thing.units is 11"),
        ("units", 2.0, "thing.units is 2.0"),
        ("units", True, "thing.units is True"),
        ("units", "3", "thing.units is '3'"),
        ("units", None, "thing.units is null"),
        ("rate", 1, "thing.rate is 1; expected a number of at least 0 and less than 1"),
        ("rate", float("nan"), "thing.rate is nan"),
        ("scale", float("inf"), "thing.scale is inf; expected a number"),
        ("scale", 10**400, "thing.scale is a number of more than 256 bits"),
        ("kind", "c", "thing.kind is 'c'; expected one of a, b"),
        ("kind", 1, "thing.kind is 1; expected one of a, b"),
        ("mode", "x", "thing.mode is 'x'; expected one of min, max"),
        ("sizes", [], "thing.sizes is []"),
        ("sizes", [1, "2"], "thing.sizes is [1, '2']; expected a list of whole numbers"),
        ("sizes", [10**30], "thing.sizes is [1000"),
        ("weights", {"x": "y"}, "thing.weights.x is 'y'; expected a number or null"),
        ("options", {"depht": 2}, "thing.options.depht is unknown; did you mean depth"),
        ("options", {"depth": "a"}, "thing.options.depth is 'a'; expected a whole number"),
        ("options", [1], "thing.options is [1]; expected a mapping or null"),
        ("call", [1, 2], "thing.call is [1, 2]"),
        ("depth", 1.5, "thing.depth is 1.5; expected a whole number"),
        ("unit", 1, "thing.unit is unknown; did you mean units"),
    ],
)
def test_what_does_not_fit_is_one_sentence(key: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_arguments(Thing, {"units": 1, key: value}, "thing")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_missing_argument_is_named_unless_it_comes_later() -> None:
    with pytest.raises(ConfigError, match=r"thing\.units is missing; expected a whole number"):
        check_arguments(Thing, {}, "thing")
    assert check_arguments(Thing, {}, "thing", complete=False) == {}


def test_bounds_from_outside_take_the_place_of_a_signature() -> None:
    bounds = {"scale": Annotated[float, Interval(ge=5)]}
    with pytest.raises(ConfigError, match=r"thing\.scale is 2; expected a number of at least 5"):
        check_arguments(Thing, {"units": 1, "scale": 2}, "thing", bounds=bounds)


def test_an_open_signature_takes_any_name() -> None:
    class Open:
        def __init__(self, a: int = 1, **rest: Any) -> None: ...

    assert check_arguments(Open, {"b": 2}, "open") == {"b": 2}


@dataclass(frozen=True)
class Inner:
    size: int
    name: str | None = None


@dataclass(frozen=True)
class Outer:
    inner: Inner
    other: Inner | None = None
    count: int = 1


def test_sections_nest_and_name_their_whole_key() -> None:
    assert section(Outer, {"inner": {"size": 2}, "count": 3}) == Outer(Inner(2), count=3)
    assert section(Outer, {"inner": {"size": 2}, "other": None}).other is None
    for given, message in (
        ({"inner": {"size": "a"}}, "inner.size is 'a'; expected a whole number"),
        ({"inner": {"size": 1, "nam": "b"}}, "inner.nam is unknown; did you mean name"),
        ({"inner": {}}, "inner.size is missing"),
        ({"inner": 5}, "inner is 5; expected a mapping"),
        ({}, "inner is missing"),
        ([], r"the config is \[\]; expected a mapping"),
    ):
        with pytest.raises(ConfigError, match=message):
            section(Outer, given)


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (int | None, "a whole number or null"),
        (Real, "a number"),
        (Sequence[str], "a list of texts"),
        (
            Annotated[Sequence[float], Len(2, 2)],
            "a list of numbers, at least 2 and at most 2 of them",
        ),
        (SizePair, "a whole number of at least 1 and at most 65536 or a list of whole numbers"),
        (Texts, "a list of entries, each a text that is not empty"),
        (Mapping[str, int], "a mapping"),
        (Any, "a value"),
        (Thing, "a Thing"),
    ],
)
def test_hints_in_words(hint: Any, text: str) -> None:
    assert describe(hint).startswith(text)


def test_values_in_messages_are_short() -> None:
    assert shown(None) == "null"
    assert len(shown("a" * 1000)) == 60
    assert shown(10**5000) == "a number of more than 256 bits"


def test_one_value() -> None:
    assert check_value(Rate, 0, "a.b") == 0
    with pytest.raises(ConfigError, match=r"a\.b is 2"):
        check_value(Rate, 2, "a.b")
