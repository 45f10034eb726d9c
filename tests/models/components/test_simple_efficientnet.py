"""The parts of the EfficientNet, by hand."""

import pytest
import torch

from src.models.components import SimpleEfficientNet
from src.models.components.simple_efficientnet import MBConv, SqueezeExcitation


def test_squeeze_excitation_is_the_written_out_formula():
    layer = SqueezeExcitation(4, 2)
    x = torch.randn(3, 4, 5, 6)
    first, second = (c.weight.flatten(1) for c in (layer.reduce, layer.expand))
    hidden = x.mean(dim=(2, 3)) @ first.T + layer.reduce.bias
    hidden = hidden * hidden.sigmoid()
    factor = (hidden @ second.T + layer.expand.bias).sigmoid()
    torch.testing.assert_close(layer(x), x * factor[:, :, None, None])


@pytest.mark.parametrize(
    ("out_channels", "stride", "shape"),
    [(4, 1, (2, 4, 7, 8)), (6, 1, (2, 6, 7, 8)), (4, 2, (2, 4, 4, 4))],
)
def test_blocks_add_their_input_where_it_fits(out_channels, stride, shape):
    block = MBConv(4, out_channels, stride, expansion=2, drop_rate=0.0).eval()
    x = torch.randn(2, 4, 7, 8)
    assert block(x).shape == shape
    expected = block.branch(x) + (x if shape == x.shape else 0)
    torch.testing.assert_close(block(x), expected)


def test_a_dropped_branch_leaves_the_input():
    block = MBConv(4, 4, 1, expansion=2, drop_rate=0.999).train()
    x = torch.randn(8, 4, 6, 6)
    assert (block(x) == x).flatten(1).all(dim=1).sum() >= 6


@pytest.mark.parametrize("arguments", [{"channels": (8, 16), "depths": (1,)}, {"channels": ()}])
def test_stages_of_different_number_are_refused(arguments):
    with pytest.raises(ValueError, match="expected one number for each stage in both"):
        SimpleEfficientNet(**arguments, output_size=2)
