"""What every network does, tested on every network."""

import copy
import io

import pytest
import torch

from src.models.components import (
    ConvNeXtV2,
    SimpleCNN,
    SimpleDenseNet,
    SimpleEfficientNet,
    SimpleMLP,
    VisionTransformer,
)

HEADS = {"note_velocity": 3, "log10_decay_time": 24}
SMALL = {
    SimpleCNN: {"conv1_channels": 4, "conv2_channels": 6, "fc_hidden": 8},
    SimpleDenseNet: {"lin1_size": 16, "lin2_size": 14, "lin3_size": 12},
    SimpleMLP: {"lin1_size": 16, "lin2_size": 14, "lin3_size": 12},
    VisionTransformer: {"patch_size": 4, "embed_dim": 16, "n_layers": 2, "n_attention_heads": 2},
    ConvNeXtV2: {"depths": (1, 1), "dims": (8, 12), "stem_size": 2, "pooled_size": (2, 1)},
    SimpleEfficientNet: {"stem_channels": 4, "channels": (4, 8), "depths": (1, 2)},
}
every_network = pytest.mark.parametrize("cls", SMALL, ids=lambda cls: cls.__name__)


def build(cls, image_shape=(2, 16, 12), **arguments):
    if "output_size" not in arguments:
        arguments.setdefault("heads_config", HEADS)
    return cls(**cls.image_arguments(image_shape), **SMALL[cls], **arguments)


@every_network
@pytest.mark.parametrize("image_shape", [(1, 32, 32), (3, 32, 32), (2, 16, 12)])
def test_outputs_for_the_data_sets_shape(cls, image_shape):
    network = build(cls, image_shape)
    assert network.image_shape == image_shape
    assert network.heads_config == HEADS
    assert network.output_mode == "classification"
    outputs = network(torch.rand(5, *image_shape))
    assert {name: o.shape[1] for name, o in outputs.items()} == HEADS
    assert all(o.shape[0] == 5 for o in outputs.values())


@every_network
def test_single_head_gives_a_tensor(cls):
    assert build(cls, output_size=10)(torch.rand(5, 2, 16, 12)).shape == (5, 10)


@every_network
def test_regression_is_within_0_and_1(cls):
    network = build(cls, heads_config={"a": 1, "b": 1}, output_mode="regression")
    for output in network(100 * torch.randn(20, 2, 16, 12)).values():
        assert output.shape == (20, 1)
        assert output.min() >= 0
        assert output.max() <= 1


@every_network
def test_parameter_ranges_give_units(cls):
    network = build(
        cls,
        heads_config={"a": 1, "b": 1},
        output_mode="regression",
        parameter_ranges={"b": (-2.0, 0.3)},
    )
    assert network.parameter_ranges == {"b": (-2.0, 0.3)}
    outputs = network(100 * torch.randn(20, 2, 16, 12))
    assert 0 <= outputs["a"].min() <= outputs["a"].max() <= 1
    assert -2.0 <= outputs["b"].min() < 0
    assert outputs["b"].max() <= 0.3 + 1e-6


@every_network
def test_wrong_image_shapes_say_what_was_expected(cls):
    network = build(cls)
    for shape in [(5, 1, 16, 12), (5, 2, 12, 16), (2, 16, 12), (5, 2, 16, 12, 1)]:
        with pytest.raises((ValueError, TypeError)) as error:  # TypeError: jaxtyping, in tests only
            network.check_images(torch.zeros(shape))
        assert "(B, 2, 16, 12)" in str(error.value)
        assert str(shape) in str(error.value)


@every_network
def test_every_parameter_gets_a_gradient(cls):
    network = build(cls, auxiliary_input_size=3)
    outputs = network(torch.rand(8, 2, 16, 12), torch.randn(8, 3))
    sum(output.square().sum() for output in outputs.values()).backward()
    without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # The responses of GRN start switched off, and biases before a BatchNorm have no effect.
    expected = [
        n
        for n in without
        if n.endswith(("gamma", "layer1.0.bias", "layer2.0.bias", "layer3.0.bias"))
    ]
    assert without == expected


