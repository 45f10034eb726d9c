"""What is read off a network: weights, work, shapes and connections, against torch's own counts."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from src.models.components import (
    ConvNeXtV2,
    MultiheadNetwork,
    SimpleCNN,
    SimpleDenseNet,
    SimpleEfficientNet,
    SimpleMLP,
    VisionTransformer,
)
from viz.trace import Step, Trace, trace

HEADS = {"heads_config": {"a": 3, "b": 24}, "auxiliary_input_size": 2}
VIT = {"embed_dim": 16, "n_layers": 2, "n_attention_heads": 2}
NETWORKS = {
    "cnn": lambda: SimpleCNN(3, input_size=(64, 32), dropout=0.1, **HEADS),
    "dense": lambda: SimpleDenseNet(**HEADS),
    "mlp": lambda: SimpleMLP(**HEADS),
    "vit": lambda: VisionTransformer(**VIT, **HEADS),
    "vit_torch": lambda: VisionTransformer(use_torch_layers=True, **VIT, **HEADS),
    "convnext": lambda: ConvNeXtV2(depths=(2, 1), dims=(4, 8), stem_size=2, **HEADS),
    "efficientnet": lambda: SimpleEfficientNet(channels=(4, 8), depths=(1, 2), **HEADS),
}


@pytest.fixture(scope="module")
def traces() -> dict[str, tuple[MultiheadNetwork, Trace]]:
    """Every kind of network, traced once."""
    found = {}
    for name, make in NETWORKS.items():
        network = make()
        found[name] = (network, trace(network))
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_is_counted_once(name, traces):
    network, traced = traces[name]
    assert traced.parameters == sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_multiply_accumulates_are_half_of_torchs_flops(name, traces):
    network, traced = traces[name]
    # Unfused and with gradients: the counter does not know the fused attention of the CPU.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        network(torch.zeros(1, *network.image_shape), torch.zeros(1, 2))
    assert 2 * traced.macs == counter.get_total_flops()


@pytest.mark.parametrize("name", NETWORKS)
def test_heads_are_the_outputs(name, traces):
    _, traced = traces[name]
    assert {head: traced.steps[i].shape for head, i in traced.outputs.items()} == {
        "a": (3,),
        "b": (24,),
    }


def inputs_of(traced: Trace, step: Step) -> list[str]:
    names = {-1: "image", -2: "auxiliary"}
    return [names.get(i) or traced.steps[i].path for i in step.inputs]


def test_cnn_is_a_chain_that_the_auxiliary_features_join(traces):
    _, traced = traces["cnn"]
    assert [step.kind for step in traced.steps[:5]] == [
        "Conv2d",
        "MaxPool2d",
        "BatchNorm2d",
        "ReLU",
        "Conv2d",
    ]
    assert traced.steps[0].detail == "3→16, 3×3"
    assert traced.steps[0].shape == (16, 64, 32)
    (joined,) = (step for step in traced.steps if step.kind == "cat")
    assert inputs_of(traced, joined) == ["hidden.4", "heads.auxiliary.4"]
    assert inputs_of(traced, traced.steps[0]) == ["image"]
    (first,) = (step for step in traced.steps if step.path == "heads.auxiliary.0")
    assert inputs_of(traced, first) == ["auxiliary"]


def test_residual_additions_have_two_inputs(traces):
    _, traced = traces["convnext"]
    additions = [step for step in traced.steps if step.kind == "add"]
    assert [inputs_of(traced, step) for step in additions] == [
        ["stem.1", "stages.0.0.pointwise.4"],
        ["stages.0.0", "stages.0.1.pointwise.4"],
        ["stages.1.1", "stages.1.2.pointwise.4"],
    ]
    assert {step.block for step in additions} == {
        ("stages.0.0", "ConvNeXtBlock"),
        ("stages.0.1", "ConvNeXtBlock"),
        ("stages.1.2", "ConvNeXtBlock"),
    }


def test_attention_is_one_step_and_positions_are_learned(traces):
    for name, kind in (("vit", "SelfAttention"), ("vit_torch", "MultiheadAttention")):
        _, traced = traces[name]
        attention = [step for step in traced.steps if step.kind == kind]
        assert [step.detail for step in attention] == ["2 heads", "2 heads"]
        assert [step.shape for step in attention] == [(64, 16), (64, 16)]
        (positions,) = (step for step in traced.steps if step.kind == "add" and step.parameters)
        assert positions.parameters == 64 * 16
    assert traces["vit"][1].macs == traces["vit_torch"][1].macs


def test_dropout_is_shown_where_there_is_any(traces):
    kinds = {name: {step.kind for step in traced.steps} for name, (_, traced) in traces.items()}
    assert "Dropout" in kinds["cnn"]
    assert "Dropout" not in kinds["dense"]
