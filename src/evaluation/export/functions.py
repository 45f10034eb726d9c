"""A model as one function of tensors: of stored images, or of sounds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor, nn

from src.models.multihead_module import MultiheadLitModule
from src.models.parameter_head import ParameterHead
from src.synth.images import ImageMaker


class ImageModel(nn.Module):
    """Preparation, network and decoding in one.

    Args:
        model: loaded, with its preparation.
    """

    inputs = ("images", "scale_factors")
    outputs = ("values",)

    def __init__(self, model: MultiheadLitModule) -> None:
        super().__init__()
        self.preparation = model.required_preparation
        self.net = model.net
        self.head_list = model.head_list
        self.eval()

    def forward(
        self, images: UInt8[Tensor, "B C H W"], scale_factors: Float32[Tensor, "B 2"]
    ) -> Float32[Tensor, "B P"]:
        """Values in units of stored pixels; the scale factors are what 0 and 255 stand for, dB."""
        prepared, auxiliary = self.preparation(images, scale_factors)
        outputs = self.net(prepared) if auxiliary is None else self.net(prepared, auxiliary)
        values = []
        for head in cast(Iterable[ParameterHead], self.head_list):
            own = outputs if isinstance(outputs, Tensor) else outputs[head.parameter.name]
            values.append(head.decode(own).float())
        return torch.stack(values, dim=1)


class AudioModel(nn.Module):
    """From the samples of a sound to its values: transform, image, and an :class:`ImageModel`.

    It returns, by the names in `outputs`, values (B, P) in the parameters' units; the image that
    the network saw, uint8 (B, C, H, W); and what its 0 and 255 stand for, dB, (B, 2).

    Args:
        model: of images.
        image_maker: of the data set that it was trained on.

    Raises:
        VIMHError: if the front end has no transform for it.
    """

    inputs = ("audio",)
    outputs = ("values", "image", "scale_factors")

    def __init__(self, model: ImageModel, image_maker: ImageMaker) -> None:
        super().__init__()
        self.transform = image_maker.front_end.transform()
        self.image_maker = image_maker
        self.model = model
        self.eval()

    def forward(
        self, audio: Float32[Tensor, "B *S T"]
    ) -> tuple[
        Float32[Tensor, "B P"], UInt8[Tensor, "B C H W"], Float32[Tensor, "B 2"]
    ]:
        """Read sounds at the training rate; S is 2 where the model hears a left and a right.

        Shorter sounds than those of the training are padded with silence, longer ones cut.
        """
        sides = 1 + self.image_maker.stereo
        db = self.transform(audio.reshape(-1, audio.shape[-1]))
        image, scale_factors = self.image_maker.images_of(
            db.reshape(-1, sides, db.shape[-2], db.shape[-1])
        )
        return self.model(image, scale_factors), image, scale_factors
