"""Stochastic depth and the pooling that is sized when a network is built."""

import pytest
import torch

from src.models.components.layers import (
    StochasticDepth,
    average_pool_to,
    pooled_pair,
    size_pair,
    stochastic_depth_rates,
)


def test_stochastic_depth_drops_whole_samples_and_keeps_the_expectation():
    branch = StochasticDepth(0.25).train()
    x = torch.ones(4000, 2, 3, 3)
    y = branch(x).flatten(1)
    assert ((y == 0).all(dim=1) | (y == 1 / 0.75).all(dim=1)).all()
    assert abs(y.mean().item() - 1) < 0.03
    assert torch.equal(branch.eval()(x), x)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_stochastic_depth_refuses_rates_out_of_range(rate):
    with pytest.raises(ValueError, match="expected 0 <= rate < 1"):
        StochasticDepth(rate)


def test_stochastic_depth_rates_of_one_block():
    assert stochastic_depth_rates(0.3, 1) == [0.0]


@pytest.mark.parametrize(
    ("size", "wanted", "found"),
    [
        ((8, 8), (16, 8), (8, 8)),
        ((16, 16), (16, 8), (16, 8)),
        ((15, 9), (8, 8), (8, 5)),
        ((7, 7), (1, 1), (1, 1)),
        ((5, 8), (4, 1), (3, 1)),
    ],
)
def test_pooling_gives_the_size_that_it_says(size, wanted, found):
    pool, pooled = average_pool_to(size, wanted)
    assert pooled == found
    assert tuple(pool(torch.rand(2, 3, *size)).shape[2:]) == found


def test_pooling_sees_the_last_row():
    pool, _ = average_pool_to((15, 8), (8, 8))
    image = torch.zeros(1, 1, 15, 8)
    image[:, :, -1] = 1
    assert pool(image).sum() > 0


def test_to_one_is_the_mean():
    pool, _ = average_pool_to((6, 5), (1, 1))
    x = torch.rand(2, 3, 6, 5)
    torch.testing.assert_close(pool(x).flatten(1), x.mean(dim=(2, 3)))


@pytest.mark.parametrize("size", [None, [1, 2, 3], []])
def test_sizes_that_are_none_say_what_was_expected(size):
    with pytest.raises(ValueError, match=r"input_size: expected a number or \(height, width\)"):
        size_pair("input_size", size)


def test_a_pooled_size_that_decides_nothing_is_refused() -> None:
    assert pooled_pair((16, 4), (8, 8)) == (16, 4)
    assert pooled_pair(8, (8, 8)) == (8, 8)
    with pytest.raises(ValueError, match="100x100 is larger than the image, 32x32"):
        pooled_pair([100, 100], (32, 32))
