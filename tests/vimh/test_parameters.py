"""Quantities: value, normalised value, byte and class index."""

import pickle
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from src.vimh.errors import VIMHError
from src.vimh.parameters import Parameter, ParameterSpace

VELOCITY = Parameter("note_velocity", min=126.0, max=127.0, step=0.5)
DECAY = Parameter("log10_decay_time", min=-2.0, max=0.3, step=0.1)
PLAIN = Parameter("plain", min=0.0, max=10.0)
FIXED = Parameter("note_number", min=43.35, max=43.35, step=0.25)
DIGIT = Parameter(
    "digit", min=0, max=255, kind="categorical", class_names=tuple(str(i) for i in range(10))
)


def test_class_counts_of_the_specification() -> None:
    assert (VELOCITY.num_classes, DECAY.num_classes) == (3, 24)
    assert len(list(product(VELOCITY.grid(), DECAY.grid()))) == 72
    assert (PLAIN.num_classes, DIGIT.num_classes, FIXED.num_classes) == (256, 10, 1)


@pytest.mark.parametrize(
    ("value", "q"), [(126.0, 0), (126.5, 128), (127.0, 255), (126.25, 64), (99.0, 0), (200.0, 255)]
)
def test_quantise_by_hand(value: float, q: int) -> None:
    # 255 * 0.5 = 127.5 is rounded half to even; 255 * 0.25 = 63.75
    assert VELOCITY.quantise(value) == q
    assert VELOCITY.quantise(value).dtype == np.uint8


def test_dequantise_by_hand() -> None:
    np.testing.assert_allclose(DECAY.dequantise([0, 255, 51]), [-2.0, 0.3, -2.0 + 0.2 * 2.3])
    assert DECAY.dequantise(np.array([[1, 2], [3, 4]])).shape == (2, 2)


@pytest.mark.parametrize("parameter", [VELOCITY, DECAY, PLAIN, DIGIT])
def test_every_byte_survives_the_round_trip(parameter: Parameter) -> None:
    q = np.arange(256)
    np.testing.assert_array_equal(parameter.quantise(parameter.dequantise(q)), q)
    values = np.linspace(parameter.min, parameter.max, 999)
    np.testing.assert_allclose(parameter.denormalise(parameter.normalise(values)), values)


@pytest.mark.parametrize("parameter", [VELOCITY, DECAY])
def test_grid_values_keep_their_class_through_the_byte(parameter: Parameter) -> None:
    grid = parameter.grid()
    classes = np.arange(parameter.num_classes)
    assert (grid[0], grid[-1]) == (parameter.min, parameter.max)
    np.testing.assert_array_equal(parameter.class_of(grid), classes)
    np.testing.assert_array_equal(parameter.class_table()[parameter.quantise(grid)], classes)
    np.testing.assert_allclose(parameter.value_of_class(classes), grid, atol=1e-12)


def test_class_of_values_off_the_grid() -> None:
    # first round(0.25/0.5)*0.5 = 0 (half to even), last round(2.3/0.5)*0.5 = 2.5: 6 classes
    odd = Parameter("odd", min=0.25, max=2.3, step=0.5)
    assert (odd.codec.first, odd.codec.last, odd.num_classes) == (0.0, 2.5, 6)
    np.testing.assert_array_equal(odd.class_of([-9.0, 0.3, 1.0, 9.0]), [0, 1, 2, 5])
    assert odd.value_of_class(5) == 2.3  # the centre 2.5 lies outside the range
    assert odd.class_table().dtype == np.int64


def test_class_is_the_byte_without_a_step_and_for_categories() -> None:
    for parameter in (PLAIN, DIGIT):
        np.testing.assert_array_equal(parameter.class_table(), np.arange(256))
        np.testing.assert_array_equal(parameter.class_of(parameter.value_of_class([0, 3])), [0, 3])
    assert DIGIT.value_of_class(7) == 7.0
    assert DIGIT.is_categorical
    assert DIGIT.is_categorical


def test_tolerance_by_hand() -> None:
    assert VELOCITY.tolerance() == pytest.approx(0.5 + 0.5 / 255 + 0.5e-6, abs=1e-12)
    assert DECAY.tolerance(2) == pytest.approx(0.2 + 1.15 / 255 + 1e-7, abs=1e-12)
    # an error of exactly one step against a stored (rounded) value counts as within
    grid = DECAY.grid()
    errors = np.abs(grid[1:] - DECAY.dequantise(DECAY.quantise(grid[:-1])))
    assert errors.max() > 0.1
    assert (errors <= DECAY.tolerance()).all()
    for parameter in (PLAIN, DIGIT):
        with pytest.raises(VIMHError, match="'step'"):
            parameter.tolerance()


