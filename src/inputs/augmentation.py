"""Augmentation of natural images: random crops and flips, a batch at once, on its device."""

import torch
from jaxtyping import UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from src.utils.errors import ConfigError


class Augmentation(nn.Module):
    """Crops and flips each image of a batch at random while training; nothing else.

    Like dropout, it draws from torch's random state on the batch's device. It is not for
    spectrograms: a shift or a flip makes an image that of another sound.

    Args:
        crop_padding: black pixels put around an image before a random piece of its own size is cut
            out; 0: none.
        flip: whether to mirror half of the images, left to right.

    Raises:
        ConfigError: `crop_padding` is negative.

    Example:
        >>> augment = Augmentation(crop_padding=4, flip=True)
        >>> augment(torch.zeros((2, 3, 32, 32), dtype=torch.uint8)).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(self, crop_padding: int = 0, flip: bool = False) -> None:
        super().__init__()
        if crop_padding < 0:
            raise ConfigError(
                f"data.augmentation.crop_padding is {crop_padding}; expected 0 or more pixels"
            )
        self.crop_padding = crop_padding
        self.flip = flip

    def forward(self, images: UInt8[Tensor, "B C H W"]) -> UInt8[Tensor, "B C H W"]:
        """Return images of the same shape; in eval mode the same images."""
        if not self.training or not (self.crop_padding or self.flip):
            return images
        (num_images, _, height, width), device = images.shape, images.device
        rows = torch.arange(height, device=device).expand(num_images, -1)
        columns = torch.arange(width, device=device).expand(num_images, -1)
        if self.flip:
            mirrored = torch.rand((num_images, 1), device=device) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        if pad := self.crop_padding:
            images = F.pad(images, (pad, pad, pad, pad))
            shifts = torch.randint(0, 2 * pad + 1, (2, num_images, 1), device=device)
            rows, columns = rows + shifts[0], columns + shifts[1]
        batch = torch.arange(num_images, device=device)
        # One gather: (B, 1, H, 1) rows with (B, 1, 1, W) columns of channel-last images.
        picked = images.permute(0, 2, 3, 1)[
            batch[:, None, None], rows[:, :, None], columns[:, None, :]
        ]
        return picked.permute(0, 3, 1, 2)
