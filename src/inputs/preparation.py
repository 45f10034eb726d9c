"""Stored bytes to what the network sees: one module, on the device, saved with the model."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from src.inputs.augmentation import Augmentation
from src.inputs.auxiliary import AuxiliaryFeatures
from src.inputs.batch import Batch, RawBatch
from src.inputs.derivation import Derivation, select_channels
from src.inputs.preparation_settings import AugmentationConfig, PreparationSettings
from src.utils.errors import ConfigError
from src.vimh.metadata import Metadata

MIN_DEVIATION = 1e-8


class Preparation(nn.Module):
    """Makes the network's input of the stored bytes, one batch at a time.

    Pixels become float32 in 0…1; channels are derived and selected; auxiliary features are
    computed and standardised. The mean and deviation are buffers, so they travel with a
    checkpoint and with an exported model.

    Args:
        metadata: what describes the data set.
        settings: what is done; None: nothing is derived, selected or added.

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
        """Prepare a batch.

        Args:
            images: stored pixels.
            scale_factors: spec_min and spec_max in dB.

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

        Args:
            images: stored pixels of the samples.
            scale_factors: their spec_min and spec_max in dB.
        """
        if self.auxiliary_size:
            # float64 sums, since levels in dB are large compared with their deviation.
            raw = self.auxiliary(images, scale_factors).double()
            deviation = raw.std(dim=0, correction=0)
            deviation = torch.where(deviation < MIN_DEVIATION, 1.0, deviation)
            self.auxiliary_mean.copy_(raw.mean(dim=0))
            self.auxiliary_deviation.copy_(deviation)
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
        deviation = (squares / count - mean.square()).clamp(min=0).sqrt()
        deviation = torch.where(deviation < MIN_DEVIATION, 1.0, deviation)
        self.channel_mean.copy_(mean[:, None, None])
        self.channel_deviation.copy_(deviation[:, None, None])
