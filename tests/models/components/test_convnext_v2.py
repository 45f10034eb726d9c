"""ConvNeXt V2 against the paper: sizes, response normalisation, its extremes."""

import pytest
import torch

from src.models.components import ConvNeXtV2
from src.models.components.convnext_v2 import NAMED_SIZES, ConvNeXtBlock, GlobalResponseNorm


@pytest.mark.parametrize(
    ("size", "millions"),  # table 10 of arXiv:2301.00808, 1000 classes, 224x224x3
    [
        ("atto", 3.7),
        ("femto", 5.2),
        ("pico", 9.1),
        ("nano", 15.6),
        ("tiny", 28.6),
        ("base", 89),
        ("large", 198),
        ("huge", 660),
    ],
)
def test_named_sizes_have_the_papers_number_of_parameters(size, millions):
    with torch.device("meta"):
        network = ConvNeXtV2(input_channels=3, input_size=224, size=size, output_size=1000)
    found = sum(p.numel() for p in network.parameters()) / 1e6
    assert found == pytest.approx(millions, rel=0.01)


def test_named_size_is_its_depths_and_dims():
    depths, dims = NAMED_SIZES["atto"]
    named = ConvNeXtV2(size="atto", output_size=2)
    given = ConvNeXtV2(depths=depths, dims=dims, output_size=2)
    given.load_state_dict(named.state_dict())


def test_response_norm_by_hand():
    norm = GlobalResponseNorm(2)
    with torch.no_grad():
        norm.gamma.copy_(torch.tensor([1.0, 2.0]))
        norm.beta.copy_(torch.tensor([0.5, -0.5]))
    # Channel norms 5 and 10, mean 7.5, so shares 2/3 and 4/3.
    x = torch.tensor([[3.0, 6.0], [4.0, 8.0]]).reshape(1, 1, 2, 2)
    expected = torch.tensor(
        [
            [3 * 2 / 3 + 0.5 + 3, 2 * 6 * 4 / 3 - 0.5 + 6],
            [4 * 2 / 3 + 0.5 + 4, 2 * 8 * 4 / 3 - 0.5 + 8],
        ]
    ).reshape(1, 1, 2, 2)
    torch.testing.assert_close(norm(x), expected)


def test_response_norm_has_finite_gradients_at_zero():
    norm = GlobalResponseNorm(3)
    torch.nn.init.ones_(norm.gamma)
    x = torch.zeros(2, 4, 4, 3, requires_grad=True)
    norm(x).sum().backward()
    assert x.grad.isfinite().all()


def test_a_block_that_finds_nothing_leaves_its_input():
    block = ConvNeXtBlock(4, drop_rate=0.0)
    torch.nn.init.zeros_(block.pointwise[-1].weight)
    torch.nn.init.zeros_(block.pointwise[-1].bias)
    x = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(block(x), x)


def test_drop_path_rises_to_the_given_rate():
    network = ConvNeXtV2(depths=(1, 2), dims=(4, 8), drop_path_rate=0.3, output_size=2)
    blocks = [m for m in network.modules() if isinstance(m, ConvNeXtBlock)]
    rates = [block.stochastic_depth.probability for block in blocks]
    assert rates == pytest.approx([0.0, 0.15, 0.3])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "needs a size"),
        ({"depths": (1, 2), "dims": (8,)}, "same length"),
        ({"size": "atto", "dims": (8,)}, "exclude each other"),
        ({"depths": (1,) * 4, "dims": (8,) * 4, "input_size": 28}, "at least 32x32, found 28x28"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ConvNeXtV2(**arguments, output_size=2)
