"""Own attention against PyTorch's, and both kinds of layers against each other."""

import pytest
import torch

from src.models.components import VisionTransformer
from src.models.components.vision_transformer import SelfAttention

ARGUMENTS = {"patch_size": 4, "embed_dim": 24, "n_layers": 3, "n_attention_heads": 4}


def pair(**arguments):
    """Own and PyTorch's layers with the same weights, none of them at its starting value."""
    own = VisionTransformer(**ARGUMENTS, **arguments)
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    fused = VisionTransformer(**ARGUMENTS, **arguments, use_torch_layers=True)
    fused.load_state_dict(own.state_dict())
    return own, fused


@pytest.mark.parametrize("gradients", [True, False])  # without them PyTorch takes its fused path
@pytest.mark.parametrize("auxiliary_input_size", [0, 2])
def test_both_layers_agree_with_the_same_weights(gradients, auxiliary_input_size):
    own, fused = pair(
        heads_config={"a": 3, "b": 24}, dropout=0.3, auxiliary_input_size=auxiliary_input_size
    )
    own.eval()
    fused.eval()
    images = torch.rand(6, 1, 32, 32)
    auxiliary = torch.randn(6, 2) if auxiliary_input_size else None
    with torch.set_grad_enabled(gradients):
        ours, theirs = own(images, auxiliary), fused(images, auxiliary)
    for name in ours:
        assert ours[name].std() > 1e-3  # there is something to compare
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-5, rtol=0)


def test_weights_fit_the_other_way_too():
    own, fused = pair(output_size=2)
    own.load_state_dict(fused.state_dict())


def test_both_layers_learn_alike_without_dropout():
    images = torch.rand(6, 1, 32, 32)
    gradients = []
    for network in pair(output_size=2):
        network.train()(images).square().sum().backward()
        gradients.append({n: p.grad for n, p in network.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-4, rtol=1e-3)


def test_starting_weights_have_the_same_spread():
    own, fused = (
        VisionTransformer(**ARGUMENTS, output_size=2, use_torch_layers=fused)
        for fused in (False, True)
    )
    for (name, a), (_, b) in zip(own.named_parameters(), fused.named_parameters(), strict=True):
        if "encoder" in name or name == "positions":
            assert abs(a.std() - b.std()) < 0.003, name
            assert abs(a.mean() - b.mean()) < 0.003, name


def test_attention_is_pytorchs():
    attention = SelfAttention(12, 3, dropout=0.0)
    torch.nn.init.normal_(attention.in_proj_weight)
    torch.nn.init.normal_(attention.in_proj_bias)
    theirs = torch.nn.MultiheadAttention(12, 3, batch_first=True)
    theirs.load_state_dict(attention.state_dict())
    tokens = torch.randn(2, 5, 12)
    torch.testing.assert_close(attention(tokens), theirs(tokens, tokens, tokens)[0])


def test_positions_matter():
    network = VisionTransformer(**ARGUMENTS, output_size=2).eval()
    with torch.no_grad():
        network.positions.normal_()
    images = torch.rand(2, 1, 32, 32)
    assert not torch.allclose(network(images), network(images.flip(2)), atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patch_size": 5}, "patches of 5x5 do not tile images of 32x32"),
        ({"patch_size": (4, 3)}, "patches of 4x3 do not tile"),
        ({"n_attention_heads": 5}, "5 does not divide embed_dim 24"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        VisionTransformer(**{**ARGUMENTS, **arguments}, output_size=2)


def test_patches_may_be_oblong():
    network = VisionTransformer(**{**ARGUMENTS, "patch_size": (2, 16)}, output_size=2)
    assert network.positions.shape == (1, 16 * 2, 24)
    assert network(torch.rand(3, 1, 32, 32)).shape == (3, 2)


# The comparisons of sizes that warn here are those of the shape checks in tests.
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_tracing_leaves_the_fused_path_as_it_was():
    network = VisionTransformer(**ARGUMENTS, output_size=2, use_torch_layers=True).eval()
    tokens = torch.rand(2, 64, 24)
    torch.jit.trace(network.encoder, tokens, check_trace=False)
    assert torch.backends.mha.get_fastpath_enabled()
