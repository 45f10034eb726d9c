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
ITS_OWN = ("vimh/codec.py", "vimh/parameters.py", "vimh/parameter_checks.py")
ENDS = ("range", "lo", "hi", "span")

VELOCITY = Parameter("note_velocity", min=126.0, max=127.0, step=0.5)
DECAY = Parameter("log10_decay_time", min=-2.0, max=0.3, step=0.1)
ODD = Parameter("odd", min=0.25, max=2.3, step=0.5)
PLAIN = Parameter("plain", min=0.0, max=10.0)
DIGIT = Parameter("digit", 0, 255, kind="categorical", class_names=tuple("0123456789"))
LINEAR = (VELOCITY, DECAY, ODD, PLAIN, DIGIT)
CUTOFF = Parameter("cutoff", min=100.0, max=1000.0, step=0.03, spacing="log")
PITCH = Parameter("pitch", min=20.0, max=20000.0, spacing="log")
LOG = (CUTOFF, PITCH)
ALL = (*LINEAR, *LOG)


def knows_the_spacing(node: ast.AST) -> bool:
    """Whether an expression computes with the ends of a parameter's range."""
    match node:
        case ast.BinOp(left=left, op=op, right=right):
            ends = (*ENDS, "min", "max") if isinstance(op, ast.Add | ast.Sub) else ENDS
            sides = [left, right]
        case ast.Call(
            func=ast.Attribute(attr="log" | "log2" | "log10" | "log1p" | "exp"), args=sides
        ):
            ends = (*ENDS, "min", "max", "step")
        case _:
            return False
    return any(isinstance(side, ast.Attribute) and side.attr in ends for side in sides)


def test_nobody_else_knows_how_values_are_spaced() -> None:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if name not in ITS_OWN:
            tree = ast.parse(path.read_text())
            lines = [node.lineno for node in ast.walk(tree) if knows_the_spacing(node)]
            found += [f"src/{name}:{line}" for line in lines]
    assert found == [], "ask the parameter or its codec instead"
    for known in ("p.min + x * p.range", "np.log(p.max)", "torch.log1p(p.step)"):
        assert knows_the_spacing(ast.parse(known, mode="eval").body)


@pytest.mark.parametrize("parameter", ALL, ids=lambda p: p.name)
def test_arrays_and_tensors_give_the_same_numbers(parameter: Parameter) -> None:
    codec = parameter.codec
    x = np.linspace(-0.2, 1.2, 57)
    values = codec.denormalise(x)
    # The two libraries' logarithms may differ in the last digit.
    digits = 4e-15 if parameter.is_log else 0.0
    assert codec.class_at(torch.from_numpy(x)).numpy().tobytes() == codec.class_at(x).tobytes()
    for made in (codec.denormalise, codec.value_of_class):
        np.testing.assert_allclose(made(torch.from_numpy(x)).numpy(), made(x), rtol=digits)
    for made in (codec.normalise, codec.class_of, codec.to_axis):
        found = made(torch.from_numpy(values)).numpy()
        np.testing.assert_allclose(found, made(values), rtol=digits, atol=digits)
    assert codec.denormalise(0.5) == parameter.denormalise(0.5)


@pytest.mark.parametrize("parameters", [LINEAR, LOG, ALL], ids=["linear", "log", "mixed"])
def test_columns_are_coded_as_each_parameter_is(parameters: tuple[Parameter, ...]) -> None:
    codec = ParameterSpace(parameters).codec
    x = np.random.default_rng(0).random((40, len(parameters)))
    values = codec.denormalise(x)
    for column, parameter in enumerate(parameters):
        own = values[:, column]
        np.testing.assert_array_equal(own, parameter.denormalise(x[:, column]))
        np.testing.assert_array_equal(codec.normalise(values)[:, column], parameter.normalise(own))
        np.testing.assert_array_equal(codec.class_of(values)[:, column], parameter.class_of(own))
    on_device = codec.each(torch.from_numpy)
    found = on_device.denormalise(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, values, rtol=4e-15 if parameters is not LINEAR else 0.0)


def test_distances() -> None:
    codec = DECAY.codec
    assert codec.error_in_steps(0.2) == pytest.approx(2.0)
    assert codec.error_in_range(1.15) == pytest.approx(0.5)
    assert codec.error_on_axis(0.5) == pytest.approx(1.15)
    assert codec.error(-1.5, -1.0) == -0.5
    assert Codec.between(0.0, 255.0).class_of(np.array([3.4, np.nan])).tolist()[0] == 3.0


def places(parameter: Parameter) -> np.ndarray:
    """Where each byte lies among the classes, in more digits than float64 has."""
    low, high, step = (np.longdouble(x) for x in (parameter.min, parameter.max, parameter.step))
    if parameter.is_log:
        low, high, step = np.log(low), np.log(high), np.log1p(step)
        first, last = low, low + np.round((high - low) / step) * step
    else:
        first, last = np.round(low / step) * step, np.round(high / step) * step
    values = low + np.arange(256, dtype=np.longdouble) / 255 * (high - low)
    return (values.clip(first, last) - first) / step


