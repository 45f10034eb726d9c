"""The shared heads: names, activations, bias, and the auxiliary branch."""

import pytest
import torch
from torch import nn

from src.models.components.heads import HeadLayers

HEADS = {"note_velocity": 3, "log10_decay_time": 24}


def test_outputs_by_head_in_the_order_of_the_config():
    outputs = HeadLayers(8, heads_config=HEADS)(torch.rand(5, 8))
    assert list(outputs) == list(HEADS)
    assert {name: tuple(o.shape) for name, o in outputs.items()} == {
        "note_velocity": (5, 3),
        "log10_decay_time": (5, 24),
    }


def test_output_size_gives_a_plain_tensor():
    heads = HeadLayers(8, output_size=10)
    assert isinstance(heads(torch.rand(5, 8)), torch.Tensor)
    assert heads(torch.rand(5, 8)).shape == (5, 10)


@pytest.mark.parametrize("name", ["osc1.freq", "type", "keys", "param 3", "a%2Eb"])
def test_names_that_modules_do_not_take_are_fine(name):
    outputs = HeadLayers(4, heads_config={name: 2, "b": 1})(torch.rand(3, 4))
    assert list(outputs) == [name, "b"]


def test_regression_ends_in_a_sigmoid_and_classification_does_not():
    features = 100 * torch.randn(50, 8)
    torch.manual_seed(0)
    logits = HeadLayers(8, heads_config={"a": 1})(features)["a"]
    torch.manual_seed(0)
    values = HeadLayers(8, heads_config={"a": 1}, output_mode="regression")(features)["a"]
    assert logits.max() > 1
    torch.testing.assert_close(values, logits.sigmoid())


def test_activations_are_per_head():
    torch.manual_seed(0)
    heads = HeadLayers(
        8,
        heads_config={"a": 1, "b": 1},
        output_mode="regression",
        activations={"a": "none"},
    )
    outputs = heads(100 * torch.randn(50, 8))
    assert outputs["a"].abs().max() > 1
    assert outputs["b"].min() >= 0
    assert outputs["b"].max() <= 1


def test_output_bias_is_where_training_starts():
    heads = HeadLayers(8, heads_config=HEADS, output_bias={"log10_decay_time": 11.5})
    zeros = torch.zeros(1, 8)
    assert (heads(zeros)["log10_decay_time"] == 11.5).all()
    assert not (heads(zeros)["note_velocity"] == 11.5).any()


def test_parameter_names_order_heads_and_name_them_in_regression():
    heads = HeadLayers(4, heads_config={"a": 1, "b": 2}, parameter_names=["b", "a"])
    assert list(heads.heads_config) == ["b", "a"]
    heads = HeadLayers(4, output_mode="regression", parameter_names=["x", "y"])
    assert heads.heads_config == {"x": 1, "y": 1}


def test_auxiliary_branch_is_the_one_of_the_specification():
    heads = HeadLayers(
        8, heads_config=HEADS, dropout=0.5, auxiliary_input_size=5, auxiliary_hidden_size=16
    )
    first, relu1, dropout, second, relu2 = heads.auxiliary
    assert (first.in_features, first.out_features) == (5, 16)
    assert (second.in_features, second.out_features) == (16, 16)
    assert isinstance(relu1, nn.ReLU)
    assert isinstance(relu2, nn.ReLU)
    assert dropout.p == 0.25
    assert all(layer.in_features == 8 + 16 for layer in heads.layers.values())


def test_auxiliary_features_reach_every_head():
    heads = HeadLayers(8, heads_config=HEADS, auxiliary_input_size=2).eval()
    features = torch.rand(5, 8)
    one, other = heads(features, torch.zeros(5, 2)), heads(features, 3 * torch.ones(5, 2))
    assert all(not torch.equal(one[name], other[name]) for name in HEADS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "No heads"),
        ({"heads_config": {}}, "No heads"),
        ({"parameter_names": ["a"]}, "No heads"),
        ({"heads_config": {"a": 2}, "output_size": 3}, "exclude each other"),
        ({"heads_config": {"a": 0}}, "heads_config.a: expected at least 1 output, found 0"),
        ({"heads_config": {"a": 1}, "activations": {"b": "none"}}, r"unknown heads \['b'\]"),
        ({"heads_config": {"a": 1}, "output_bias": {"b": 0.0}}, r"unknown heads \['b'\]"),
        ({"heads_config": {"a": 1}, "parameter_names": ["a", "b"]}, r"unknown heads \['b'\]"),
        ({"heads_config": {"a": 1, "b": 1}, "parameter_names": ["a"]}, r"unknown heads \['b'\]"),
    ],
)
def test_contradictions_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        HeadLayers(4, **arguments)


