"""Networks without convolutions: three fully connected layers, with and without BatchNorm."""

from typing import ClassVar, Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn

from src.models.components.heads import HeadLayers, HeadOptions
from src.models.components.layers import size_pair
from src.models.components.network import MultiheadNetwork
from src.schema.bounds import Rate, Size, SizePair


class DenseNetwork(MultiheadNetwork):
    """Base of the fully connected networks: the pixels, three hidden layers, the heads.

    Args:
        input_channels: Channels of the images.
        lin1_size: Width of the first hidden layer.
        lin2_size: Width of the second hidden layer.
        lin3_size: Width of the third hidden layer.
        dropout: Dropout rate after each hidden layer.
        input_size: Height and width of the images, or one number for square ones.
        **heads: What the heads are, see `HeadLayers`.
    """

    batch_norm: ClassVar[bool]

    def __init__(
        self,
        input_channels: Size = 1,
        lin1_size: Size = 58,
        lin2_size: Size = 48,
        lin3_size: Size = 32,
        dropout: Rate = 0.0,
        input_size: SizePair = 32,
        **heads: Unpack[HeadOptions],
    ) -> None:
        height, width = size_pair("input_size", input_size)
        super().__init__((input_channels, height, width))
        self.layer1 = self._layer(input_channels * height * width, lin1_size, dropout)
        self.layer2 = self._layer(lin1_size, lin2_size, dropout)
        self.layer3 = self._layer(lin2_size, lin3_size, dropout)
        self.heads = HeadLayers(lin3_size, dropout=dropout, **heads)

    def features(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F"]:
        """Compute the third hidden layer's output."""
        return self.layer3(self.layer2(self.layer1(torch.flatten(images, start_dim=1))))

    def _layer(self, in_features: int, out_features: int, dropout: float) -> nn.Sequential:
        layers: list[nn.Module] = [nn.Linear(in_features, out_features)]
        if self.batch_norm:
            layers.append(nn.BatchNorm1d(out_features))
        layers.append(nn.ReLU())
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        return nn.Sequential(*layers)


class SimpleDenseNet(DenseNetwork):
    """Three fully connected layers with BatchNorm (not the DenseNet of the literature).

    See `DenseNetwork` for the arguments. It cannot train on batches of one; `SimpleMLP` can.

    Example:
        >>> network = SimpleDenseNet(input_size=28, output_size=10)
        >>> tuple(network(torch.zeros(5, 1, 28, 28)).shape)
        (5, 10)
    """

    batch_norm = True


class SimpleMLP(DenseNetwork):
    """`SimpleDenseNet` without BatchNorm, for batches of any size, one included.

    See `DenseNetwork` for the arguments.

    Example:
        >>> network = SimpleMLP(output_mode="regression", parameter_names=["log10_decay_time"])
        >>> tuple(network(torch.zeros(1, 1, 32, 32))["log10_decay_time"].shape)
        (1, 1)
    """

    batch_norm = False
