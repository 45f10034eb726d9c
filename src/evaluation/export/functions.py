"""A model as one function of tensors: of stored images, or of sounds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn

from src.models.components import MultiheadNetwork
from src.models.intervals import CONFIDENCE, Intervals
from src.models.multihead_module import MultiheadLitModule
from src.models.parameter_head import ParameterHead
from src.synth.images import ImageMaker


class ImageModel(nn.Module):
    """Preparation, network and decoding in one.

    It returns, by the names in `outputs`, values (B, P) in the parameters' units. Where the model
    is calibrated these follow: the ends of their intervals, (B, P) each, and, where it can tell,
    p-values (B,) of being like the training sounds.

    Args:
        model: loaded, with its preparation.
        confidence: the share of true values that intervals should hold.
    """

    inputs = ("images", "scale_factors")

    def __init__(self, model: MultiheadLitModule, confidence: float = CONFIDENCE) -> None:
        super().__init__()
        assert isinstance(model.net, MultiheadNetwork)
        self.preparation = model.required_preparation
        self.net = model.net
        self.head_list = model.head_list
        calibration = model.calibration
        heads = list(model.heads.values())
        self.intervals: Intervals | None = None
        self.unlike: nn.Module | None = None
        if calibration is not None:
            self.intervals = Intervals(heads, calibration, confidence)
            self.unlike = calibration.unlike(self.preparation.image_shape)
        self.outputs = (
            "values",
            *(("low", "high") if self.intervals else ()),
            *(("unlike",) if self.unlike else ()),
        )
        self.eval()

    def forward(
        self, images: UInt8[Tensor, "B C H W"], scale_factors: Float32[Tensor, "B 2"]
    ) -> tuple[Float[Tensor, "B ..."], ...]:
        """Read stored pixels; the scale factors are what 0 and 255 stand for, dB."""
        prepared, auxiliary = self.preparation(images, scale_factors)
        outputs, features = self.net.outputs_and_features(prepared, auxiliary)
        heads = list(cast(Iterable[ParameterHead], self.head_list))
        if isinstance(outputs, Tensor):
            outputs = {heads[0].parameter.name: outputs}
        values = [head.decode(outputs[head.parameter.name]).float() for head in heads]
        found = [torch.stack(values, dim=1)]
        if self.intervals is not None:
            found += self.intervals(outputs)
        if self.unlike is not None:
            found.append(self.unlike(prepared, features, auxiliary))
        return tuple(found)


class AudioModel(nn.Module):
    """From the samples of a sound to its values: transform, image, and an :class:`ImageModel`.

    It returns what that does, then the image that the network saw, uint8 (B, C, H, W), and what
    its 0 and 255 stand for, dB, (B, 2).

    Args:
        model: of images.
        image_maker: of the data set that it was trained on.

    Raises:
        VIMHError: if the front end has no transform for it.
    """

    inputs = ("audio",)

    def __init__(self, model: ImageModel, image_maker: ImageMaker) -> None:
        super().__init__()
        self.transform = image_maker.front_end.transform()
        self.image_maker = image_maker
        self.model = model
        self.outputs = (*model.outputs, "image", "scale_factors")
        self.eval()

    def forward(self, audio: Float32[Tensor, "B *S T"]) -> tuple[Tensor, ...]:
        """Read sounds at the training rate; S is 2 where the model hears a left and a right.

        Shorter sounds than those of the training are padded with silence, longer ones cut.
        """
        sides = 1 + self.image_maker.stereo
        db = self.transform(audio.reshape(-1, audio.shape[-1]))
        image, scale_factors = self.image_maker.images_of(
            db.reshape(-1, sides, db.shape[-2], db.shape[-1])
        )
        return (*self.model(image, scale_factors), image, scale_factors)
