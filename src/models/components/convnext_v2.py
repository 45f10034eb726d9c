"""ConvNeXt V2: a convolutional network built like a transformer."""

from collections.abc import Sequence
from typing import Literal, Unpack

import torch
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

NamedSize = Literal["atto", "femto", "pico", "nano", "tiny", "base", "large", "huge"]

# Blocks and channels of each stage, from table 10 of the paper (arXiv:2301.00808, appendix A).
NAMED_SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "atto": ((2, 2, 6, 2), (40, 80, 160, 320)),
    "femto": ((2, 2, 6, 2), (48, 96, 192, 384)),
    "pico": ((2, 2, 6, 2), (64, 128, 256, 512)),
    "nano": ((2, 2, 8, 2), (80, 160, 320, 640)),
    "tiny": ((3, 3, 9, 3), (96, 192, 384, 768)),
    "base": ((3, 3, 27, 3), (128, 256, 512, 1024)),
    "large": ((3, 3, 27, 3), (192, 384, 768, 1536)),
    "huge": ((3, 3, 27, 3), (352, 704, 1408, 2816)),
}


class GlobalResponseNorm(nn.Module):
    """Let the channels of an image compete by their energy (arXiv:2301.00808, section 3.3).

    With g the L2 norm of each channel over the image and n = g / mean(g) over the channels, the
    output is gamma · (x · n) + beta + x. Both parameters start at zero, so it starts as identity.

    Args:
        num_channels: Number of channels C.

    Example:
        >>> x = torch.ones(1, 2, 2, 3)
        >>> torch.equal(GlobalResponseNorm(3)(x), x)
        True
    """

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(num_channels))
        self.beta = nn.Parameter(torch.zeros(num_channels))

    def forward(self, x_BHWC: Float[Tensor, "B H W C"]) -> Float[Tensor, "B H W C"]:
        """Scale each channel by its share of the energy."""
        norm = torch.linalg.vector_norm(x_BHWC, dim=(1, 2), keepdim=True)
        share = norm / (norm.mean(dim=-1, keepdim=True) + 1e-6)
        return self.gamma * (x_BHWC * share) + self.beta + x_BHWC


class ConvNeXtBlock(nn.Module):
    """A 7x7 depthwise convolution and a perceptron on the channels, added to the input.

    Args:
        num_channels: Number of channels C.
        drop_rate: Rate of stochastic depth.
    """

    def __init__(self, num_channels: int, drop_rate: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            num_channels, num_channels, kernel_size=7, padding=3, groups=num_channels
        )
        self.pointwise = nn.Sequential(  # on (B, H, W, C)
            nn.LayerNorm(num_channels, eps=1e-6),
            nn.Linear(num_channels, 4 * num_channels),
            nn.GELU(),
            GlobalResponseNorm(4 * num_channels),
            nn.Linear(4 * num_channels, num_channels),
        )
        self.stochastic_depth = StochasticDepth(drop_rate)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Add what the block has found to its input."""
        branch = self.pointwise(self.depthwise(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + self.stochastic_depth(branch)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of (B, C, H, W)."""

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Normalise each pixel over its channels."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtV2(MultiheadNetwork):
    """Stages of ConvNeXt V2 blocks with halvings between them, pooling, the heads.

    After Woo et al. 2023, "ConvNeXt V2: Co-designing and scaling ConvNets with masked
    autoencoders" (arXiv:2301.00808). With `size` and otherwise the defaults it is the network of
    the paper. For small images take a smaller `stem_size`, and a larger `pooled_size` where
    the position in the image matters, as it does for the frequency axis of spectrograms.

    Args:
        input_channels: Channels of the images.
        input_size: Height and width of the images, or one number for square ones.
        size: A size of the paper, instead of `depths` and `dims`.
        depths: Number of blocks in each stage.
        dims: Number of channels in each stage.
        stem_size: Kernel and stride of the first convolution.
        pooled_size: Largest height and width of the feature map after the last stage.
        drop_path_rate: Rate of stochastic depth in the last block; it rises from 0 in the first.
        dropout: Dropout rate before the heads.
        **heads: What the heads are, see `HeadLayers`.

    Raises:
        ValueError: The sizes are given twice or not at all, or the image is too small for them.

    Example:
        >>> network = ConvNeXtV2(depths=(1, 1), dims=(8, 16), stem_size=2, output_size=10)
        >>> tuple(network(torch.zeros(5, 1, 32, 32)).shape)
        (5, 10)
    """

    def __init__(
        self,
        input_channels: Size = 1,
        input_size: SizePair = 32,
        size: NamedSize | None = None,
        depths: Depths | None = None,
        dims: Sizes | None = None,
        stem_size: Size = 4,
        pooled_size: SizePair = 1,
        drop_path_rate: Rate = 0.0,
        dropout: Rate = 0.0,
        **heads: Unpack[HeadOptions],
    ) -> None:
        height, width = size_pair("input_size", input_size)
        super().__init__((input_channels, height, width))
        depths, dims = _stages(size, depths, dims)
        smallest = stem_size * 2 ** (len(dims) - 1)
        if min(height, width) < smallest:
            raise ValueError(
                f"input_size: a stem of {stem_size} and {len(dims)} stages need at least "
                f"{smallest}x{smallest}, found {height}x{width}: take a smaller stem_size or "
                "fewer stages"
            )
        self.stem = nn.Sequential(
            nn.Conv2d(input_channels, dims[0], kernel_size=stem_size, stride=stem_size),
            ChannelNorm(dims[0], eps=1e-6),
        )
        rates = iter(stochastic_depth_rates(drop_path_rate, sum(depths)))
        stages: list[nn.Module] = []
        for i, (depth, dim) in enumerate(zip(depths, dims, strict=True)):
            halving: list[nn.Module] = []
            if i > 0:
                halving.append(ChannelNorm(dims[i - 1], eps=1e-6))
                halving.append(nn.Conv2d(dims[i - 1], dim, kernel_size=2, stride=2))
            blocks = [ConvNeXtBlock(dim, next(rates)) for _ in range(depth)]
            stages.append(nn.Sequential(*halving, *blocks))
        self.stages = nn.Sequential(*stages)
        pool, pooled = average_pool_to(
            (height // smallest, width // smallest), pooled_pair(pooled_size, (height, width))
        )
        num_features = dims[-1] * pooled[0] * pooled[1]
        self.pool = nn.Sequential(
            pool, nn.Flatten(), nn.LayerNorm(num_features, eps=1e-6), nn.Dropout(dropout)
        )
        self.apply(_initialise)
        self.heads = HeadLayers(num_features, dropout=dropout, **heads)
        self._use_channels_last()

    def features(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F"]:
        """Compute the pooled and normalised output of the last stage."""
        return self.pool(self.stages(self.stem(images)))


def _stages(
    size: str | None, depths: Sequence[int] | None, dims: Sequence[int] | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return blocks and channels by stage, from a size's name or as given."""
    if size is not None:
        if depths is not None or dims is not None:
            raise ValueError(f"size {size!r} and depths or dims exclude each other")
        if size not in NAMED_SIZES:
            raise ValueError(f"size: expected one of {list(NAMED_SIZES)}, found {size!r}")
        return NAMED_SIZES[size]
    if not depths or not dims or len(depths) != len(dims):
        raise ValueError(
            f"ConvNeXtV2 needs a size out of {list(NAMED_SIZES)}, or depths and dims of the same "
            f"length; found depths {depths} and dims {dims}"
        )
    return tuple(depths), tuple(dims)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        assert module.bias is not None
        nn.init.zeros_(module.bias)
