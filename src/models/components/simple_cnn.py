"""A small convolutional network: two convolutions, one hidden layer, the heads."""

from typing import Unpack

from jaxtyping import Float
from torch import Tensor, nn

from src.models.components.heads import HeadLayers, HeadOptions
from src.models.components.layers import average_pool_to, pooled_pair, size_pair
from src.models.components.network import MultiheadNetwork
from src.schema.bounds import Rate, Size, SizePair


class SimpleCNN(MultiheadNetwork):
    """Two blocks of convolution and pooling, then a hidden layer, then the heads.

    Rows are frequencies and columns are times, so where something is in the image says what it is:
    the feature map is not averaged away, but flattened. Only what is larger than `pooled_size` is
    averaged down to it, which by default is time more than frequency: on noisy spectrograms of
    64x64, 16x4 with 56 hidden units read pitch better than 16x8 with 28, at the same size.

    Args:
        input_channels: Channels of the images.
        conv1_channels: Channels of the first convolution.
        conv2_channels: Channels of the second convolution.
        fc_hidden: Width of the hidden layer.
        dropout: Dropout rate before the hidden layer's output reaches the heads.
        input_size: Height and width of the images, or one number for square ones.
        pooled_size: Largest height and width of the feature map that is flattened.
        **heads: What the heads are, see `HeadLayers`.

    Example:
        >>> import torch
        >>> network = SimpleCNN(heads_config={"note_velocity": 3, "log10_decay_time": 24})
        >>> outputs = network(torch.zeros(5, 1, 32, 32))
        >>> {name: tuple(output.shape) for name, output in outputs.items()}
        {'note_velocity': (5, 3), 'log10_decay_time': (5, 24)}
    """

    def __init__(
        self,
        input_channels: Size = 1,
        conv1_channels: Size = 16,
        conv2_channels: Size = 32,
        fc_hidden: Size = 56,
        dropout: Rate = 0.0,
        input_size: SizePair = 32,
        pooled_size: SizePair = (16, 4),
        **heads: Unpack[HeadOptions],
    ) -> None:
        height, width = size_pair("input_size", input_size)
        super().__init__((input_channels, height, width))
        if min(height, width) < 4:
            raise ValueError(
                f"input_size: SimpleCNN halves images twice and needs at least 4x4, "
                f"found {height}x{width}"
            )
        self.block1 = _conv_block(input_channels, conv1_channels)
        self.block2 = _conv_block(conv1_channels, conv2_channels)
        pool, pooled = average_pool_to(
            (height // 4, width // 4), pooled_pair(pooled_size, (height, width))
        )
        self.hidden = nn.Sequential(
            pool,
            nn.Flatten(),
            nn.Linear(conv2_channels * pooled[0] * pooled[1], fc_hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.heads = HeadLayers(fc_hidden, dropout=dropout, **heads)
        self._use_channels_last()

    def features(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F"]:
        """Compute the hidden layer's output."""
        return self.hidden(self.block2(self.block1(images)))


def _conv_block(in_channels: int, out_channels: int) -> nn.Sequential:
    """Make a 3x3 convolution, a halving of the size, normalisation and ReLU.

    Pooling before normalisation leaves a quarter of the numbers for the layers after it.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
