"""Auxiliary features: a few numbers of each sound that its scaled image hides.

Shapes: B batch, H frequency, W time. The functions run on any device and hold no Python control
flow that depends on the data, so that they export.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from src.inputs.channels import TEMPORAL_KERNEL, is_derived, moving_average
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
LOG10_DECAY_RANGE = (-3.0, 1.0)
NEPER_PER_DB = math.log(10.0) / 20.0
# Frames below this share of the envelope's peak count as the floor: the image's 0 is its lowest
# bin, so the mean over frequency bends before it reaches 0.
FLOOR_SHARE = 1.0 / 3.0


class AuxiliaryFeatures:
    """Computes features out of :data:`AUXILIARY_FEATURES` of a data set's samples, a batch at once.

    Raises:
        ConfigError: The data set lacks the channel, the times or the levels of a feature.
    """

    def __init__(self, features: Sequence[str], metadata: Metadata) -> None:
        self.features = tuple(features)
        # Of the A numbers, in their order.
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
        """Compute the features in their own units, not standardised, of stored pixels."""
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
        images that are no sounds have 0 and 255. `where` names the data in the message.

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


def to_db(
    pixels: Float[Tensor, "B *D"], scale_factors: Float[Tensor, "B 2"]
) -> Float[Tensor, "B *D"]:
    """Convert pixels 0…255 to dB: `spec_min + q/255 · (spec_max − spec_min)`.

    Example:
        >>> to_db(torch.tensor([[0.0, 255.0]]), torch.tensor([[-80.0, -20.0]]))
        tensor([[-80., -20.]])
    """
    shape = (-1,) + (1,) * (pixels.dim() - 1)
    low, high = (scale_factors[:, k].reshape(shape) for k in (0, 1))
    return low + pixels / 255.0 * (high - low)


def decay_from_image(level_db: Float[Tensor, "B H W"], hop_s: float) -> Float[Tensor, "B 4"]:
    """Compute the `decay_time` features from a spectrogram in dB.

    The profile of the sound is its amplitude summed over frequency. A straight line is fitted to
    the profile's logarithm from its peak on, weighted by the profile itself.

    Args:
        level_db: the base channel in dB.
        hop_s: time between two frames, s.

    Returns:
        log10 of the decay time (s), temporal centroid (s), temporal spread (s), and how far the
        last frame lies under the peak (dB).

    Example:
        >>> time = torch.arange(32) * 0.01
        >>> sound = (-8.685890 * time / 0.1).expand(1, 8, 32)  # 10^-1 s
        >>> decay_from_image(sound, hop_s=0.01)[0, 0].round(decimals=4)
        tensor(-1.)
    """
    profile = torch.logsumexp(level_db * NEPER_PER_DB, dim=1)
    time = torch.arange(profile.shape[1], device=profile.device, dtype=profile.dtype) * hop_s
    weight = _relative(profile) * _from_peak_on(profile)
    return torch.stack([_log10_decay(profile, weight, time), *_moments(profile, time)], dim=1)


def decay_from_envelope(
    envelope: Float[Tensor, "B W"], scale_factors: Float[Tensor, "B 2"], hop_s: float
) -> Float[Tensor, "B 4"]:
    """Compute the `decay_time` features from a stored temporal envelope, 0…255.

    In dB the envelope of an exponential decay falls by 8.686/τ per second. A moving average
    smoothed it, so the line is fitted over the time axis smoothed in the same way; this makes the
    first and last frames as good as the others. Frames at the floor are left out. Times and
    results are those of :func:`decay_from_image`.
    """
    profile = to_db(envelope, scale_factors) * NEPER_PER_DB
    time = torch.arange(envelope.shape[1], device=envelope.device, dtype=envelope.dtype) * hop_s
    peak = envelope.amax(dim=1, keepdim=True)
    above_floor = (envelope >= FLOOR_SHARE * peak).to(envelope.dtype)
    weight = above_floor * _from_peak_on(envelope)
    slope = _log10_decay(profile, weight, moving_average(time, TEMPORAL_KERNEL))
    return torch.stack([slope, *_moments(profile, time)], dim=1)


def _relative(profile: Float[Tensor, "B W"]) -> Float[Tensor, "B W"]:
    """Return the amplitude relative to the peak, from the natural logarithm of the amplitude."""
    return torch.exp(profile - profile.amax(dim=1, keepdim=True))


def _from_peak_on(profile: Float[Tensor, "B W"]) -> Float[Tensor, "B W"]:
    """Return 1 from the first frame of the highest value on, 0 before it."""
    at_peak: Bool[Tensor, "B W"] = profile >= profile.amax(dim=1, keepdim=True)
    return (at_peak.to(profile.dtype).cumsum(dim=1) > 0).to(profile.dtype)


def _log10_decay(
    profile: Float[Tensor, "B W"], weight: Float[Tensor, "B W"], time: Float[Tensor, "W"]
) -> Float[Tensor, "B"]:
    """Return log10 of τ in s, from the weighted least-squares slope −1/τ of the log profile.

    The sums are centred, so that float32 is enough. Without a falling slope: the upper end.
    """
    total = weight.sum(dim=1, keepdim=True).clamp_min(1e-30)
    time_off = time - (weight * time).sum(dim=1, keepdim=True) / total
    profile_off = profile - (weight * profile).sum(dim=1, keepdim=True) / total
    covariance = (weight * time_off * profile_off).sum(dim=1)
    variance = (weight * time_off * time_off).sum(dim=1)
    rate = -covariance / variance.clamp_min(1e-30)
    low, high = LOG10_DECAY_RANGE
    return -torch.log10(rate.clamp(10.0**-high, 10.0**-low))


def _moments(
    profile: Float[Tensor, "B W"], time: Float[Tensor, "W"]
) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"], Float[Tensor, "B"]]:
    """Return the centroid (s), spread (s) and peak-to-end ratio (dB) of a log profile."""
    weight = _relative(profile)
    total = weight.sum(dim=1)
    centroid = (weight * time).sum(dim=1) / total
    off = time - centroid.unsqueeze(1)
    spread = ((weight * off * off).sum(dim=1) / total).sqrt()
    ratio = (profile.amax(dim=1) - profile[:, -1]) / NEPER_PER_DB
    return centroid, spread, ratio
