"""A small EfficientNet: inverted residual blocks with squeeze-and-excitation."""

from typing import Literal, Unpack

from jaxtyping import Float
from torch import Tensor, nn

from src.models.components.heads import HeadLayers, HeadOptions
from src.models.components.layers import (
    StochasticDepth,
    average_pool_to,
    pooled_pair,
    size_pair,
    stochastic_depth_rates,
)
from src.models.components.network import MultiheadNetwork
from src.schema.bounds import Depths, Rate, Size, SizePair, Sizes


class SqueezeExcitation(nn.Module):
    """Scale each channel by a factor in 0...1 computed from the means of all of them.

    After Hu et al. 2018, "Squeeze-and-excitation networks" (arXiv:1709.01507).

    Args:
        num_channels: Number of channels C.
        squeezed: Number of hidden units.
    """

    def __init__(self, num_channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(num_channels, squeezed, kernel_size=1)
        self.expand = nn.Conv2d(squeezed, num_channels, kernel_size=1)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Scale the channels."""
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * self.expand(nn.functional.silu(self.reduce(means))).sigmoid()


class MBConv(nn.Module):
    """Widen, convolve each channel, weigh the channels, narrow; added to the input if it fits.

    The mobile inverted bottleneck of Sandler et al. 2018 (arXiv:1801.04381) with the
    squeeze-and-excitation of EfficientNet (arXiv:1905.11946).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: 1, or 2 to halve the size.
        expansion: How many times wider the inside is than the input.
        drop_rate: Rate of stochastic depth.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, expansion: int, drop_rate: float
    ) -> None:
        super().__init__()
        inside = in_channels * expansion
        widen = [*_conv(in_channels, inside, kernel=1), nn.SiLU()] if expansion > 1 else []
        self.branch = nn.Sequential(
            *widen,
            *_conv(inside, inside, kernel=3, stride=stride, groups=inside),
            nn.SiLU(),
            SqueezeExcitation(inside, max(1, in_channels // 4)),
            *_conv(inside, out_channels, kernel=1),
        )
        self.has_shortcut = stride == 1 and in_channels == out_channels
        self.stochastic_depth = StochasticDepth(drop_rate)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """Compute the block's output."""
        if self.has_shortcut:
            return x + self.stochastic_depth(self.branch(x))
        return self.branch(x)


class SimpleEfficientNet(MultiheadNetwork):
    """A stem, stages of MBConv blocks, pooling, the heads.

    After Tan and Le 2019, "EfficientNet" (arXiv:1905.11946), with 3x3 kernels throughout and
    stages that fit small images. Every stage but the first halves the image.

    Args:
        input_channels: Channels of the images.
        input_size: Height and width of the images, or one number for square ones.
        stem_channels: Channels of the first convolution.
        stem_stride: Stride of the first convolution.
        channels: Channels of each stage.
        depths: Number of blocks in each stage.
        expansion: How many times wider a block is inside; the first stage does not widen.
        head_channels: Channels of the last convolution, before pooling.
        pooled_size: Largest height and width of the feature map after the last convolution.
        drop_path_rate: Rate of stochastic depth in the last block; it rises from 0 in the first.
        dropout: Dropout rate before the heads.
        **heads: What the heads are, see `HeadLayers`.

    Raises:
        ValueError: `channels` and `depths` are of different length.

    Example:
        >>> import torch
        >>> network = SimpleEfficientNet(channels=(8, 16), depths=(1, 1), output_size=10)
        >>> tuple(network(torch.zeros(5, 1, 32, 32)).shape)
        (5, 10)
    """

    def __init__(
        self,
        input_channels: Size = 1,
        input_size: SizePair = 32,
        stem_channels: Size = 16,
        stem_stride: Literal[1, 2] = 2,
        channels: Sizes = (16, 24, 40),
        depths: Depths = (1, 2, 2),
        expansion: Size = 4,
        head_channels: Size = 80,
        pooled_size: SizePair = 1,
        drop_path_rate: Rate = 0.0,
        dropout: Rate = 0.0,
        **heads: Unpack[HeadOptions],
    ) -> None:
        height, width = size_pair("input_size", input_size)
        super().__init__((input_channels, height, width))
        if not channels or len(channels) != len(depths):
            raise ValueError(
                f"channels and depths: expected one number for each stage in both, found "
                f"{list(channels)} and {list(depths)}"
            )
        self.stem = nn.Sequential(
            *_conv(input_channels, stem_channels, kernel=3, stride=stem_stride), nn.SiLU()
        )
        rates = iter(stochastic_depth_rates(drop_path_rate, sum(depths)))
        stages = []
        previous = stem_channels
        for i, (width_out, depth) in enumerate(zip(channels, depths, strict=True)):
            blocks = []
            for j in range(depth):
                stride = 2 if i > 0 and j == 0 else 1
                block_expansion = 1 if i == 0 else expansion
                blocks.append(MBConv(previous, width_out, stride, block_expansion, next(rates)))
                previous = width_out
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        # Padding rounds up, and ceilings of ceilings are that of the whole.
        stride = stem_stride * 2 ** (len(channels) - 1)
        pool, pooled = average_pool_to(
            (-(-height // stride), -(-width // stride)), pooled_pair(pooled_size, (height, width))
        )
        self.pool = nn.Sequential(
            *_conv(previous, head_channels, kernel=1),
            nn.SiLU(),
            pool,
            nn.Flatten(),
            nn.Dropout(dropout),
        )
        self.heads = HeadLayers(head_channels * pooled[0] * pooled[1], dropout=dropout, **heads)
        self._use_channels_last()

    def features(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F"]:
        """Compute the pooled output of the last convolution."""
        return self.pool(self.stages(self.stem(images)))


def _conv(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """Make a convolution that keeps the size (divided by the stride), with BatchNorm."""
    padding = kernel // 2
    return [
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
    ]
