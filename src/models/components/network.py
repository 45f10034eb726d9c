"""What all networks have in common: images in, one output per head out."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from src.models.components.heads import HeadLayers, HeadsMode, Range


class MultiheadNetwork(nn.Module, ABC):
    """Base of every network: `features` makes a vector of each image, `heads` does the rest.

    A subclass takes sizes of its own and `**heads: Unpack[HeadOptions]`, calls
    `super().__init__(image_shape)`, builds its layers and sets `self.heads`.

    Args:
        image_shape: The shape (C, H, W) of the images that the network is built for.
    """

    heads: HeadLayers

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        if min(image_shape) < 1:
            raise ValueError(
                f"{type(self).__name__}: expected a positive image shape (C, H, W), "
                f"found {image_shape}"
            )
        self.image_shape = image_shape

    @classmethod
    def image_arguments(cls, image_shape: tuple[int, int, int]) -> dict[str, Any]:
        """Return the constructor arguments that the images decide."""
        channels, height, width = image_shape
        return {"input_channels": channels, "input_size": (height, width)}

    @property
    def heads_config(self) -> dict[str, int]:
        """Number of outputs by head name."""
        return self.heads.heads_config

    @property
    def output_mode(self) -> HeadsMode:
        """Whether the heads give logits ("classification"), values in 0...1, or each its own."""
        return self.heads.output_mode

    @property
    def parameter_ranges(self) -> dict[str, Range]:
        """(min, max), or with "log", by name of the heads that give values in units, not 0...1."""
        return self.heads.parameter_ranges

    def example_inputs(self, batch_size: int = 1) -> tuple[Tensor, ...]:
        """Make zeros of the shapes it was built for, to trace it or to see what its layers give.

        ``(images (B, C, H, W),)`` or ``(images, auxiliary (B, A))``, on the network's device.
        """
        device = next(self.parameters()).device
        images = torch.zeros(batch_size, *self.image_shape, device=device)
        size = self.heads.auxiliary_input_size
        return (images, torch.zeros(batch_size, size, device=device)) if size else (images,)

    @abstractmethod
    def features(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F"]:
        """Compute the image features that the heads work on."""

    def forward(
        self,
        images: Float[Tensor, "B C H W"],
        auxiliary: Float[Tensor, "B A"] | None = None,
    ) -> dict[str, Float[Tensor, "B _"]] | Float[Tensor, "B _"]:
        """Compute every head's output, (B, K) by name, or one tensor when built with `output_size`.

        Images are in 0...1, auxiliary features standardised.

        Raises:
            ValueError: The images or the auxiliary features are not of the expected shape.
        """
        return self.outputs_and_features(images, auxiliary)[0]

    def outputs_and_features(
        self,
        images: Float[Tensor, "B C H W"],
        auxiliary: Float[Tensor, "B A"] | None = None,
    ) -> tuple[dict[str, Float[Tensor, "B _"]] | Float[Tensor, "B _"], Float[Tensor, "B F"]]:
        """Compute what :meth:`forward` does, and the features that it is of."""
        self.check_images(images)
        features = self.features(images)
        return self.heads(features, auxiliary), features

    def _use_channels_last(self) -> None:
        """Keep the channels of a pixel together in memory; results are the same.

        Convolutions take their cue from their weights. It halves the time of a training step on
        CPU and is what tensor cores want.
        """
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub

    def check_images(self, images: Tensor) -> None:
        """Check the shape of images.

        Raises:
            ValueError: It is not the shape that the network is built for.
        """
        # While tracing, sizes are tensors, and comparing them would be a warning and no check.
        if torch.jit.is_tracing():
            return
        if images.ndim != 4 or tuple(images.shape[1:]) != self.image_shape:
            channels, height, width = self.image_shape
            raise ValueError(
                f"{type(self).__name__} expects images of shape (B, {channels}, {height}, {width}) "
                f"(batch, channels, height, width), found {tuple(images.shape)}: "
                "it must be built for the data set's image shape"
            )
