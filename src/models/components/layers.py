"""Layers and helpers that several networks use."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


def size_pair(name: str, size: int | Sequence[int] | None) -> tuple[int, int]:
    """Return a size as (height, width); one number means a square.

    Raises:
        ValueError: The size is neither.

    Example:
        >>> size_pair("input_size", 28), size_pair("input_size", [32, 64])
        ((28, 28), (32, 64))
    """
    if isinstance(size, int):
        return size, size
    if size is None or len(size) != 2:
        raise ValueError(
            f"{name}: expected a number or (height, width), found {size!r}; in a config, null "
            "means that the build function takes it from the data set"
        )
    height, width = size
    return int(height), int(width)


def pooled_pair(pooled_size: int | Sequence[int], image_size: tuple[int, int]) -> tuple[int, int]:
    """Return the most of a feature map that is kept, as (height, width).

    Raises:
        ValueError: Both are larger than the image, so that they would decide nothing.

    Example:
        >>> pooled_pair([16, 4], (8, 8))
        (16, 4)
    """
    height, width = size_pair("pooled_size", pooled_size)
    if height > image_size[0] and width > image_size[1]:
        raise ValueError(
            f"pooled_size: {height}x{width} is larger than the image, "
            f"{image_size[0]}x{image_size[1]}; it says how much of a feature map is kept at most"
        )
    return height, width


def average_pool_to(
    size: tuple[int, int], pooled_size: tuple[int, int]
) -> tuple[nn.Module, tuple[int, int]]:
    """Make a layer that averages a feature map of known size down to at most another size.

    Kernels are fixed when the network is built, because adaptive pooling to a size that does not
    divide the map's neither runs on MPS nor exports to ONNX.

    Returns:
        The layer and the height and width that it gives.

    Example:
        >>> average_pool_to((8, 8), (8, 2))
        (AvgPool2d(kernel_size=(1, 4), stride=(1, 4), padding=0), (8, 2))
    """
    kernel = (-(-size[0] // pooled_size[0]), -(-size[1] // pooled_size[1]))
    if kernel == (1, 1):
        return nn.Identity(), size
    pooled = (-(-size[0] // kernel[0]), -(-size[1] // kernel[1]))
    # Without ceil_mode the last rows, that is the highest frequencies, would not be seen.
    return nn.AvgPool2d(kernel, ceil_mode=True), pooled


class StochasticDepth(nn.Module):
    """Drop a residual branch for whole samples while training.

    A sample's branch is zeroed with the given probability and divided by the share that is kept
    otherwise, so that its expectation stays (Huang et al. 2016, "Deep networks with stochastic
    depth", arXiv:1603.09382).

    Args:
        probability: Chance of dropping a sample's branch, in 0...1 without 1.

    Raises:
        ValueError: The probability is out of range.

    Example:
        >>> branch = StochasticDepth(0.5).eval()
        >>> branch(torch.ones(1, 2, 2, 2)).sum()
        tensor(8.)
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        if not 0 <= probability < 1:
            raise ValueError(f"stochastic depth: expected 0 <= rate < 1, found {probability}")
        self.probability = probability

    def forward(self, branch: Float[Tensor, "B ..."]) -> Float[Tensor, "B ..."]:
        """Drop the branch of some samples in training; return it as it is otherwise."""
        if not self.training or self.probability == 0:
            return branch
        keep = 1 - self.probability
        mask = torch.rand(branch.shape[0], *[1] * (branch.ndim - 1), device=branch.device) < keep
        return branch * mask / keep

    def extra_repr(self) -> str:
        """Show the probability in the printed module."""
        return f"probability={self.probability}"


def stochastic_depth_rates(highest: float, num_blocks: int) -> list[float]:
    """Return each block's rate: rising linearly from 0 to the highest (Huang et al. 2016).

    Example:
        >>> stochastic_depth_rates(0.2, 3)
        [0.0, 0.1, 0.2]
    """
    return [highest * i / max(1, num_blocks - 1) for i in range(num_blocks)]
