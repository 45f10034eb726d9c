"""Auxiliary features: a few numbers of each sound that its scaled image hides."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from src.inputs.channels import is_derived
from src.inputs.features import decay_from_envelope, decay_from_image, to_db
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata

# Names of the numbers that each feature gives, with their units.
AUXILIARY_FEATURES: dict[str, tuple[str, ...]] = {
    "decay_time": (
        "log10_decay_time",  # log10 s
        "temporal_centroid",  # s
        "temporal_spread",  # s
        "peak_to_end_ratio",  # dB
    ),
    "level": ("level",),  # dB
    "range": ("range",),  # dB
}
# No sound has such a level: one of 16-bit samples that were never scaled to 1 has some 130 dB.
MAX_LEVEL_DB = 200.0


class AuxiliaryFeatures:
    """Computes the auxiliary features of one data set's samples, a batch at once.

    Args:
        features: out of :data:`AUXILIARY_FEATURES`; may be none.
        metadata: what describes the data set.

    Raises:
        ConfigError: The data set lacks the channel, the times or the levels of a feature.

    Attributes:
        names: of the A numbers, in their order.
    """

    def __init__(self, features: Sequence[str], metadata: Metadata) -> None:
        self.features = tuple(features)
        self.names = tuple(name for feature in features for name in AUXILIARY_FEATURES[feature])
        if "decay_time" in self.features:
            self._find_decay_channel(metadata)
        if self.features and metadata.sample_rate is None:
            raise ConfigError(
                f"data.auxiliary_features is {list(self.features)}, and this data set holds "
                "images: their bytes are no levels in dB; set data.auxiliary_features=null"
            )

    def _find_decay_channel(self, metadata: Metadata) -> None:
        """Choose the channel that the decay is fitted to: the first base one, else an envelope."""
        labels = metadata.channel_labels
        base = [k for k, label in enumerate(labels) if not is_derived(label)]
        envelopes = [k for k, label in enumerate(labels) if label.endswith("_temporal_envelope")]
        if not base and not envelopes:
            raise ConfigError(
                "data.auxiliary_features: decay_time needs an un-normalised channel or a "
                f"temporal envelope, but the data set has {list(labels)}"
            )
        self._decay_from_base = bool(base)
        self._decay_channel = (base or envelopes)[0]
        try:
            self._hop_s = metadata.hop_s
        except VIMHError as error:
            raise ConfigError(
                f"data.auxiliary_features: decay_time needs the time of a frame ({error})"
            ) from error

    def __call__(
        self, images: UInt8[Tensor, "B C H W"], scale_factors: Float[Tensor, "B 2"]
    ) -> Float[Tensor, "B A"]:
        """Compute the features in their own units, not standardised.

        Args:
            images: stored pixels.
            scale_factors: spec_min and spec_max in dB.
        """
        columns = []
        for feature in self.features:
            match feature:
                case "decay_time":
                    columns.append(self._decay(images, scale_factors))
                case "level":
                    columns.append(scale_factors[:, 1:2])
                case "range":
                    columns.append(scale_factors[:, 1:2] - scale_factors[:, 0:1])
        return torch.cat(columns, dim=1)

    def _decay(self, images: Tensor, scale_factors: Tensor) -> Tensor:
        pixels = images[:, self._decay_channel].to(torch.float32)
        if self._decay_from_base:
            return decay_from_image(to_db(pixels, scale_factors), self._hop_s)
        # The envelope is the same at every frequency: the lowest row is as good as any.
        return decay_from_envelope(pixels[:, 0], scale_factors, self._hop_s)

    def check_levels(self, scale_factors: Float[np.ndarray, "N 2"], where: str) -> None:
        """Check that scale factors are levels in dB, which all of the features are made of.

        Other writers keep the range of normalised pixels or of envelopes in their place, and
        images that are no sounds have 0 and 255.

        Args:
            scale_factors: some samples' spec_min and spec_max.
            where: names the data in the message.

        Raises:
            ConfigError: There are features, and a scale factor is above any level.
        """
        if not self.features or len(scale_factors) == 0:
            return
        largest = float(scale_factors.max())
        if largest > MAX_LEVEL_DB:
            raise ConfigError(
                f"data.auxiliary_features: {', '.join(self.features)} need levels in dB, but the "
                f"scale factors of {where} go up to {largest:g}, which is no level (above "
                f"{MAX_LEVEL_DB:g} dB): set data.auxiliary_features=null, or name a data set "
                "whose scale factors are spec_min and spec_max in dB"
            )