@every_network
def test_auxiliary_features_change_every_output(cls):
    network = build(cls, auxiliary_input_size=3).eval()
    images = torch.rand(4, 2, 16, 12)
    one, other = network(images, torch.zeros(4, 3)), network(images, torch.ones(4, 3))
    assert all(not torch.equal(one[name], other[name]) for name in HEADS)


@every_network
def test_samples_do_not_see_each_other_in_eval_mode(cls):
    network = build(cls).eval()
    images = torch.rand(6, 2, 16, 12)
    together, alone = network(images), network(images[2:3])
    for name in HEADS:
        torch.testing.assert_close(together[name][2:3], alone[name])


@every_network
def test_memory_format_does_not_change_results(cls):
    network = build(cls).eval()
    images = torch.rand(4, 2, 16, 12)
    contiguous = copy.deepcopy(network)
    for parameter in contiguous.parameters():
        parameter.data = parameter.data.contiguous()
    expected = contiguous(images)
    channels_last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    for found in (
        network(images),
        network(images.contiguous(memory_format=torch.channels_last)),
        channels_last(images.contiguous(memory_format=torch.channels_last)),
    ):
        for name in HEADS:
            torch.testing.assert_close(found[name], expected[name])


@every_network
def test_weights_load_into_a_second_one(cls):
    network, second = build(cls).eval(), build(cls).eval()
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    images = torch.rand(4, 2, 16, 12)
    assert all(torch.equal(network(images)[n], second(images)[n]) for n in HEADS)


@every_network
def test_learns_where_a_line_is(cls):
    """A bright row among 16: its position is the class, so rows must not be averaged away."""
    network = build(cls, (1, 16, 16), output_size=16).train()
    rows = torch.arange(16).repeat(4)
    images = 0.1 * torch.rand(64, 1, 16, 16)
    images[torch.arange(64), 0, rows] += 0.9
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(images), rows)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5  # log(16) = 2.8 by chance


def test_batch_of_one_trains_without_batch_norm_only():
    image = torch.rand(1, 2, 16, 12)
    build(SimpleMLP).train()(image)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        build(SimpleDenseNet).train()(image)


def test_dense_networks_differ_only_in_batch_norm():
    dense, mlp = build(SimpleDenseNet), build(SimpleMLP)
    kinds = [type(m).__name__ for m in dense.modules() if type(m).__name__ != "BatchNorm1d"][1:]
    assert kinds == [type(m).__name__ for m in mlp.modules()][1:]
    assert any(isinstance(m, torch.nn.BatchNorm1d) for m in dense.modules())


def test_cnn_is_the_written_out_formula():
    network = build(SimpleCNN, (1, 16, 16), output_size=3).eval()
    for block in (network.block1, network.block2):
        block[2].running_mean.uniform_(-0.1, 0.1)
        block[2].running_var.uniform_(0.5, 1.5)
    x = images = torch.rand(3, 1, 16, 16)
    for block in (network.block1, network.block2):
        x = torch.nn.functional.conv2d(x, block[0].weight, padding=1)
        x = x.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).amax(dim=(3, 5))
        mean, var = (v[:, None, None] for v in (block[2].running_mean, block[2].running_var))
        x = ((x - mean) / (var + block[2].eps).sqrt()).relu()
    hidden = network.hidden[2]
    x = (x.flatten(1) @ hidden.weight.T + hidden.bias).relu()
    head = network.heads.layers["head_output"]
    torch.testing.assert_close(network(images), x @ head.weight.T + head.bias)


def test_images_too_small_for_the_cnn_are_refused():
    with pytest.raises(ValueError, match="at least 4x4, found 3x32"):
        SimpleCNN(input_size=(3, 32), output_size=2)


@pytest.mark.parametrize("cls", [SimpleCNN, ConvNeXtV2, SimpleEfficientNet])
def test_sizes_left_null_say_where_they_come_from(cls):
    with pytest.raises((ValueError, TypeError), match="input_size"):
        cls(**SMALL[cls], input_size=None, output_size=2)
