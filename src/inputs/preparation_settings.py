"""The settings that decide what a network sees of the stored bytes: the one list of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated

from annotated_types import Len
from typing_extensions import TypedDict  # pydantic reads typing's only from Python 3.12 on

from src.inputs.auxiliary import AUXILIARY_FEATURES
from src.inputs.channels import EPS, FEATURE_TYPES, SMOOTHED
from src.schema.arguments import section
from src.schema.bounds import OneOf, OptionalSize, Positive, Size, Text
from src.utils.errors import ConfigError


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


FeatureTypes = Sequence[Annotated[str, OneOf(FEATURE_TYPES)]]
AuxiliaryFeatureNames = Sequence[Annotated[str, OneOf(tuple(AUXILIARY_FEATURES))]]
ChannelPatterns = Annotated[Sequence[Text], Len(1, 65_536)]


@dataclass(frozen=True)
class PreparationSettings:
    """The arguments of :class:`~src.inputs.preparation.Preparation` that no data set decides.

    The fields are the data module's arguments of these names and the keys of `data` in a config
    and in a checkpoint. None: nothing is done.

    Raises:
        ConfigError: A feature or key is unknown, a value is out of its range, or nothing reads it.
    """

    feature_types: FeatureTypes | None = None  # channels to derive on the fly
    # `normalize_spectrogram` (False), `kernel_size` (5 over time, 7 over frequency), `eps` (1e-8).
    feature_config: FeatureConfig | None = None
    auxiliary_features: AuxiliaryFeatureNames | None = None  # numbers beside the image
    # Labels or glob patterns of the channels to keep, in their order; None keeps all.
    channel_selection: ChannelPatterns | None = None
    # Of natural images: `crop_padding` and `flip` in training only, and `normalise`: each channel
    # less its mean, over its deviation, both of the training samples.
    augmentation: AugmentationConfig | None = None

    @classmethod
    def of(cls, data: Mapping[str, object]) -> "PreparationSettings":
        """Check and keep the settings among the keys of a config's or a checkpoint's `data`.

        Raises:
            ConfigError: A value is of another type or out of its bounds.
        """
        own = (field.name for field in fields(cls))
        given = {key: data[key] for key in own if data.get(key) is not None}
        return section(cls, given, "data")

    def __post_init__(self) -> None:
        _check_known("feature_types", self.feature_types or (), FEATURE_TYPES)
        names = self.auxiliary_features or ()
        _check_known("auxiliary_features", names, AUXILIARY_FEATURES)
        if len(set(names)) < len(names):
            raise ConfigError(f"data.auxiliary_features: {list(names)} names a feature twice")
        self._check_feature_config()
        _check_known("augmentation", self.augmentation or (), AugmentationConfig.__annotations__)

    def _check_feature_config(self) -> None:
        config = self.feature_config or {}
        _check_known("feature_config", config, FeatureConfig.__annotations__)
        size, eps = config.get("kernel_size"), config.get("eps")
        if size is not None and (size < 1 or size % 2 == 0):
            raise ConfigError(f"data.feature_config.kernel_size is {size}; expected an odd number")
        if eps is not None and not eps > 0:
            raise ConfigError(f"data.feature_config.eps is {eps}; expected more than 0")
        normalizes = config.get("normalize_spectrogram")
        smooths = normalizes or not SMOOTHED.isdisjoint(self.feature_types or ())
        if size is not None and not smooths:
            raise _unread(
                f"kernel_size is {size}",
                "normalize_spectrogram=true and the envelopes of data.feature_types do",
            )
        if eps not in (None, EPS) and not normalizes:
            raise _unread(f"eps is {eps}", "normalize_spectrogram=true does")


def _check_known(key: str, given: Collection[str], known: Collection[str]) -> None:
    if unknown := [name for name in given if name not in known]:
        raise ConfigError(
            f"data.{key} has the unknown {', '.join(map(repr, unknown))}; there are "
            f"{', '.join(known)}"
        )


def _unread(setting: str, readers: str) -> ConfigError:
    key = setting.partition(" ")[0]
    return ConfigError(
        f"data.feature_config.{setting}, and nothing reads it: {readers}; set that, or "
        f"data.feature_config.{key}=null"
    )
