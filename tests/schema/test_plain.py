"""What a file may say: plain data, and nothing that is looked up."""

from collections import OrderedDict
from typing import Any

import pytest
from omegaconf import OmegaConf

from src.schema.plain import MAX_DEPTH, MAX_NODES, check_plain, plain_values, resolved
from src.utils.errors import ConfigError


class Text(str):
    """A text with an opinion of its own."""


def deep(depth: int) -> list:
    node: list = []
    for _ in range(depth):
        node = [node]
    return node


def doubled(times: int) -> list:
    node: list = []
    for _ in range(times):
        node = [node, node]
    return node


def endless() -> dict:
    node: dict = {}
    node["a"] = node
    return node


@pytest.mark.parametrize(
    "node",
    [
        {"a": [1, 2.5, "x", True, None, {"b": (1, 2)}]},
        {"a": "$ {x}", "b": "costs $5", "c": "??"},
        {},
    ],
)
def test_plain_data_pass(node: dict) -> None:
    check_plain(node, "a file")


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"a": "${b}"}, r"a file\.a is '\$\{b\}'"),
        ({"a": ["x", {"b": "1 ${oc.env:HOME}"}]}, r"a file\.a\[1\]\.b"),
        ({"${a}": 1}, "the key"),
        ({"a": "???"}, r"a file\.a"),
        ({1: 2}, "has the key 1; expected texts"),
        ({("a",): 2}, "the key"),
        ({"a": {1, 2}}, "of type set"),
        ({"a": b"x"}, "of type bytes"),
        ({"a": Text("x")}, "of type Text"),
        ({"a": OrderedDict(b=1)}, "of type OrderedDict"),
        ({"a": float("nan")}, "expected a finite number"),
        ({"a": -float("inf")}, "expected a finite number"),
        ({"a": 2**64}, "64 bits"),
        ({"a": deep(MAX_DEPTH + 1)}, "is not what it should be"),
        ({"a": doubled(60)}, "is not what it should be"),
        ({"a": [0] * MAX_NODES}, "is not what it should be"),
        (endless(), "is not what it should be"),
        ({"a": "x" * 2_000_000}, "a text of 2000000 characters"),
    ],
)
def test_all_else_is_refused_by_name(node: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_plain(node, "a file")


def test_containers_become_dicts_and_lists() -> None:
    node: Any = {"a": (1, [2, {"b": ()}])}
    assert plain_values(node) == {"a": [1, [2, {"b": []}]]}


def test_a_config_of_the_user_is_resolved_once() -> None:
    cfg = OmegaConf.create({"a": 1, "b": "${a}", "c": {"d": "${b}"}})
    assert resolved(cfg) == {"a": 1, "b": 1, "c": {"d": 1}}
    for wrong, message in (
        ({"a": {"b": "???"}}, r"a\.b is missing: give it as a\.b="),
        ({"a": {"b": "${nope}"}}, r"a\.b: Interpolation key 'nope' not found"),
        ({"a": "${nope:1}"}, "a: Unsupported interpolation type nope"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            resolved(OmegaConf.create(wrong))
        assert "\n" not in str(caught.value)
