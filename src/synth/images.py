"""From sounds to the bytes of their images: one code path for generating and for prediction."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from src.inputs.channels import (
    appended_labels,
    normalise_by_envelopes,
    spectral_envelope,
    stretch,
    temporal_envelope,
)
from src.synth.front_end import FrontEnd
from src.synth.settings import front_end_of
from src.vimh.errors import VIMHError
from src.vimh.layout import NO_SCALE_FACTORS
from src.vimh.metadata import Metadata, default_channel_labels

STEREO_LABELS = ("Left", "Right")
WHITE = 255.0  # the largest byte: the level of spec_max
SCALE_RANGE_KEY = "scale_range_db"  # metadata: the range that all images share, for scale: dataset


@dataclass(frozen=True)
class ImageMaker:
    """Audio in, uint8 images with their derived channels and scale factors out.

    The dB image is scaled from its own minimum…maximum (or from `scale_range_db`) to 0…255,
    which is S. Channels in order: S (with `normalize`: ``S/(T + ε)/(F + ε)`` over its own range),
    T (`temporal_envelope`), F (`spectral_envelope`), each as often as there are base channels;
    rounded half to even. Computed in float32, derived channels in float64, each sample by itself,
    so that the same audio gives the same bytes in any batch.

    Raises:
        VIMHError: for `normalize` without an envelope, and for `stereo` with one.
    """

    front_end: FrontEnd  # audio to dB
    base_channels: int = 1  # how often the image itself is there (3: replicated, as R, G, B)
    temporal_envelope: bool = False  # whether T is a channel
    spectral_envelope: bool = False  # whether F is a channel
    # Whether S is divided by both envelopes; needs one of them as a channel, because the scale
    # factors no longer apply to S then.
    normalize: bool = False
    scale_range_db: tuple[float, float] | None = None  # of all images; None: each image's own
    stereo: bool = False  # whether sounds have a left and a right, each a channel over one range

    def __post_init__(self) -> None:
        if self.base_channels < 1:
            raise VIMHError(f"image.channels must be positive, got {self.base_channels}")
        if self.normalize and not (self.temporal_envelope or self.spectral_envelope):
            raise VIMHError("normalize needs temporal_envelope or spectral_envelope (or both)")
        if self.stereo and (
            self.base_channels > 1 or self.temporal_envelope or self.spectral_envelope
        ):
            raise VIMHError("stereo images have two channels, left and right, and no others")

    @cached_property
    def channel_labels(self) -> tuple[str, ...]:
        """One label a channel."""
        if self.stereo:
            return STEREO_LABELS
        base = default_channel_labels(self.base_channels)
        derived = ["temporal_envelope"] * self.temporal_envelope
        derived += ["spectral_envelope"] * self.spectral_envelope
        return appended_labels(base, derived, normalize_spectrogram=self.normalize)

    @cached_property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return len(self.channel_labels), self.front_end.height, self.front_end.width

    def __call__(
        self, audio: Float32[np.ndarray, "B *S T"]
    ) -> tuple[UInt8[np.ndarray, "B C H W"], Float32[np.ndarray, "B 2"]]:
        """Images and their scale factors `spec_min`, `spec_max` in dB; S is 2 for stereo sounds.

        Raises:
            VIMHError: if the signals are too short for the image.
        """
        db = self.front_end(audio.reshape(-1, audio.shape[-1]))
        return self.from_db(db.reshape(len(audio), -1, *db.shape[1:]))

    def from_db(
        self, db: Float32[np.ndarray, "B S H W"]
    ) -> tuple[UInt8[np.ndarray, "B C H W"], Float32[np.ndarray, "B 2"]]:
        """Make images and scale factors from spectrograms in dB, of a sound or its two sides."""
        assert db.shape[1] == 1 + self.stereo
        # In torch, which takes a third of NumPy's time for arrays that are broadcast; into memory
        # of NumPy's.
        scaled, scale_factors = self._scale(torch.from_numpy(db), np.empty_like(db))
        if not (self.temporal_envelope or self.spectral_envelope):
            images = np.empty((len(scaled), *self.image_shape), np.uint8)
            images[:] = scaled.round_().numpy()  # torch rounds half to even, as numpy does
            return images, scale_factors.numpy()
        return self._derive(scaled[:, 0]).numpy(), scale_factors.numpy()

    def images_of(
        self, db: Float32[Tensor, "B S H W"]
    ) -> tuple[UInt8[Tensor, "B C H W"], Float32[Tensor, "B 2"]]:
        """Make the same of tensors, by operations that can be exported."""
        scaled, scale_factors = self._scale(db)
        if self.temporal_envelope or self.spectral_envelope:
            return self._derive(scaled[:, 0]), scale_factors
        images = scaled.round().to(torch.uint8)
        return images.expand(-1, self.image_shape[0], -1, -1), scale_factors

    def _scale(
        self, db: Float32[Tensor, "B S H W"], memory: np.ndarray | None = None
    ) -> tuple[Float[Tensor, "B S H W"], Float32[Tensor, "B 2"]]:
        """The image before rounding, 0…255, and the dB of 0 and of 255. A constant image is 0.

        It is written into `memory`, where that is given.
        """
        if self.scale_range_db is None:
            low, high = (f((1, 2, 3), keepdim=True) for f in (db.amin, db.amax))
        else:
            low, high = (db.new_full((db.shape[0], 1, 1, 1), edge) for edge in self.scale_range_db)
        span = high - low
        scaled = torch.sub(db, low, out=None if memory is None else torch.from_numpy(memory))
        scaled *= WHITE / span.where(span > 0, 1.0)
        if self.scale_range_db is not None:  # a sound from elsewhere may lie outside the range
            scaled = scaled.clamp_(0.0, WHITE)
        return scaled, torch.cat([low, high], dim=1)[:, :, 0, 0]

    def _derive(self, scaled: Float[Tensor, "B H W"]) -> UInt8[Tensor, "B C H W"]:
        s = scaled.double()
        t, f = temporal_envelope(s), spectral_envelope(s)
        base = stretch(normalise_by_envelopes(s, t, f), top=WHITE) if self.normalize else s
        kept = [base]
        kept += [t] if self.temporal_envelope else []
        kept += [f] if self.spectral_envelope else []
        channels = torch.stack([c for c in kept for _ in range(self.base_channels)], dim=1)
        return channels.round().to(torch.uint8)

    @classmethod
    def from_metadata(cls, metadata: Metadata) -> "ImageMaker":
        """Build the image maker of a data set, from its JSON (the channels by their labels).

        Raises:
            VIMHError: if the JSON does not say how the images were made.
        """
        labels = metadata.channel_labels
        temporal = any(label.endswith("_temporal_envelope") for label in labels)
        spectral = any(label.endswith("_spectral_envelope") for label in labels)
        shared = metadata.raw.get(SCALE_RANGE_KEY)
        stereo = labels == STEREO_LABELS
        maker = cls(
            front_end=front_end_of(metadata),
            base_channels=1 if stereo else len(labels) // (1 + temporal + spectral),
            temporal_envelope=temporal,
            spectral_envelope=spectral,
            normalize=any(label.endswith("_normalized") for label in labels),
            scale_range_db=None if shared is None else (float(shared[0]), float(shared[1])),
            stereo=stereo,
        )
        if len(maker.channel_labels) != len(labels):
            raise VIMHError(
                f"data set {metadata.dataset_name}: channel_labels {list(labels)} are not those of "
                f"a generated image, expected {list(maker.channel_labels)}"
            )
        return maker


def level_range(scale_factors: Float32[np.ndarray, "2"]) -> tuple[float, float] | None:
    """Return the dB of the bytes 0 and 255 of an image; None where its record does not say them.

    Example:
        >>> level_range(np.array([-80, -3], dtype=np.float32))
        (-80.0, -3.0)
    """
    low, high = scale_factors.tolist()
    known = (low, high) != tuple(map(float, NO_SCALE_FACTORS))
    return (low, high) if known and np.isfinite(high - low) and low < high else None
