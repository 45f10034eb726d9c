from dataclasses import replace

import numpy as np
import pytest
import torch

from src.inputs.targets import (
    Target,
    TargetMaker,
    soft_targets,
    target_kind,
    widened,
)
from src.utils.errors import ConfigError
from src.vimh.parameters import Parameter

VELOCITY = Parameter("note_velocity", min=126.0, max=127.0, step=0.5)
DECAY = Parameter("log10_decay_time", min=-2.0, max=0.3, step=0.1)
PLAIN = Parameter("plain", min=0.0, max=10.0)
KIND = Parameter("kind", min=0.0, max=255.0, kind="categorical", class_names=("a", "b", "c"))
# As they come: bytes over 255 in float32.
VALUES = torch.arange(256, dtype=torch.uint8) / 255.0


def made(target: Target) -> torch.Tensor:
    """The target of every byte."""
    (found,) = TargetMaker([target])(VALUES[:, None])
    return found


@pytest.mark.parametrize("parameter", [VELOCITY, DECAY, PLAIN, KIND], ids=lambda p: p.name)
def test_indices_are_those_of_the_format_for_every_byte(parameter: Parameter) -> None:
    found = made(Target(parameter, "index"))
    assert found.dtype == torch.int64
    assert found.is_contiguous()
    np.testing.assert_array_equal(found, parameter.class_table())


def test_rounding_decides_no_class_of_a_byte_between_two() -> None:
    """Every odd byte lies between two classes; a device may round to the next float32."""
    between = Parameter("between", min=0.0, max=255.0, step=2.0)
    for end in (-torch.inf, torch.inf):
        rounded = torch.nextafter(VALUES, torch.tensor(end))
        (found,) = TargetMaker([Target(between, "index")])(rounded[:, None])
        np.testing.assert_array_equal(found, between.class_table())


def test_indices_are_float64s_for_any_range_and_step() -> None:
    random = np.random.default_rng(3)
    for low, span, steps in zip(
        random.uniform(-1e4, 1e4, 1000),
        10.0 ** random.uniform(-2, 4, 1000),
        random.uniform(1, 200, 1000),
        strict=True,
    ):
        parameter = Parameter("p", low, low + span, span / steps)
        np.testing.assert_array_equal(made(Target(parameter, "index")), parameter.class_table())


def test_columns_are_made_as_each_by_itself() -> None:
    """Whatever stands beside it: classes, a distribution, a value."""
    targets = [
        Target(DECAY, "value"),
        Target(VELOCITY, "index"),
        Target(DECAY, "distribution", 1.5),
        Target(KIND, "index"),
    ]
    columns = torch.stack([VALUES.roll(17 * k) for k in range(4)], dim=1)
    for k, found in enumerate(TargetMaker(targets)(columns)):
        (alone,) = TargetMaker([targets[k]])(columns[:, k : k + 1])
        assert torch.equal(found, alone)


def test_what_validation_made_is_good_for_training() -> None:
    make = TargetMaker([Target(DECAY, "index")])
    with torch.inference_mode():
        make(VALUES[:, None])
    codec = make._codec.on(torch.device("cpu"))
    assert not any(column.is_inference() for column in codec[:-1])


def test_a_byte_is_exact_and_what_is_none_stays() -> None:
    assert widened(VALUES, [DECAY]).tolist() == (np.arange(256) / 255).tolist()
    between = torch.tensor([0.3000123, 0.5], dtype=torch.float32)
    assert widened(between, [DECAY]).tolist() == between.double().tolist()


def test_an_exact_value_is_not_taken_for_the_byte_beside_it() -> None:
    """Just below the border of two classes, and so near to a byte that it would become one."""
    border = Parameter("p", 0.0, 1.0, 2 / 255, exact=True)
    byte = np.float32(0.2)  # 51/255: half way between the classes 25 and 26
    near = torch.tensor([byte - np.float32(1e-7), byte + np.float32(1e-7)])
    assert widened(near, [border]).tolist() == near.double().tolist()
    assert TargetMaker([Target(border, "index")])(near[:, None])[0].tolist() == [25, 26]
    stored = replace(border, exact=False)
    assert len(set(TargetMaker([Target(stored, "index")])(near[:, None])[0].tolist())) == 1


def test_a_value_is_itself() -> None:
    found = made(Target(DECAY, "value"))
    assert torch.equal(found, VALUES)
    assert found.data_ptr() == VALUES.data_ptr()


def test_soft_targets_are_gaussians_around_the_class() -> None:
    table = made(Target(DECAY, "distribution", width=1.5))
    own = DECAY.class_table()
    for byte in (0, 100, 255):
        expected = np.exp(-((np.arange(24) - own[byte].item()) ** 2) / (2 * 1.5**2))
        np.testing.assert_allclose(table[byte], expected / expected.sum(), atol=1e-7)
    assert table.dtype == torch.float32
    torch.testing.assert_close(table.sum(dim=1), torch.ones(256))


def test_extremely_narrow_targets_are_one_hot_and_finite() -> None:
    own = made(Target(DECAY, "index"))
    table = soft_targets(own, 24, width=1e-3)
    assert torch.isfinite(table).all()
    assert (table.argmax(dim=1) == own).all()
    assert (table.max(dim=1).values == 1).all()


def test_target_width_softens_indices_but_not_categories() -> None:
    kinds = {p.name: target_kind(p, "index", width=1.0) for p in (VELOCITY, DECAY, KIND)}
    assert kinds == {
        "note_velocity": "distribution",
        "log10_decay_time": "distribution",
        "kind": "index",
    }


@pytest.mark.parametrize(
    ("parameter", "asked", "width", "told"),
    [
        (KIND, "ordinal", 0.0, "'ordinal'.*index, distribution, value"),
        (VELOCITY, "distribution", 0.0, "data.target_width"),
        (KIND, "distribution", 1.0, "categorical"),
    ],
)
def test_contradictions_are_told(parameter: Parameter, asked: str, width: float, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        target_kind(parameter, asked, width)
