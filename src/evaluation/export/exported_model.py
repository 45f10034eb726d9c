"""A model as one function of stored bytes, for use without this project."""

from collections.abc import Iterable
from typing import cast

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor, nn

from src.models.multihead_module import MultiheadLitModule
from src.models.parameter_head import ParameterHead
from src.utils.strict_json import strict_json
from src.vimh.metadata import Metadata

# Keys of a data set's metadata that say how a sound becomes an image.
SOUND_KEYS = (
    "sample_rate",
    "duration",
    "spectrogram_config",
    "mel_config",
    "pre_emphasis_coefficient",
    "scale_range_db",
)


class ExportedModel(nn.Module):
    """Preparation, network and decoding in one.

    Args:
        model: loaded, with its preparation.
    """

    def __init__(self, model: MultiheadLitModule) -> None:
        super().__init__()
        self.preparation = model.required_preparation
        self.net = model.net
        self.head_list = model.head_list
        self.eval()

    def forward(
        self, images: UInt8[Tensor, "B C H W"], scale_factors: Float32[Tensor, "B 2"]
    ) -> Float32[Tensor, "B P"]:
        """Values in the parameters' units.

        Args:
            images: stored pixels, 0…255.
            scale_factors: the dB that 0 and 255 stand for.
        """
        prepared, auxiliary = self.preparation(images, scale_factors)
        outputs = self.net(prepared) if auxiliary is None else self.net(prepared, auxiliary)
        values = []
        for head in cast(Iterable[ParameterHead], self.head_list):
            own = outputs if isinstance(outputs, Tensor) else outputs[head.parameter.name]
            values.append(head.decode(own).float())
        return torch.stack(values, dim=1)


def description(metadata: Metadata, model: MultiheadLitModule) -> dict[str, str]:
    """Describe a model to the users of its file, as texts by name; nested ones are JSON."""
    parameters: list[dict[str, object]] = [
        {"name": name, "unit": p.unit, **p.to_json()}
        for name, p in model.parameters_by_head.items()
    ]
    sound = {key: metadata.raw[key] for key in SOUND_KEYS if metadata.raw.get(key) is not None}
    return {
        "format": "avix-1",
        "parameters": strict_json(parameters),
        "image": strict_json(
            {
                "channels": metadata.channels,
                "height": metadata.height,
                "width": metadata.width,
                "channel_labels": list(metadata.channel_labels),
            }
        ),
        "sound": strict_json(sound),
        "dataset_name": metadata.dataset_name,
    }