def test_num_steps() -> None:
    assert VELOCITY.num_steps == 2.0
    assert DECAY.num_steps == pytest.approx(23.0)
    assert (PLAIN.num_steps, DIGIT.num_steps) == (255.0, 9.0)


def test_fixed_parameter() -> None:
    assert FIXED.is_fixed
    assert FIXED.range == 0
    np.testing.assert_array_equal(FIXED.quantise([43.35, 99.0]), [0, 0])
    np.testing.assert_array_equal(FIXED.dequantise([0, 255]), [43.35, 43.35])
    np.testing.assert_array_equal(FIXED.grid(), [43.35])
    FIXED.check_generatable()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min": 2.0, "max": 1.0}, "'min' must not exceed 'max'"),
        ({"min": float("nan"), "max": 1.0}, "'min' must be finite"),
        ({"min": 0.0, "max": float("inf")}, "'max' must be finite"),
        ({"min": -1e308, "max": 1e308}, "'max' is too far"),
        ({"min": 0.0, "max": 1.0, "step": -0.1}, "'step' must not be negative"),
        ({"min": 0.0, "max": 1.0, "step": float("nan")}, "'step' must be finite"),
        ({"min": 0.0, "max": 1.0, "step": 1e-300}, "'step' is too small"),
        ({"min": 0.0, "max": 10**400}, "'max' must be finite"),
        ({"min": "0", "max": 1.0}, "'min' must be a number"),
        ({"min": True, "max": 1.0}, "'min' must be a number"),
        ({"min": 0.0, "max": 1.0, "kind": "ordinal"}, "'kind'"),
        ({"min": 0.0, "max": 1.0, "kind": "categorical"}, "'class_names'"),
        ({"min": 0.0, "max": 1.0, "class_names": ("a",)}, "'class_names' needs kind"),
        ({"min": 0.0, "max": 1.0, "kind": "categorical", "class_names": "ab"}, "'class_names'"),
        ({"min": 0.0, "max": 1.0, "kind": "categorical", "class_names": (1,)}, "'class_names'"),
        (
            {"min": 0, "max": 1, "kind": "categorical", "class_names": ("x",) * 257},
            "1 to 256 names, found 257",
        ),
        ({"min": 0.0, "max": 1.0, "description": 3}, "'description'"),
        ({"min": 0.0, "max": 1.0, "spacing": "log"}, "'min' must be positive"),
        ({"min": 1.0, "max": 1e40, "spacing": "log"}, "'max' must be positive .*1e\\+30"),
        ({"min": 1.0, "max": 2.0, "spacing": "cubic"}, "'spacing' must be one of"),
        ({"min": 1.0, "max": 2.0, "spacing": ["log"]}, "'spacing' must be one of"),
        ({"min": 1.0, "max": 2.0, "step": 1e-9, "spacing": "log"}, "'step' is too small"),
        ({"min": 1.0, "max": 2.0, "step_kind": "guess"}, "'step_kind' must be one of"),
        (
            {"min": 1, "max": 2, "kind": "categorical", "class_names": ("x",), "spacing": "log"},
            "'spacing' must be linear",
        ),
    ],
)
def test_wrong_parameters_name_their_key(arguments: dict, message: str) -> None:
    with pytest.raises(VIMHError, match=f"parameter 'p'.*{message}"):
        Parameter.from_json("p", arguments)


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        (Parameter("p", 0.05, 1.05, 0.1), "'min' must be a whole multiple of step 0.1"),
        (Parameter("p", 0.0, 1.05, 0.1), "'max' minus 'min' must be a whole multiple"),
        (Parameter("p", 0.0, 1.0, 1e300), "'step' must be at most max - min, 1"),
    ],
)
def test_what_a_generator_refuses(parameter: Parameter, message: str) -> None:
    with pytest.raises(VIMHError, match=message):
        parameter.check_generatable()
    with pytest.raises(VIMHError, match=message):
        parameter.grid()


@pytest.mark.parametrize(
    ("parameter", "least"),
    [
        (Parameter("p", 0.0, 255.0, 1.0), "2 "),
        (Parameter("p", 440.0, 880.0, 0.001, spacing="log"), "0.00545"),
    ],
)
def test_what_bytes_alone_do_not_hold(parameter: Parameter, least: str) -> None:
    parameter.check_generatable()
    with pytest.raises(VIMHError, match=f"'step' must be at least {least}.*only bytes"):
        parameter.check_storable()
    replace(parameter, step=0.02 if parameter.is_log else 2.0).check_storable()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (1.5, "'step' must be at most max/min − 1, 1"),
        (0.001, None),
        (None, None),
        (0.3, None),
    ],
)
def test_steps_that_are_ratios_need_not_divide_the_range(
    step: float | None, message: str | None
) -> None:
    parameter = Parameter("p", 440.0, 880.0, step, spacing="log")
    if message is None:
        parameter.check_generatable()
    else:
        with pytest.raises(VIMHError, match=message):
            parameter.check_generatable()