def shipped() -> list[Parameter]:
    """Every parameter with a step of the recipes that come with the project."""
    found = {}
    for path in sorted((SOURCE.parent / "configs").rglob("*.yaml")):
        synth = OmegaConf.to_container(OmegaConf.load(path))
        parameters = synth.get("parameters") if isinstance(synth, dict) else None
        for name, entry in (parameters if isinstance(parameters, dict) else {}).items():
            ends = {key: entry.get(key) for key in ("min", "max", "step")}
            if all(isinstance(end, float | int) for end in ends.values()):
                parameter = Parameter(name, **ends, spacing=entry.get("spacing", "linear"))
                if parameter.has_jnd and not parameter.is_fixed:
                    found[(*ends.values(), parameter.spacing)] = parameter
    return list(found.values())


def test_the_class_of_every_byte_is_the_nearest() -> None:
    random = np.random.default_rng(1)
    drawn = [
        Parameter("p", low, low + span, span / steps)
        for low, span, steps in zip(
            random.uniform(-1e4, 1e4, 500),
            10.0 ** random.uniform(-2, 4, 500),
            random.uniform(1, 200, 500),
            strict=True,
        )
    ]
    ratios = [
        Parameter("p", low, low * ratio, np.expm1(np.log(ratio) / steps), spacing="log")
        for low, ratio, steps in zip(
            10.0 ** random.uniform(-4, 4, 500),
            10.0 ** random.uniform(0.01, 4, 500),
            random.uniform(1, 200, 500),
            strict=True,
        )
    ]
    known = shipped()
    assert len(known) > 5
    for parameter in (*known, *drawn, *ratios):
        codec = parameter.codec
        x = np.arange(256) / 255
        classes = codec.class_at(x)
        far = np.abs(places(parameter) - classes)
        assert far.max() <= 0.5 + 1e-6, parameter
        assert codec.class_at(torch.from_numpy(x)).numpy().tobytes() == classes.tobytes()
        off = np.abs(places(parameter) - codec.class_of(codec.denormalise(x)))
        assert off.max() <= 0.5 + 1e-6, parameter


def test_log_by_hand() -> None:
    octaves = Parameter("f", 110.0, 880.0, 1.0, spacing="log")  # a step is an octave
    assert (octaves.num_classes, octaves.num_steps) == (4, pytest.approx(3.0))
    values = [1.0, 110.0, 155.0, 156.0, 440.0, 5000.0]
    assert octaves.class_of(values).tolist() == [0, 0, 0, 1, 2, 3]
    np.testing.assert_allclose(octaves.value_of_class(range(4)), [110.0, 220.0, 440.0, 880.0])
    np.testing.assert_allclose(octaves.normalise([110.0, 220.0, 880.0]), [0.0, 1 / 3, 1.0])
    assert octaves.quantise([0.0, -3.0, 110.0, 220.0, 880.0, 1e9]).tolist() == [
        0,
        0,
        0,
        85,
        255,
        255,
    ]
    codec = octaves.codec
    assert codec.error_in_steps(codec.error(220.0, 440.0)) == pytest.approx(-1.0)
    assert codec.error_in_range(codec.error(220.0, 110.0)) == pytest.approx(1 / 3)
    assert octaves.tolerance(2) == pytest.approx(np.log(2) * (2 + 1.5 / 255 + 1e-6))
    # steps of 3 % in a range that they do not divide: the last class's centre lies beyond it
    assert CUTOFF.num_classes == 79
    assert CUTOFF.value_of_class(78) == pytest.approx(1000.0)
    assert CUTOFF.value_of_class([0, 1, 77]) == pytest.approx([100.0, 103.0, 100 * 1.03**77])


def test_round_trips_of_any_range() -> None:
    random = np.random.default_rng(2)
    for spacing in ("linear", "log"):
        for low, ratio in zip(
            10.0 ** random.uniform(-20, 20, 50), 10.0 ** random.uniform(0.001, 6, 50), strict=True
        ):
            parameter = Parameter("p", low, low * ratio, spacing=spacing)
            x, q = random.random(64), np.arange(256)
            values = parameter.denormalise(x)
            assert (np.diff(values[np.argsort(x)]) >= 0).all()
            np.testing.assert_allclose(parameter.normalise(values), x, atol=1e-11)
            np.testing.assert_array_equal(parameter.quantise(parameter.dequantise(q)), q)
            within = (values >= low * (1 - 1e-12)) & (values <= low * ratio * (1 + 1e-12))
            assert within.all()


def test_gradients_of_columns() -> None:
    codec = ParameterSpace([CUTOFF, DECAY]).codec.each(torch.from_numpy)
    values = torch.tensor([[200.0, -1.0], [500.0, 0.0]], dtype=torch.float64, requires_grad=True)
    codec.normalise(values).sum().backward()
    per_unit = [[1 / (v * np.log(10.0)), 1 / 2.3] for v in (200.0, 500.0)]
    np.testing.assert_allclose(values.grad, per_unit)
    x = torch.full((1, 2), 0.5, dtype=torch.float64, requires_grad=True)
    codec.denormalise(x).sum().backward()
    np.testing.assert_allclose(x.grad, [[100 * np.sqrt(10.0) * np.log(10.0), 2.3]])
