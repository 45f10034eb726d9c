"""The arithmetic between values, 0…1 and classes: one place, for numbers, arrays and tensors."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from src.vimh.codec import Codec
from src.vimh.parameters import Parameter, ParameterSpace

SOURCE = Path(__file__).parents[2] / "src"
ITS_OWN = ("vimh/codec.py", "vimh/parameters.py")
ENDS = ("range", "lo", "hi", "span")

VELOCITY = Parameter("note_velocity", min=126.0, max=127.0, step=0.5)
DECAY = Parameter("log10_decay_time", min=-2.0, max=0.3, step=0.1)
ODD = Parameter("odd", min=0.25, max=2.3, step=0.5)
PLAIN = Parameter("plain", min=0.0, max=10.0)
DIGIT = Parameter("digit", 0, 255, kind="categorical", class_names=tuple("0123456789"))
ALL = (VELOCITY, DECAY, ODD, PLAIN, DIGIT)


def knows_the_spacing(node: ast.AST) -> bool:
    """Whether an expression computes with the ends of a parameter's range."""
    if not isinstance(node, ast.BinOp):
        return False
    ends = (*ENDS, "min", "max") if isinstance(node.op, ast.Add | ast.Sub) else ENDS
    return any(
        isinstance(side, ast.Attribute) and side.attr in ends for side in (node.left, node.right)
    )


def test_nobody_else_knows_how_values_are_spaced() -> None:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if name not in ITS_OWN:
            tree = ast.parse(path.read_text())
            lines = [node.lineno for node in ast.walk(tree) if knows_the_spacing(node)]
            found += [f"src/{name}:{line}" for line in lines]
    assert found == [], "ask the parameter or its codec instead"
    assert knows_the_spacing(ast.parse("p.min + x * p.range", mode="eval").body)


@pytest.mark.parametrize("parameter", ALL, ids=lambda p: p.name)
def test_arrays_and_tensors_give_the_same_numbers(parameter: Parameter) -> None:
    codec = parameter.codec
    x = np.linspace(-0.2, 1.2, 57)
    values = codec.denormalise(x)
    for made in (codec.denormalise, codec.value_of_class):
        assert made(torch.from_numpy(x)).numpy().tobytes() == made(x).tobytes()
    for made in (codec.normalise, codec.clip, codec.class_of, codec.error_in_steps):
        assert made(torch.from_numpy(values)).numpy().tobytes() == made(values).tobytes()
    assert codec.denormalise(0.5) == parameter.denormalise(0.5)


def test_columns_are_coded_as_each_parameter_is() -> None:
    codec = ParameterSpace(ALL).codec
    x = np.random.default_rng(0).random((40, len(ALL)))
    values = codec.denormalise(x)
    for column, parameter in enumerate(ALL):
        own = values[:, column]
        np.testing.assert_array_equal(own, parameter.denormalise(x[:, column]))
        np.testing.assert_array_equal(codec.normalise(values)[:, column], parameter.normalise(own))
        np.testing.assert_array_equal(codec.class_of(values)[:, column], parameter.class_of(own))
    on_device = Codec._make(map(torch.from_numpy, codec))
    assert on_device.denormalise(torch.from_numpy(x)).numpy().tobytes() == values.tobytes()


def test_distances() -> None:
    codec = DECAY.codec
    assert codec.error_in_steps(0.2) == pytest.approx(2.0)
    assert codec.error_in_range(1.15) == pytest.approx(0.5)
    assert codec.error_in_units(0.5) == pytest.approx(1.15)
    assert Codec.between(0.0, 255.0).class_of(np.array([3.4, np.nan])).tolist()[0] == 3.0


def places(parameter: Parameter) -> np.ndarray:
    """Where each byte lies among the classes, in more digits than float64 has."""
    low, high, first, last, width, _ = np.array(parameter.codec, dtype=np.longdouble)
    values = low + np.arange(256, dtype=np.longdouble) / 255 * (high - low)
    return (values.clip(first, last) - first) / width


def shipped() -> list[Parameter]:
    """Every parameter with a step of the recipes that come with the project."""
    found = {}
    for path in sorted((SOURCE.parent / "configs").rglob("*.yaml")):
        synth = OmegaConf.to_container(OmegaConf.load(path))
        parameters = synth.get("parameters") if isinstance(synth, dict) else None
        for name, entry in (parameters if isinstance(parameters, dict) else {}).items():
            ends = {key: entry.get(key) for key in ("min", "max", "step")}
            if all(isinstance(end, float | int) for end in ends.values()):
                parameter = Parameter(name, **ends)
                if parameter.has_jnd and not parameter.is_fixed:
                    found[tuple(ends.values())] = parameter
    return list(found.values())


def test_the_class_of_every_byte_is_the_nearest() -> None:
    random = np.random.default_rng(1)
    drawn = [
        Parameter("p", low, low + span, span / steps)
        for low, span, steps in zip(
            random.uniform(-1e4, 1e4, 1000),
            10.0 ** random.uniform(-2, 4, 1000),
            random.uniform(1, 200, 1000),
            strict=True,
        )
    ]
    assert len(shipped()) > 5
    for parameter in (*shipped(), *drawn):
        far = np.abs(places(parameter) - parameter.class_table())
        assert far.max() <= 0.5 + 1e-6, parameter
