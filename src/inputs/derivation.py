"""The channels that a network sees: those of the data set, those derived on the fly, or some."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from jaxtyping import Float
from torch import Tensor

from src.inputs import channels
from src.inputs.preparation_settings import PreparationSettings
from src.utils.errors import ConfigError


@dataclass(frozen=True)
class Derivation:
    """Which channels are derived of a data set's own.

    Attributes:
        labels: of all channels: base, stored derived ones, newly derived ones.
        num_base: stored channels that are no derivation themselves; they come first.
        feature_types: of the channels to derive, for each base channel.
        normalize_spectrogram: whether base channels are divided by their envelopes.
        kernel_size: points of the envelopes' moving average; None: 5 over time, 7 over frequency.
        eps: keeps an empty row or column at 0.
    """

    labels: tuple[str, ...]
    num_base: int
    feature_types: tuple[str, ...]
    normalize_spectrogram: bool
    kernel_size: int | None
    eps: float

    @classmethod
    def of(cls, stored: tuple[str, ...], settings: PreparationSettings) -> "Derivation":
        """Plan the derivation for the stored channels' labels.

        Raises:
            ConfigError: There is no channel to derive of, or one would be made twice.
        """
        config = settings.feature_config or {}
        feature_types = tuple(settings.feature_types or ())
        normalize = bool(config.get("normalize_spectrogram"))
        kernel_size, eps = config.get("kernel_size"), config.get("eps")
        num_base = sum(not channels.is_derived(label) for label in stored)
        base, derived = stored[:num_base], stored[num_base:]
        if any(map(channels.is_derived, base)):
            raise ConfigError(
                f"the data set's channels {list(stored)} are not ordered base channels first"
            )
        derives = normalize or bool(feature_types)
        if derives and not base:
            raise ConfigError(
                f"data.feature_types and data.feature_config derive channels from an un-normalised "
                f"one, but this data set has only {list(stored)}: leave both null, or name a data "
                "set that was generated without --normalize"
            )
        appended = channels.appended_labels(base, feature_types, normalize_spectrogram=normalize)
        labels = (*appended[:num_base], *derived, *appended[num_base:])
        if derives and len(set(labels)) < len(labels):
            raise ConfigError(
                f"data.feature_types {list(feature_types)} would make channels twice, the data "
                f"set holds {list(stored)} already: leave them out"
            )
        eps = float(channels.EPS if eps is None else eps)
        return cls(labels, num_base, feature_types, normalize, kernel_size, eps)

    def __call__(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        """Append the derived channels to stored ones in 0…1, which are normalised if asked."""
        if not self.feature_types and not self.normalize_spectrogram:
            return images
        base, derived = images.split([self.num_base, images.shape[1] - self.num_base], dim=1)
        appended = channels.append_features(
            base,
            self.feature_types,
            normalize_spectrogram=self.normalize_spectrogram,
            kernel_size=self.kernel_size,
            eps=self.eps,
        )
        return torch.cat([appended[:, : self.num_base], derived, appended[:, self.num_base :]], 1)


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
