"""Vision transformer: the image as a row of patches that look at each other."""

import math
import warnings
from typing import Any, Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn

from src.models.components.heads import HeadLayers, HeadOptions
from src.models.components.layers import size_pair
from src.models.components.network import MultiheadNetwork
from src.schema.bounds import Layers, Rate, Size, SizePair

# Shape suffixes: B batch, T tokens (patches), D embedding, N heads of attention, E = D / N.


class SelfAttention(nn.Module):
    """Multi-head self-attention, written out to be read.

    Every token asks all tokens: softmax(Q K^T / sqrt(E)) V in each attention head (Vaswani et al.
    2017, "Attention is all you need", arXiv:1706.03762, equation 1). Parameters are named and
    shaped as in `nn.MultiheadAttention`, so that weights fit both.

    Args:
        embed_dim: Size D of a token.
        n_attention_heads: Number N of attention heads; divides D.
        dropout: Dropout rate on the attention weights.
    """

    def __init__(self, embed_dim: int, n_attention_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_attention_heads = n_attention_heads
        self.scale = 1 / math.sqrt(embed_dim / n_attention_heads)
        self.in_proj_weight = nn.Parameter(torch.empty(3 * embed_dim, embed_dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * embed_dim))
        self.dropout = nn.Dropout(dropout)
        self.out_proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, tokens_BTD: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """Mix the tokens."""
        projected = nn.functional.linear(tokens_BTD, self.in_proj_weight, self.in_proj_bias)
        # (B, T, 3·D) -> three times (B, N, T, E)
        query, key, value = (
            part.unflatten(2, (self.n_attention_heads, -1)).transpose(1, 2)
            for part in projected.chunk(3, dim=2)
        )
        scores_BNTT = query @ key.transpose(2, 3) * self.scale
        mixed_BNTE = self.dropout(scores_BNTT.softmax(dim=-1)) @ value
        return self.out_proj(mixed_BNTE.transpose(1, 2).flatten(2))


class TransformerLayer(nn.Module):
    """Attention and a two-layer perceptron, each on normalised tokens and added to them.

    Named as in `nn.TransformerEncoderLayer(norm_first=True)`, so that weights fit both.

    Args:
        embed_dim: Size D of a token.
        n_attention_heads: Number of attention heads.
        hidden_dim: Hidden width of the perceptron.
        dropout: Dropout rate on attention weights, hidden units and both branches.
    """

    def __init__(
        self, embed_dim: int, n_attention_heads: int, hidden_dim: int, dropout: float
    ) -> None:
        super().__init__()
        self.self_attn = SelfAttention(embed_dim, n_attention_heads, dropout)
        self.linear1 = nn.Linear(embed_dim, hidden_dim)
        self.linear2 = nn.Linear(hidden_dim, embed_dim)
        self.norm1 = nn.LayerNorm(embed_dim)
        self.norm2 = nn.LayerNorm(embed_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens_BTD: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """Mix the tokens, then work on each of them."""
        tokens_BTD = tokens_BTD + self.dropout(self.self_attn(self.norm1(tokens_BTD)))
        hidden = self.dropout(nn.functional.gelu(self.linear1(self.norm2(tokens_BTD))))
        return tokens_BTD + self.dropout(self.linear2(hidden))


class TransformerLayers(nn.Module):
    """A stack of `TransformerLayer`, named as in `nn.TransformerEncoder`."""

    def __init__(self, n_layers: int, **layer_arguments: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(**layer_arguments) for _ in range(n_layers))

    def forward(self, tokens_BTD: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """Apply one layer after the other."""
        for layer in self.layers:
            tokens_BTD = layer(tokens_BTD)
        return tokens_BTD


class FusedTransformerLayers(nn.TransformerEncoder):
    """PyTorch's stack of layers, with the arguments and parameter names of `TransformerLayers`.

    In eval mode without gradients, each layer runs as one fused operation.
    """

    def __init__(
        self, n_layers: int, embed_dim: int, n_attention_heads: int, hidden_dim: int, dropout: float
    ) -> None:
        layer = nn.TransformerEncoderLayer(
            d_model=embed_dim,
            nhead=n_attention_heads,
            dim_feedforward=hidden_dim,
            dropout=dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        super().__init__(layer, n_layers, enable_nested_tensor=False)

    def forward(self, tokens_BTD: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:  # type: ignore[override] # no masks here
        """Apply one layer after the other."""
        if not torch.jit.is_tracing():
            return super().forward(tokens_BTD)
        # The tracer runs twice, with and without gradients, and wants the same graph from both;
        # its warnings here are about PyTorch's own comparisons of sizes.
        fused = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", torch.jit.TracerWarning)
                return super().forward(tokens_BTD)
        finally:
            torch.backends.mha.set_fastpath_enabled(fused)


class VisionTransformer(MultiheadNetwork):
    """Patches, learned positions, transformer layers, the mean over tokens, the heads.

    After Dosovitskiy et al. 2021, "An image is worth 16x16 words" (arXiv:2010.11929), with the
    mean over tokens in place of the class token, which trains better on small sets (Beyer et al.
    2022, "Better plain ViT baselines for ImageNet-1k", arXiv:2205.01580).

    Args:
        n_channels: Channels of the images.
        image_size: Height and width of the images, or one number for square ones.
        patch_size: Height and width of a patch, or one number; divides the image's.
        embed_dim: Size D of a token.
        n_layers: Number of transformer layers.
        n_attention_heads: Number of attention heads; divides `embed_dim`.
        forward_mul: Hidden width of a layer's perceptron, in units of `embed_dim`.
        dropout: Dropout rate inside the layers.
        use_torch_layers: Use PyTorch's fused layers in place of our own. Both have the same
            parameters under the same names, so that weights fit both, and in eval mode the same
            outputs; the fused ones are faster.
        **heads: What the heads are, see `HeadLayers`.

    Raises:
        ValueError: Patches do not tile the image, or attention heads do not divide `embed_dim`.

    Example:
        >>> network = VisionTransformer(image_size=32, patch_size=8, output_size=10)
        >>> tuple(network(torch.zeros(5, 1, 32, 32)).shape)
        (5, 10)
    """

    def __init__(
        self,
        n_channels: Size = 1,
        image_size: SizePair = 32,
        patch_size: SizePair = 4,
        embed_dim: Size = 48,
        n_layers: Layers = 3,
        n_attention_heads: Size = 4,
        forward_mul: Size = 2,
        dropout: Rate = 0.0,
        use_torch_layers: bool = False,
        **heads: Unpack[HeadOptions],
    ) -> None:
        height, width = size_pair("image_size", image_size)
        super().__init__((n_channels, height, width))
        patch = size_pair("patch_size", patch_size)
        if height % patch[0] or width % patch[1]:
            raise ValueError(
                f"patch_size: patches of {patch[0]}x{patch[1]} do not tile images of "
                f"{height}x{width}; both sides must be multiples"
            )
        if embed_dim % n_attention_heads:
            raise ValueError(
                f"n_attention_heads: {n_attention_heads} does not divide embed_dim {embed_dim}"
            )
        num_tokens = (height // patch[0]) * (width // patch[1])
        self.patches = nn.Conv2d(n_channels, embed_dim, kernel_size=patch, stride=patch)
        self.positions = nn.Parameter(torch.empty(1, num_tokens, embed_dim))
        hidden_dim = forward_mul * embed_dim
        make_layers = FusedTransformerLayers if use_torch_layers else TransformerLayers
        self.encoder = make_layers(
            n_layers=n_layers,
            embed_dim=embed_dim,
            n_attention_heads=n_attention_heads,
            hidden_dim=hidden_dim,
            dropout=dropout,
        )
        self.norm = nn.LayerNorm(embed_dim)
        self._initialise()
        self.heads = HeadLayers(embed_dim, dropout=dropout, **heads)

    @classmethod
    def image_arguments(cls, image_shape: tuple[int, int, int]) -> dict[str, Any]:
        """Return the constructor arguments that the images decide."""
        channels, height, width = image_shape
        return {"n_channels": channels, "image_size": (height, width)}

    def features(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F"]:
        """Compute the mean over the last layer's tokens."""
        tokens_BTD = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        return self.norm(self.encoder(tokens_BTD)).mean(dim=1)

    def _initialise(self) -> None:
        nn.init.trunc_normal_(self.positions, std=0.02)
        for parameter in self.encoder.parameters():
            if parameter.ndim == 2:
                nn.init.trunc_normal_(parameter, std=0.02)
        for name, parameter in self.encoder.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
