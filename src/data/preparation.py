"""Stored bytes to what the network sees: one module, on the device, saved with the model."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from typing_extensions import TypedDict  # pydantic reads typing's only from Python 3.12 on

from src.data import features
from src.data.augmentation import Augmentation
from src.inputs.batch import Batch, RawBatch
from src.schema.bounds import OptionalSize, Positive, Size
from src.synth import channels
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata

MAX_FIT_SAMPLES = 16384
MIN_DEVIATION = 1e-8
AUGMENTATION_KEYS = ("crop_padding", "flip", "normalise")
SMOOTHED = ("temporal_envelope", "spectral_envelope")
# What reads a key of `feature_config`.
READ_BY = {
    "kernel_size": "normalize_spectrogram=true and the envelopes of data.feature_types do",
    "eps": "normalize_spectrogram=true does",
}
DERIVED_SUFFIXES = ("_normalized", "_temporal_envelope", "_spectral_envelope")


class FeatureConfig(TypedDict, total=False):
    """How channels are derived; null: the default."""

    normalize_spectrogram: bool | None
    kernel_size: Size | None
    eps: Positive | None


class AugmentationConfig(TypedDict, total=False):
    """What is done to natural images; null: nothing."""

    crop_padding: OptionalSize | None
    flip: bool | None
    normalise: bool | None


class Preparation(nn.Module):
    """Makes the network's input of the stored bytes, a batch at once.

    Pixels become float32 in 0…1; channels are derived and selected; auxiliary features are
    computed and standardised. The mean and deviation are buffers, so they travel with a
    checkpoint and with an exported model.

    Args:
        metadata: what describes the data set.
        feature_types: channels to derive on the fly, out of `src.synth.channels.FEATURE_TYPES`.
        feature_config: `normalize_spectrogram` (False), `kernel_size` (5 over time and 7 over
            frequency), `eps` (1e-8) of the derivations.
        auxiliary_features: out of `src.data.features.AUXILIARY_FEATURES`.
        channel_selection: labels or glob patterns of the channels to keep, in their order; None
            keeps all.
        augmentation: of natural images: `crop_padding` and `flip`
            (:class:`~src.data.augmentation.Augmentation`, in training only), and `normalise`: each
            channel less its mean, over its deviation, both of the training samples. None: nothing.

    Raises:
        ConfigError: An unknown feature, key or channel, or a feature that this data set lacks the
            channels or times for.

    Example:
        >>> metadata = Metadata.from_json({
        ...     "height": 2, "width": 3, "channels": 1, "parameter_names": ["p"],
        ...     "parameter_mappings": {"p": {"min": 0.0, "max": 1.0, "step": 0.5}},
        ...     "sample_rate": 8000})
        >>> prepare = Preparation(metadata, auxiliary_features=["level"])
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

    def __init__(
        self,
        metadata: Metadata,
        *,
        feature_types: Sequence[str] | None = None,
        feature_config: FeatureConfig | None = None,
        auxiliary_features: Sequence[str] | None = None,
        channel_selection: Sequence[str] | None = None,
        augmentation: AugmentationConfig | None = None,
    ) -> None:
        super().__init__()
        self.stored_shape = metadata.image_shape
        self.feature_types = tuple(feature_types or ())
        self.auxiliary_features = tuple(auxiliary_features or ())
        self.auxiliary_names = features.feature_names(self.auxiliary_features)
        self._set_derivations(metadata.channel_labels, feature_config)
        self._set_selection(channel_selection)
        self._set_decay_source(metadata)
        if self.auxiliary_names and metadata.sample_rate is None:
            raise ConfigError(
                f"data.auxiliary_features is {list(self.auxiliary_features)}, and this data set "
                "holds images: their bytes are no levels in dB; set data.auxiliary_features=null"
            )
        self.register_buffer("auxiliary_mean", torch.zeros(len(self.auxiliary_names)))
        self.register_buffer("auxiliary_deviation", torch.ones(len(self.auxiliary_names)))
        self._set_augmentation(metadata, augmentation or {})

    def _set_augmentation(self, metadata: Metadata, config: Mapping[str, Any]) -> None:
        if unknown := sorted(config.keys() - set(AUGMENTATION_KEYS)):
            raise ConfigError(
                f"data.augmentation has the unknown keys {unknown}; there are "
                f"{', '.join(AUGMENTATION_KEYS)}"
            )
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

    def _set_derivations(
        self, labels: tuple[str, ...], feature_config: Mapping[str, Any] | None
    ) -> None:
        config = dict(feature_config or {})
        try:
            channels.check_feature_config(self.feature_types, config)
        except ValueError as error:
            raise ConfigError(f"data.{error}") from error
        self.normalize_spectrogram = bool(config.get("normalize_spectrogram") or False)
        self.kernel_size: int | None = config.get("kernel_size")
        self.eps = float(channels.EPS if config.get("eps") is None else config["eps"])
        if self.kernel_size is not None and (self.kernel_size < 1 or self.kernel_size % 2 == 0):
            raise ConfigError(
                f"data.feature_config.kernel_size is {self.kernel_size}; expected an odd number"
            )
        if not self.eps > 0:
            raise ConfigError(f"data.feature_config.eps is {self.eps}; expected more than 0")
        # Features are taken of the channels that are no derivation themselves.
        self.num_base = sum(not label.endswith(DERIVED_SUFFIXES) for label in labels)
        base, derived = labels[: self.num_base], labels[self.num_base :]
        if any(label.endswith(DERIVED_SUFFIXES) for label in base):
            raise ConfigError(
                f"the data set's channels {list(labels)} are not ordered base channels first"
            )
        self.derives = bool(self.feature_types) or self.normalize_spectrogram
        self._check_read(config)
        if not self.derives:
            self.all_labels = labels
            return
        if not base:
            raise ConfigError(
                f"data.feature_types and data.feature_config derive channels from an un-normalised "
                f"one, but this data set has only {list(labels)}: leave both null, or name a data "
                "set that was generated without --normalize"
            )
        appended = channels.appended_labels(
            base, self.feature_types, normalize_spectrogram=self.normalize_spectrogram
        )
        self.all_labels = (*appended[: len(base)], *derived, *appended[len(base) :])
        if len(set(self.all_labels)) < len(self.all_labels):
            raise ConfigError(
                f"data.feature_types {list(self.feature_types)} would make channels twice, the "
                f"data set holds {list(labels)} already: leave them out"
            )

    def _check_read(self, config: Mapping[str, Any]) -> None:
        """Refuse a setting that no derivation reads; one at its default says nothing.

        Raises:
            ConfigError: Naming the key.
        """
        smoothed = any(name in SMOOTHED for name in self.feature_types)
        read = {
            "kernel_size": smoothed or self.normalize_spectrogram,
            "eps": self.normalize_spectrogram,
        }
        defaults = {"kernel_size": None, "eps": channels.EPS}
        for key, is_read in read.items():
            value = config.get(key)
            if not is_read and value is not None and value != defaults[key]:
                raise ConfigError(
                    f"data.feature_config.{key} is {value}, and nothing reads it: "
                    f"{READ_BY[key]}; set that, or data.feature_config.{key}=null"
                )

    def _set_selection(self, patterns: Sequence[str] | None) -> None:
        chosen = select_channels(self.all_labels, patterns)
        self.selects = chosen != list(range(len(self.all_labels)))
        self.channel_labels = tuple(self.all_labels[k] for k in chosen)
        self.register_buffer("selection", torch.tensor(chosen), persistent=False)

    def _set_decay_source(self, metadata: Metadata) -> None:
        """Where the decay is fitted: the first un-normalised channel, else an envelope."""
        labels = metadata.channel_labels
        self.decay_channel, self.decay_from_base, self.hop_s = 0, True, 0.0
        if "decay_time" not in self.auxiliary_features:
            return
        base = [k for k, label in enumerate(labels) if not label.endswith(DERIVED_SUFFIXES)]
        envelopes = [k for k, label in enumerate(labels) if label.endswith("_temporal_envelope")]
        if not base and not envelopes:
            raise ConfigError(
                "data.auxiliary_features: decay_time needs an un-normalised channel or a "
                f"temporal envelope, but the data set has {list(labels)}"
            )
        self.decay_from_base = bool(base)
        self.decay_channel = (base or envelopes)[0]
        try:
            self.hop_s = metadata.hop_s
        except VIMHError as error:
            raise ConfigError(
                f"data.auxiliary_features: decay_time needs the time of a frame ({error})"
            ) from error

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of a prepared image, (C, H, W)."""
        return (len(self.channel_labels), *self.stored_shape[1:])

    @property
    def auxiliary_size(self) -> int:
        """Number of auxiliary features A."""
        return len(self.auxiliary_names)

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
        raw = self.raw_auxiliary(images, scale_factors)
        return prepared, (raw - self.auxiliary_mean) / self.auxiliary_deviation

    def prepare_batch(self, raw: RawBatch) -> Batch:
        """Prepare what the loader gives; values pass through."""
        images, auxiliary = self(self.augment(raw.images), raw.scale_factors)
        return Batch(images, raw.values, auxiliary)

    def _images(self, images: UInt8[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        """Bytes to 0…1, with the derived channels, and of all these the selected ones."""
        prepared = images.to(torch.float32) / 255.0
        if self.derives:
            prepared = self._derive(prepared)
        return prepared.index_select(1, self.selection) if self.selects else prepared

    def _derive(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        """Base channels (normalised if asked), stored derived ones, then the new ones."""
        appended = channels.append_features(
            images[:, : self.num_base],
            self.feature_types,
            normalize_spectrogram=self.normalize_spectrogram,
            kernel_size=self.kernel_size,
            eps=self.eps,
        )
        return torch.cat(
            [
                appended[:, : self.num_base],
                images[:, self.num_base :],
                appended[:, self.num_base :],
            ],
            dim=1,
        )

    def raw_auxiliary(
        self, images: UInt8[Tensor, "B C H W"], scale_factors: Float[Tensor, "B 2"]
    ) -> Float[Tensor, "B A"]:
        """Auxiliary features in their own units, not standardised."""
        columns = []
        for feature in self.auxiliary_features:
            match feature:
                case "decay_time":
                    columns.append(self._decay(images, scale_factors))
                case "level":
                    columns.append(scale_factors[:, 1:2])
                case "range":
                    columns.append(scale_factors[:, 1:2] - scale_factors[:, 0:1])
        return torch.cat(columns, dim=1)

    def _decay(self, images: Tensor, scale_factors: Tensor) -> Tensor:
        pixels = images[:, self.decay_channel].to(torch.float32)
        if self.decay_from_base:
            return features.decay_from_image(features.to_db(pixels, scale_factors), self.hop_s)
        # The envelope is the same at every frequency: the lowest row is as good as any.
        return features.decay_from_envelope(pixels[:, 0], scale_factors, self.hop_s)

    @torch.no_grad()
    def fit(
        self, images: UInt8[Tensor, "N C H W"], scale_factors: Float[Tensor, "N 2"]
    ) -> "Preparation":
        """Take mean and deviation of auxiliary features and channels from training samples.

        A deviation under 1e-8 counts as 1: what does not vary is only centred.

        Args:
            images: stored pixels of the samples.
            scale_factors: their spec_min and spec_max in dB.
        """
        if self.auxiliary_size:
            # float64 sums: the level of a quiet data set is large beside its deviation.
            raw = self.raw_auxiliary(images, scale_factors).double()
            deviation = raw.std(dim=0, correction=0)
            deviation = torch.where(deviation < MIN_DEVIATION, 1.0, deviation)
            self.auxiliary_mean.copy_(raw.mean(dim=0))
            self.auxiliary_deviation.copy_(deviation)
        if self.normalises:
            self._fit_channels(images)
        return self

    def _fit_channels(self, images: UInt8[Tensor, "N C H W"]) -> None:
        """In pieces, for as floats all of the images would be large."""
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


def select_channels(labels: Sequence[str], patterns: Sequence[str] | None) -> list[int]:
    """Positions of the channels that the patterns name, in the patterns' order, each once.

    Args:
        labels: the channels there are.
        patterns: labels or glob patterns (`*`, `?`, `[…]`); None: all channels.

    Raises:
        ConfigError: A pattern matches no channel.

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