def test_a_complete_grid_of_ratios() -> None:
    with pytest.raises(
        VIMHError, match=r"'step' must divide .* nearest that does is 0\.0292005"
    ) as e:
        Parameter("p", 100.0, 1000.0, 0.0293, spacing="log").grid()
    nearest = float(str(e.value).split("nearest that does is ")[1].split(",")[0])
    fitting = Parameter("p", 100.0, 1000.0, nearest, spacing="log")
    grid = fitting.grid()
    assert (grid[0], grid[-1], len(grid)) == (100.0, 1000.0, 81)
    np.testing.assert_allclose(grid[1:] / grid[:-1], 1 + nearest)
    np.testing.assert_array_equal(fitting.class_of(grid), np.arange(81))
    for spacing in ("linear", "log"):
        with pytest.raises(VIMHError, match="'step' is needed for a complete grid"):
            Parameter("p", 1.0, 2.0, spacing=spacing).grid()


def test_spacing_and_kind_of_step_are_written_where_they_are_not_the_usual() -> None:
    assert not {"spacing", "step_kind"} & DECAY.to_json().keys()
    said = Parameter("p", 1.0, 2.0, 0.1, spacing="log", step_kind="tolerance")
    assert said.to_json()["spacing"] == "log"
    assert said.to_json()["step_kind"] == said.step_name == "tolerance"
    assert Parameter.from_json("p", said.to_json()) == said != Parameter("p", 1.0, 2.0, 0.1)
    # The key that other writers have means nothing here.
    assert Parameter.from_json("p", {"min": 0.0, "max": 1.0, "scale": "log"}).spacing == "linear"


def test_a_fixed_parameter_has_no_spacing() -> None:
    fixed = Parameter("p", 43.35, 43.35, 0.25, spacing="log")
    np.testing.assert_array_equal(fixed.dequantise([0, 255]), [43.35, 43.35])
    fixed.check_generatable()
    assert Parameter("p", 0.0, 0.0, spacing="log").is_fixed


def test_a_generator_accepts_a_step_of_two_bytes() -> None:
    Parameter("p", 0.0, 254.0, 2.0).check_generatable()
    Parameter("p", 0.05, 1.0).check_generatable()  # and none
    VELOCITY.check_generatable()
    DECAY.check_generatable()
    DIGIT.check_generatable()


def test_values_that_cannot_be_stored() -> None:
    for value in (np.nan, np.inf):
        with pytest.raises(VIMHError, match="not finite"):
            DECAY.quantise([0.0, value])
    with pytest.raises(VIMHError, match="NaN has no class"):
        DECAY.class_of(np.nan)


def test_json_round_trip_keeps_unknown_keys() -> None:
    entry = {"min": 0, "max": 1, "step": 0, "scale": "log", "unit": "s", "curve": [1, 2]}
    parameter = Parameter.from_json("p", entry)
    assert parameter.step is None
    assert parameter.extra == {"curve": [1, 2]}
    assert Parameter.from_json("p", parameter.to_json()) == parameter
    assert parameter.to_json()["curve"] == [1, 2]
    assert Parameter.from_json("digit", DIGIT.to_json()) == DIGIT
    for missing in ("min", "max"):
        with pytest.raises(VIMHError, match=f"key '{missing}' is missing"):
            Parameter.from_json("p", {key: 1.0 for key in ("min", "max") if key != missing})
    with pytest.raises(VIMHError, match="expected an object"):
        Parameter.from_json("p", [0, 1])


def test_space() -> None:
    space = ParameterSpace([VELOCITY, FIXED, DECAY])
    assert space.names == ("note_velocity", "note_number", "log10_decay_time")
    assert space.heads.names == ("note_velocity", "log10_decay_time")
    assert space.fixed.names == ("note_number",)
    assert space.index("log10_decay_time") == 2
    assert space["note_velocity"] is VELOCITY
    assert space != ParameterSpace([FIXED, VELOCITY, DECAY])
    assert pickle.loads(pickle.dumps(space)) == space
    assert hash(space) == hash(ParameterSpace([VELOCITY, FIXED, DECAY]))
    assert ParameterSpace.from_json(space.names, space.to_json()) == space
    with pytest.raises(VIMHError, match="'cutoff'; there are note_velocity"):
        space.index("cutoff")
    with pytest.raises(VIMHError, match="occurs twice"):
        ParameterSpace([VELOCITY, VELOCITY])
    with pytest.raises(VIMHError, match="no entry for parameter 'cutoff'"):
        ParameterSpace.from_json(["cutoff"], {})
