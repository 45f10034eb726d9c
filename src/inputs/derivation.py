"""The channels that a network sees: those of the data set, those derived on the fly, or some."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

import torch
from jaxtyping import Float
from torch import Tensor

from src.inputs import channels
from src.inputs.preparation_settings import PreparationSettings
from src.utils.errors import ConfigError


class Derivation:
    """Derives channels of a data set's own.

    Args:
        stored: the labels of the data set's channels.
        settings: name what to derive, and how.

    Raises:
        ConfigError: There is no channel to derive of, or one would be made twice.

    Attributes:
        labels: of all channels: base, stored derived ones, newly derived ones.
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

    Args:
        labels: the channels there are.
        patterns: labels or glob patterns (`*`, `?`, `[…]`); None: all channels.

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
