"""Channels that are derived from a spectrogram image, as torch functions.

The generator uses them in float64 on the CPU, the preparation in float32 on the training device.
Every function is linear in the scale of its input (0…255 or 0…1) or says otherwise. It handles
each image by itself and adds sums in one fixed order, so that an image gets the same bits alone and
in a batch, on one thread and on many.

Shapes: B batch, C channels, H frequency (low to high), W time.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

TEMPORAL_KERNEL = 5
SPECTRAL_KERNEL = 7
EPS = 1e-8

NORMALIZED_SUFFIX = "_normalized"


def fixed_order_mean(values: Float[Tensor, "*B N"]) -> Float[Tensor, "*B"]:
    """Average over the last dimension; only its length decides the order of the additions.

    ``torch.mean`` may add in another order for another batch size, which changes the last bit.

    Example:
        >>> fixed_order_mean(torch.tensor([[1.0, 2.0, 6.0]]))
        tensor([3.])
    """
    count = values.shape[-1]
    if count == 0:
        raise ValueError("the mean of no values is not defined: expected a last dimension >= 1")
    total = values
    while total.shape[-1] > 1:
        half = total.shape[-1] // 2
        rest = total[..., 2 * half :]
        total = torch.cat([total[..., :half] + total[..., half : 2 * half], rest], dim=-1)
    return total[..., 0] / count


def moving_average(values: Float[Tensor, "*B N"], kernel_size: int) -> Float[Tensor, "*B N"]:
    """Average over a centred window of so many points along the last dimension, cut at its ends.

    Raises:
        ValueError: for an even or non-positive ``kernel_size``.

    Example:
        >>> moving_average(torch.tensor([[3.0, 0.0, 0.0, 6.0]]), 3)
        tensor([[1.5000, 1.0000, 2.0000, 3.0000]])
    """
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be a positive odd number of points, got {kernel_size}")
    half, length = kernel_size // 2, values.shape[-1]

    def window_sum(x: Tensor) -> Tensor:
        padded = F.pad(x, (half, half))
        total = padded[..., :length]
        for shift in range(1, kernel_size):
            total = total + padded[..., shift : shift + length]
        return total

    return window_sum(values) / window_sum(values.new_ones(length))


def temporal_envelope(
    images: Float[Tensor, "*B H W"], kernel_size: int = TEMPORAL_KERNEL
) -> Float[Tensor, "*B H W"]:
    """T: the mean over frequency at each time, smoothed, the same at every frequency.

    Example:
        >>> temporal_envelope(torch.tensor([[[0.0, 4.0], [2.0, 2.0]]]), kernel_size=1)
        tensor([[[1., 3.],
                 [1., 3.]]])
    """
    mean_over_frequency = fixed_order_mean(images.transpose(-1, -2))  # (*B, W)
    smooth = moving_average(mean_over_frequency.unsqueeze(-2), kernel_size)
    return smooth.expand(images.shape)


def spectral_envelope(
    images: Float[Tensor, "*B H W"], kernel_size: int = SPECTRAL_KERNEL
) -> Float[Tensor, "*B H W"]:
    """F: the mean over time at each frequency, smoothed, the same at every time.

    Example:
        >>> spectral_envelope(torch.tensor([[[0.0, 4.0], [2.0, 3.0]]]), kernel_size=1)
        tensor([[[2.0000, 2.0000],
                 [2.5000, 2.5000]]])
    """
    mean_over_time = fixed_order_mean(images)  # (*B, H)
    smooth = moving_average(mean_over_time.unsqueeze(-2), kernel_size)
    return smooth.transpose(-1, -2).expand(images.shape)


def normalise_by_envelopes(
    images: Float[Tensor, "*B H W"],
    temporal: Float[Tensor, "*B H W"] | None = None,
    spectral: Float[Tensor, "*B H W"] | None = None,
    eps: float = EPS,
) -> Float[Tensor, "*B H W"]:
    """``S / (T + eps) / (F + eps)``: what is left when both envelopes are divided out.

    Args:
        images: S.
        temporal: T; None: it is computed from ``images``.
        spectral: F; likewise.
        eps: keeps 0/0 (an empty column or row) at 0.

    Returns:
        The ratio, not scaled; :func:`stretch` scales it.
    """
    t = temporal_envelope(images) if temporal is None else temporal
    f = spectral_envelope(images) if spectral is None else spectral
    return images / (t + eps) / (f + eps)


def stretch(images: Float[Tensor, "*B H W"], top: float) -> Float[Tensor, "*B H W"]:
    """Scale each image from its own minimum…maximum to 0…``top``; a constant image becomes 0.

    Example:
        >>> stretch(torch.tensor([[[2.0, 3.0], [4.0, 2.0]]]), top=255.0)
        tensor([[[  0.0000, 127.5000],
                 [255.0000,   0.0000]]])
    """
    low = images.amin(dim=(-2, -1), keepdim=True)
    span = images.amax(dim=(-2, -1), keepdim=True) - low
    return (images - low) / torch.where(span > 0, span, torch.ones_like(span)) * top


def temporal_gradient(images: Float[Tensor, "*B H W"]) -> Float[Tensor, "*B H W"]:
    """Change per frame, ``½ + ½·g``, for images in 0…1: ½ is no change.

    g is the central difference, one-sided at the two ends, so that g lies in −1…1.

    Example:
        >>> temporal_gradient(torch.tensor([[[0.0, 0.5, 1.0]]]))
        tensor([[[0.7500, 0.7500, 0.7500]]])
    """
    return 0.5 + 0.5 * _central_difference(images)


def log_spectral_gradient(images: Float[Tensor, "*B H W"]) -> Float[Tensor, "*B H W"]:
    """Change per frequency bin, ``½ + ½·g``, for images in 0…1: ½ is no change.

    The images are in dB, so this is the gradient of the log spectrum; g as in
    :func:`temporal_gradient`.
    """
    return 0.5 + 0.5 * _central_difference(images.transpose(-1, -2)).transpose(-1, -2)


def spectral_slope(images: Float[Tensor, "*B H W"]) -> Float[Tensor, "*B H W"]:
    """Slope of the least-squares line through each frame's log spectrum, for images in 0…1.

    With frequency running over 0…1 the slope of values in 0…1 lies within ±1.5; the result is
    ``½ + slope/3``, the same at every frequency. Images one bin high have no slope: ½.

    Example:
        >>> spectral_slope(torch.tensor([[[0.0], [0.5], [1.0]]]))
        tensor([[[0.8333],
                 [0.8333],
                 [0.8333]]])
    """
    height = images.shape[-2]
    if height == 1:
        return torch.full_like(images, 0.5)
    frequency = torch.linspace(-0.5, 0.5, height, dtype=images.dtype, device=images.device)
    weighted_mean = fixed_order_mean(images.transpose(-1, -2) * frequency)  # (*B, W)
    slope = weighted_mean / fixed_order_mean(frequency * frequency)
    return (0.5 + slope / 3.0).unsqueeze(-2).expand(images.shape)


def _central_difference(values: Tensor) -> Tensor:
    """Take the central difference along the last dimension, one-sided at the ends; 0 for one."""
    if values.shape[-1] == 1:
        return torch.zeros_like(values)
    step = values[..., 1:] - values[..., :-1]
    inner = 0.5 * (step[..., 1:] + step[..., :-1])
    return torch.cat([step[..., :1], inner, step[..., -1:]], dim=-1)


FEATURES: dict[str, Callable[..., Tensor]] = {
    "log_spectral_gradient": log_spectral_gradient,
    "spectral_slope": spectral_slope,
    "temporal_gradient": temporal_gradient,
    "temporal_envelope": temporal_envelope,
    "spectral_envelope": spectral_envelope,
}
FEATURE_TYPES = tuple(FEATURES)
SMOOTHED = frozenset({"temporal_envelope", "spectral_envelope"})  # these read a kernel's size
DERIVED_SUFFIXES = (NORMALIZED_SUFFIX, *(f"_{name}" for name in sorted(SMOOTHED)))


def is_derived(label: str) -> bool:
    """Return whether a stored channel's label says that it is derived of another channel.

    Example:
        >>> is_derived("Gray"), is_derived("Gray_normalized")
        (False, True)
    """
    return label.endswith(DERIVED_SUFFIXES)


def feature(
    images: Float[Tensor, "B C H W"], feature_type: str, kernel_size: int | None = None
) -> Float[Tensor, "B C H W"]:
    """Derive one of :data:`FEATURE_TYPES` from every given channel, in 0…1.

    ``kernel_size`` is that of the envelopes' moving average; None: 5 over time, 7 over frequency.

    Raises:
        ValueError: for an unknown name.
    """
    if feature_type not in FEATURES:
        raise ValueError(
            f"feature_types: unknown feature {feature_type!r}; there are {', '.join(FEATURES)}"
        )
    smoothing = [kernel_size] if kernel_size and feature_type in SMOOTHED else []
    return FEATURES[feature_type](images, *smoothing)


def append_features(
    images: Float[Tensor, "B C H W"],
    feature_types: Sequence[str],
    *,
    normalize_spectrogram: bool = False,
    kernel_size: int | None = None,
    eps: float = EPS,
) -> Float[Tensor, "B D H W"]:
    """Append all features of the first type to the channels, then all of the second, and so on.

    Args:
        images: base channels in 0…1; the features are taken from these before normalising.
        feature_types: names out of :data:`FEATURE_TYPES`; C channels are appended for each.
        normalize_spectrogram: replace the base channels by :func:`normalise_by_envelopes`,
            stretched to 0…1 over each image's own range.
        kernel_size: as in :func:`feature`, also for the envelopes that normalise.
        eps: as in :func:`normalise_by_envelopes`.

    Raises:
        ValueError: for an unknown feature type.
    """
    base = images
    if normalize_spectrogram:
        t = temporal_envelope(images, kernel_size or TEMPORAL_KERNEL)
        f = spectral_envelope(images, kernel_size or SPECTRAL_KERNEL)
        base = stretch(normalise_by_envelopes(images, t, f, eps), top=1.0)
    return torch.cat([base, *(feature(images, name, kernel_size) for name in feature_types)], dim=1)


def appended_labels(
    labels: Sequence[str], feature_types: Sequence[str], *, normalize_spectrogram: bool = False
) -> tuple[str, ...]:
    """Return the channel labels of :func:`append_features`, in its order.

    Example:
        >>> appended_labels(["Gray"], ["temporal_envelope"], normalize_spectrogram=True)
        ('Gray_normalized', 'Gray_temporal_envelope')
    """
    suffix = NORMALIZED_SUFFIX if normalize_spectrogram else ""
    base = [f"{label}{suffix}" for label in labels]
    return (*base, *(f"{label}_{name}" for name in feature_types for label in labels))
