"""Names of data sets, written and read back."""

import math
import re
from dataclasses import dataclass

import numpy as np

from src.vimh.errors import VIMHError

_FORM = (
    "[avix-]vimh-{H}x{W}x{C}_{rate}Hz_{duration}s_{size}dss_{synth}_{P}p"
    "[_temporal|_spectral|_envelopes|_normalized|_normalized_temporal|_normalized_spectral]"
    "[_dscale][_shuffled]"
)
# `synth` is greedy: "simple_3p_3p" is the recipe simple_3p with 3 parameters.
_PATTERN = re.compile(
    r"(?P<avix>avix-)?vimh-(?P<height>\d{1,18})x(?P<width>\d{1,18})x(?P<channels>\d{1,18})"
    r"_(?P<sample_rate>\d{1,18})Hz_(?P<duration>\d{1,18}(?:p\d{1,18})?)s_(?P<size>\d{1,18})dss"
    r"_(?P<synth>[A-Za-z0-9_-]+)_(?P<num_parameters>\d{1,18})p"
    r"(?P<channel_suffix>_temporal|_spectral|_envelopes"
    r"|_normalized_temporal|_normalized_spectral|_normalized)?"
    r"(?P<dataset_scale>_dscale)?(?P<shuffled>_shuffled)?"
)
_SIZE = re.compile(r"(?<![\dx])(\d{1,18})x(\d{1,18})x(\d{1,18})(?![\dx])")
# (temporal envelope, spectral envelope, normalised) -> suffix
_SUFFIXES = {
    (False, False, False): "",
    (True, False, False): "_temporal",
    (False, True, False): "_spectral",
    (True, True, False): "_envelopes",
    (True, True, True): "_normalized",
    (True, False, True): "_normalized_temporal",
    (False, True, True): "_normalized_spectral",
}
_SWITCHES = {suffix: switches for switches, suffix in _SUFFIXES.items()}


@dataclass(frozen=True, kw_only=True)
class DatasetName:
    """The parts of a synthesised data set's name; `str()` writes the name.

    Raises:
        VIMHError: `normalize` without an envelope, or a value that cannot be in a name.

    Example:
        >>> name = DatasetName.parse("avix-vimh-32x32x1_8000Hz_1p0s_72dss_simple_2p_shuffled")
        >>> name.size, name.duration_s, name.synth, name.avix
        (72, 1.0, 'simple', True)
        >>> str(name)
        'avix-vimh-32x32x1_8000Hz_1p0s_72dss_simple_2p_shuffled'
    """

    height: int
    width: int
    channels: int
    sample_rate: float  # in Hz, whole
    duration_s: float
    size: int  # number of samples
    synth: str  # the recipe's `dataset.name`
    num_parameters: int  # that vary
    avix: bool = False  # whether the samples are a complete grid
    temporal_envelope: bool = False  # whether there are such channels
    spectral_envelope: bool = False
    normalize: bool = False  # whether the base channels are divided by the envelopes
    dataset_scale: bool = False  # whether one dB range serves all images
    shuffled: bool = False

    def __post_init__(self) -> None:
        if (self.temporal_envelope, self.spectral_envelope, self.normalize) not in _SUFFIXES:
            raise VIMHError("normalize needs temporal_envelope or spectral_envelope (or both)")
        if self.sample_rate != int(self.sample_rate):
            raise VIMHError(
                f"the sample rate must be a whole number of Hz, found {self.sample_rate!r}"
            )
        if not math.isfinite(self.duration_s) or self.duration_s <= 0:
            raise VIMHError(f"the duration must be positive, found {self.duration_s!r} s")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", self.synth):
            raise VIMHError(
                f"the synthesiser's name must be of letters, digits, _ and -, found {self.synth!r}"
            )

    def __str__(self) -> str:
        duration = np.format_float_positional(float(self.duration_s), trim="0").replace(".", "p")
        suffix = _SUFFIXES[(self.temporal_envelope, self.spectral_envelope, self.normalize)]
        return (
            f"{'avix-' * self.avix}vimh-{self.height}x{self.width}x{self.channels}"
            f"_{int(self.sample_rate)}Hz_{duration}s_{self.size}dss_{self.synth}"
            f"_{self.num_parameters}p{suffix}{'_dscale' * self.dataset_scale}"
            f"{'_shuffled' * self.shuffled}"
        )

    @classmethod
    def parse(cls, name: str) -> "DatasetName":
        """Read a name back.

        Raises:
            VIMHError: The name has another form.
        """
        match = _PATTERN.fullmatch(name)
        if match is None:
            raise VIMHError(f"the data set name {name!r} is not of the form {_FORM}")
        temporal, spectral, normalize = _SWITCHES[match["channel_suffix"] or ""]
        whole = ("height", "width", "channels", "sample_rate", "size", "num_parameters")
        return cls(
            **{key: int(match[key]) for key in whole},
            duration_s=float(match["duration"].replace("p", ".")),
            synth=match["synth"],
            avix=match["avix"] is not None,
            temporal_envelope=temporal,
            spectral_envelope=spectral,
            normalize=normalize,
            dataset_scale=match["dataset_scale"] is not None,
            shuffled=match["shuffled"] is not None,
        )


def named_image_size(name: str) -> tuple[int, int, int] | None:
    """Return (height, width, channels) from any name that holds them as HxWxC, else None.

    Example:
        >>> named_image_size("vimh-32x32x3_8000Hz_1p0s_256dss_resonarium_2p"), named_image_size("x")
        ((32, 32, 3), None)
    """
    match = _SIZE.search(name)
    return None if match is None else (int(match[1]), int(match[2]), int(match[3]))
