"""Stored bytes to what the network sees: one module, on the device, saved with the model."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from src.inputs import channels
from src.inputs.auxiliary import AuxiliaryFeatures
from src.inputs.batch import Batch, RawBatch
from src.inputs.preparation_settings import AugmentationConfig, PreparationSettings
from src.utils.errors import ConfigError
from src.vimh.metadata import Metadata

MIN_DEVIATION = 1e-8


class Derivation:
    """Derives channels on the fly of a data set's own, whose labels are `stored`.

    Raises:
        ConfigError: There is no channel to derive of, or one would be made twice.
    """

    def __init__(self, stored: tuple[str, ...], settings: PreparationSettings) -> None:
        config = settings.feature_config or {}
        self._feature_types = tuple(settings.feature_types or ())
        self._normalizes = bool(config.get("normalize_spectrogram"))
        self._kernel_size = config.get("kernel_size")
        self._eps = float(config.get("eps") or channels.EPS)
        self._derives = self._normalizes or bool(self._feature_types)
        num_base = self._num_base = sum(not channels.is_derived(label) for label in stored)
        base, derived = stored[:num_base], stored[num_base:]
        if any(map(channels.is_derived, base)):
            raise ConfigError(
                f"the data set's channels {list(stored)} are not ordered base channels first"
            )
        if self._derives and not base:
            raise ConfigError(
                f"data.feature_types and data.feature_config derive channels from an un-normalised "
                f"one, but this data set has only {list(stored)}: leave both null, or name a data "
                "set that was generated without --normalize"
            )
        appended = channels.appended_labels(
            base, self._feature_types, normalize_spectrogram=self._normalizes
        )
        # Of all channels: base, stored derived ones, newly derived ones.
        self.labels = (*appended[:num_base], *derived, *appended[num_base:])
        if self._derives and len(set(self.labels)) < len(self.labels):
            raise ConfigError(
                f"data.feature_types {list(self._feature_types)} would make channels twice, the "
                f"data set holds {list(stored)} already: leave them out"
            )

    def __call__(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        """Append the derived channels to stored ones in 0…1, which are normalised if asked."""
        if not self._derives:
            return images
        base, derived = images.split([self._num_base, images.shape[1] - self._num_base], dim=1)
        appended = channels.append_features(
            base,
            self._feature_types,
            normalize_spectrogram=self._normalizes,
            kernel_size=self._kernel_size,
            eps=self._eps,
        )
        return torch.cat([appended[:, : self._num_base], derived, appended[:, self._num_base :]], 1)


def select_channels(labels: Sequence[str], patterns: Sequence[str] | None) -> list[int]:
    """Return the positions of the channels that the patterns name, in the patterns' order.

    Patterns are labels or globs (`*`, `?`, `[…]`); None: all channels.

    Raises:
        ConfigError: A pattern matches no channel, or there is none.

    Example:
        >>> select_channels(["R", "G", "R_temporal_envelope"], ["*_envelope", "R*"])
        [2, 0]
    """
    if patterns is None:
        return list(range(len(labels)))
    chosen: dict[int, None] = {}
    for pattern in patterns:
        matches = [k for k, label in enumerate(labels) if fnmatchcase(label, pattern)]
        if not matches:
            raise ConfigError(
                f"data.channel_selection: {pattern!r} matches no channel; there are "
                f"{', '.join(labels)}"
            )
        chosen |= dict.fromkeys(matches)
    if not chosen:
        raise ConfigError(
            f"data.channel_selection names no channel; leave it null to keep {', '.join(labels)}"
        )
    return list(chosen)


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


class Preparation(nn.Module):
    """Makes the network's input of the stored bytes, one batch at a time.

    Pixels become float32 in 0…1; channels are derived and selected; auxiliary features are
    computed and standardised. The mean and deviation are buffers, so they travel with a
    checkpoint and with an exported model. Without settings nothing is derived, selected or added.

    Raises:
        ConfigError: An unknown channel, or a feature that this data set lacks the channels or
            times for.

    Example:
        >>> metadata = Metadata.from_json({
        ...     "height": 2, "width": 3, "channels": 1, "parameter_names": ["p"],
        ...     "parameter_mappings": {"p": {"min": 0.0, "max": 1.0, "step": 0.5}},
        ...     "sample_rate": 8000})
        >>> prepare = Preparation(metadata, PreparationSettings(auxiliary_features=["level"]))
        >>> images = torch.zeros((4, 1, 2, 3), dtype=torch.uint8)
        >>> image, auxiliary = prepare(images, torch.zeros((4, 2)))
        >>> image.shape, auxiliary.shape
        (torch.Size([4, 1, 2, 3]), torch.Size([4, 1]))
    """

    auxiliary_mean: Tensor
    auxiliary_deviation: Tensor
    selection: Tensor
    channel_mean: Tensor
    channel_deviation: Tensor

    def __init__(self, metadata: Metadata, settings: PreparationSettings | None = None) -> None:
        super().__init__()
        settings = settings or PreparationSettings()
        self.stored_shape = metadata.image_shape
        self.derivation = Derivation(metadata.channel_labels, settings)
        labels = self.derivation.labels
        chosen = select_channels(labels, settings.channel_selection)
        self.selects = chosen != list(range(len(labels)))
        self.channel_labels = tuple(labels[k] for k in chosen)
        self.register_buffer("selection", torch.tensor(chosen), persistent=False)
        self.auxiliary = AuxiliaryFeatures(settings.auxiliary_features or (), metadata)
        self.register_buffer("auxiliary_mean", torch.zeros(self.auxiliary_size))
        self.register_buffer("auxiliary_deviation", torch.ones(self.auxiliary_size))
        self._set_augmentation(metadata, settings.augmentation or {})

    def _set_augmentation(self, metadata: Metadata, config: AugmentationConfig) -> None:
        if any(config.values()) and metadata.sample_rate is not None:
            raise ConfigError(
                "data.augmentation is for natural images, and this data set holds sounds: a shift "
                "or a flip of a spectrogram is another sound; set data.augmentation=null"
            )
        self.augment = Augmentation(config.get("crop_padding") or 0, bool(config.get("flip")))
        self.normalises = bool(config.get("normalise"))
        if self.normalises:
            shape = (len(self.channel_labels), 1, 1)
            self.register_buffer("channel_mean", torch.zeros(shape))
            self.register_buffer("channel_deviation", torch.ones(shape))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of a prepared image, (C, H, W)."""
        return (len(self.channel_labels), *self.stored_shape[1:])

    @property
    def auxiliary_size(self) -> int:
        """Number of auxiliary features A."""
        return len(self.auxiliary.names)

    @property
    def needs_fit(self) -> bool:
        """Whether something is standardised with figures of the training samples."""
        return self.auxiliary_size > 0 or self.normalises

    def forward(
        self, images: UInt8[Tensor, "B C H W"], scale_factors: Float[Tensor, "B 2"]
    ) -> tuple[Float[Tensor, "B D H W"], Float[Tensor, "B A"] | None]:
        """Prepare stored pixels, whose scale factors are spec_min and spec_max in dB.

        Returns:
            Images in 0…1 (or normalised), and standardised auxiliary features (None where there
            are none).
        """
        prepared = self._images(images)
        if self.normalises:
            prepared = (prepared - self.channel_mean) / self.channel_deviation
        if self.auxiliary_size == 0:
            return prepared, None
        raw = self.auxiliary(images, scale_factors)
        return prepared, (raw - self.auxiliary_mean) / self.auxiliary_deviation

    def prepare_batch(self, raw: RawBatch) -> Batch:
        """Prepare a loader's batch; its values stay as they are."""
        images, auxiliary = self(self.augment(raw.images), raw.scale_factors)
        return Batch(images, raw.values, auxiliary)

    def _images(self, images: UInt8[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        """Scale bytes to 0…1, derive channels, and select channels of all these."""
        prepared = self.derivation(images.to(torch.float32) / 255.0)
        return prepared.index_select(1, self.selection) if self.selects else prepared

    @torch.no_grad()
    def fit(
        self, images: UInt8[Tensor, "N C H W"], scale_factors: Float[Tensor, "N 2"]
    ) -> "Preparation":
        """Set the means and deviations of auxiliary features and channels to those of samples.

        A deviation under 1e-8 counts as 1: a constant feature is only centred.
        """
        if self.auxiliary_size:
            # float64 sums, since levels in dB are large compared with their deviation.
            raw = self.auxiliary(images, scale_factors).double()
            self.auxiliary_mean.copy_(raw.mean(dim=0))
            self.auxiliary_deviation.copy_(_not_small(raw.std(dim=0, correction=0)))
        if self.normalises:
            self._fit_channels(images)
        return self

    def _fit_channels(self, images: UInt8[Tensor, "N C H W"]) -> None:
        """Work in pieces, since all images as floats would be large."""
        count = 0
        total = torch.zeros(len(self.channel_labels), dtype=torch.float64)
        squares = torch.zeros_like(total)
        for piece in images.split(1024):
            values = self._images(piece).double()
            count += values[:, 0].numel()
            total += values.sum((0, 2, 3))
            squares += values.square().sum((0, 2, 3))
        mean = total / count
        deviation = _not_small((squares / count - mean.square()).clamp(min=0).sqrt())
        self.channel_mean.copy_(mean[:, None, None])
        self.channel_deviation.copy_(deviation[:, None, None])


def _not_small(deviation: Tensor) -> Tensor:
    return torch.where(deviation < MIN_DEVIATION, 1.0, deviation)
