"""The figures that auxiliary features are made of, from images in dB and from envelopes.

Shapes: B batch, H frequency, W time. All functions run on any device and hold no Python control
flow that depends on the data, so that they export.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from src.inputs.channels import TEMPORAL_KERNEL, moving_average

LOG10_DECAY_RANGE = (-3.0, 1.0)
NEPER_PER_DB = math.log(10.0) / 20.0
# Frames below this share of the envelope's peak count as the floor: the image's 0 is its lowest
# bin, so the mean over frequency bends before it reaches 0.
FLOOR_SHARE = 1.0 / 3.0


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
    first and last frames as good as the others. Frames at the floor are left out.

    Args:
        envelope: one value a frame, 0…255.
        scale_factors: spec_min and spec_max in dB.
        hop_s: time between two frames, s.

    Returns:
        As :func:`decay_from_image`.
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