@pytest.mark.parametrize(
    ("size", "auxiliary", "message"),
    [
        (2, None, r"shape \(B, 2\), found none"),
        (2, torch.zeros(5, 3), r"shape \(B, 2\), found shape \(5, 3\)"),
        (0, torch.zeros(5, 3), "Got 3 auxiliary features, but the network was built without"),
    ],
)
def test_auxiliary_features_that_do_not_fit_are_errors(size, auxiliary, message):
    heads = HeadLayers(4, heads_config={"a": 1}, auxiliary_input_size=size)
    with pytest.raises(ValueError, match=message):
        heads(torch.rand(5, 4), auxiliary)


@pytest.mark.parametrize("joint_size", [0, 16])
def test_only_a_joint_layer_lets_one_input_change_what_the_other_means(joint_size: int):
    torch.manual_seed(0)
    heads = HeadLayers(
        8, heads_config=HEADS, auxiliary_input_size=2, joint_size=joint_size
    ).double()
    features, other = torch.rand(2, 5, 8, dtype=torch.float64)
    auxiliary, changed = 5 * torch.randn(2, 5, 2, dtype=torch.float64)

    def effect(image: torch.Tensor) -> torch.Tensor:
        name = "log10_decay_time"
        return heads(image, changed)[name] - heads(image, auxiliary)[name]

    assert torch.allclose(effect(features), effect(other), atol=1e-12) is (joint_size == 0)


def test_a_range_gives_outputs_in_units():
    arguments = {"heads_config": {"a": 1, "b": 1}, "output_mode": "regression"}
    torch.manual_seed(0)
    plain = HeadLayers(8, **arguments)
    ranged = HeadLayers(8, **arguments, parameter_ranges={"b": (126.0, 127.5)})
    ranged.load_state_dict(plain.state_dict())  # a range adds nothing to checkpoints
    features = torch.randn(20, 8)
    before, after = plain(features), ranged(features)
    torch.testing.assert_close(after["a"], before["a"])
    torch.testing.assert_close(after["b"], 126.0 + 1.5 * before["b"])


def test_a_range_of_ratios_is_spaced_by_them():
    arguments = {"heads_config": {"a": 1}, "output_mode": "regression"}
    heads = HeadLayers(8, **arguments, parameter_ranges={"a": [20, 20000, "log"]})
    assert heads.parameter_ranges == {"a": (20.0, 20000.0, "log")}
    plain = HeadLayers(8, **arguments)
    plain.load_state_dict(heads.state_dict())
    features = torch.randn(20, 8)
    torch.testing.assert_close(heads(features)["a"], 20 * 1000 ** plain(features)["a"])


def test_units_keep_their_digits_in_half_precision():
    heads = HeadLayers(
        8,
        heads_config={"velocity": 1},
        output_mode="regression",
        parameter_ranges={"velocity": (126.0, 127.0)},
        output_bias={"velocity": 0.4},
    ).to(torch.bfloat16)
    output = heads(torch.zeros(1, 8, dtype=torch.bfloat16))["velocity"]
    assert output.item() == pytest.approx(126.6, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"parameter_ranges": {"c": (0.0, 1.0)}}, r"unknown heads \['c'\]"),
        (
            {"parameter_ranges": {"a": (1.0, 1.0)}},
            r"parameter_ranges.a: expected two .*\[1.0, 1.0\]",
        ),
        ({"parameter_ranges": {"a": (0.0, float("nan"))}}, "parameter_ranges.a: expected two"),
        ({"parameter_ranges": {"a": (0.0, 1.0, 2.0)}}, "parameter_ranges.a: expected two"),
        ({"parameter_ranges": {"a": (1.0, 2.0, "cubic")}}, "parameter_ranges.a: expected two"),
        ({"parameter_ranges": {"a": (0.0, 2.0, "log")}}, "parameter_ranges.a: .*0 < min < max"),
        (
            {"parameter_ranges": {"a": (0.0, 1.0)}, "activations": {"a": "none"}},
            "parameter_ranges.a: only a head that ends in a sigmoid",
        ),
        (
            {"parameter_ranges": {"a": (0.0, 1.0)}, "output_mode": "classification"},
            "parameter_ranges.a: only a head that ends in a sigmoid",
        ),
    ],
)
def test_ranges_that_do_not_fit_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        HeadLayers(8, **{"heads_config": {"a": 1}, "output_mode": "regression", **arguments})


def test_what_is_empty_is_automatic():
    heads = HeadLayers(
        8,
        heads_config={},
        output_mode="regression",
        parameter_names=["b", "a"],
        parameter_ranges={},
    )
    assert heads.heads_config == {"b": 1, "a": 1}
    assert HeadLayers(8, heads_config={"a": 2}, parameter_names=[]).heads_config == {"a": 2}
    assert HeadLayers(8, heads_config={}, output_size=3).heads_config == {"output": 3}
    with pytest.raises(ValueError, match="No heads"):
        HeadLayers(8, heads_config={}, parameter_names=[])
