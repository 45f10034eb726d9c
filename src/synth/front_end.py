"""What turns sounds into images in dB, and what it says of their rows and columns.

A new front end is a subclass of :class:`FrontEnd` and a file in `configs/stft/` that names it by
``_target_``. Those of this project are in :mod:`src.synth.spectrogram` and
:mod:`src.synth.cqt`.
"""

from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass, fields

import numpy as np
from jaxtyping import Float32, Float64
from torch import nn

from src.schema.specs import TARGET
from src.vimh.errors import VIMHError

DEFAULT_FLOOR_DB = -200.0
# Arguments that no front end has in its own config: the recipe says them.
OF_THE_RECIPE = ("sample_rate_hz", "height", "width", "pre_emphasis_coefficient")


@dataclass(frozen=True)
class FrontEnd(ABC):
    """Sounds in, an image in dB of each out: rows are frequencies (low to high), columns times.

    A subclass is a frozen dataclass whose further fields, all by keyword, are its settings. It
    treats every sound by itself, so that one sound has the same bits alone and in a batch.

    Attributes:
        sample_rate_hz: samples a second.
        height: rows of the image.
        width: columns of the image; the first ones of a longer sound.
        pre_emphasis_coefficient: c in ``y[n] = x[n] - c·x[n-1]``, before anything else; 0: none.
        floor_db: level that quieter parts count as.
    """

    sample_rate_hz: int
    height: int
    width: int
    _: KW_ONLY
    pre_emphasis_coefficient: float = 0.0
    floor_db: float = DEFAULT_FLOOR_DB

    @property
    @abstractmethod
    def row_hz(self) -> Float64[np.ndarray, "H"]:
        """Centre frequency of each row in Hz, rising."""

    @property
    @abstractmethod
    def hop_s(self) -> float:
        """Time from column to column in s."""

    @property
    @abstractmethod
    def num_samples(self) -> int:
        """Samples of the shortest sound; of a longer one, what comes after them is not heard."""

    @abstractmethod
    def __call__(self, audio: Float32[np.ndarray, "B T"]) -> Float32[np.ndarray, "B H W"]:
        """Transform a batch.

        Raises:
            VIMHError: if the sounds are too short.
        """

    def transform(self) -> nn.Module:
        """Return the same as a torch module of operators that any runtime of ONNX has.

        It maps float32 sounds (B, T) of any length to images in dB (B, H, W); shorter ones are
        padded with silence, longer ones cut. :mod:`src.synth.transforms` has what it is made of.

        Raises:
            VIMHError: if this front end has none.
        """
        raise VIMHError(
            f"{type(self).__qualname__} has no transform() that could be exported; "
            "docs/own_code.md says what one is"
        )

    @property
    def frame_s(self) -> Float64[np.ndarray, "W"]:
        """Time at which each column begins in s."""
        return np.arange(self.width) * self.hop_s

    @property
    def block_numbers(self) -> int:
        """Numbers that the transform of one sound holds; decides how many are made at a time."""
        return max(self.height * self.width, self.num_samples)

    @abstractmethod
    def check(self) -> None:
        """Refuse settings that make no image of this size.

        Raises:
            VIMHError: naming the key, what was found and what is expected.
        """

    def check_length(self, num_samples: int) -> None:
        """Refuse a sound that is too short for the image.

        Raises:
            VIMHError: naming the frames there are and those that are needed.
        """
        missing = self.num_samples - num_samples
        if missing > 0:
            hop = round(self.hop_s * self.sample_rate_hz)
            frames = max(0, self.width - -(-missing // hop))
            raise VIMHError(
                f"a signal of {num_samples} samples gives {frames} frames{self._framing}, the "
                f"image needs {self.width}"
            )

    @property
    def _framing(self) -> str:
        """The settings that decide how many frames a sound gives, in brackets, for a message."""
        return ""

    def heard_samples(self, duration_s: float) -> int:
        """Return the samples of a window of so many seconds, but no fewer than an image needs."""
        return max(round(duration_s * self.sample_rate_hz), self.num_samples)

    def emphasised(self, audio: Float32[np.ndarray, "B T"]) -> Float32[np.ndarray, "B S"]:
        """Return the sounds after pre-emphasis, as far as the image needs them."""
        heard = audio[:, : self.num_samples]
        if not self.pre_emphasis_coefficient:
            return heard
        result = heard.astype(np.float64)
        result[:, 1:] -= self.pre_emphasis_coefficient * heard[:, :-1].astype(np.float64)
        return result.astype(np.float32)

    def to_json(self) -> tuple[dict[str, object], dict[str, float]]:
        """Return the metadata's `spectrogram_config`, and what it has of `mel_config`."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in OF_THE_RECIPE}
        cls = type(self)
        target = f"{cls.__module__}.{cls.__qualname__}"
        return {TARGET: target, "sample_rate": self.sample_rate_hz, **own}, {}
