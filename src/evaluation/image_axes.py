"""How a VIMH image is drawn: sounds upwards in Hz and along in seconds, others as they are."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from src.synth.spectrogram import MelSection
from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata

MAX_PANELS = 12  # 65,535 channels are possible; a panel takes some 20 ms and 1 MB
MAX_SIDE = 1024  # pixels drawn of a side: a larger image is thinned out
COLOUR = {("R", "G", "B"), ("R", "G", "B", "A")}


def plain_texts(figure: Figure) -> Figure:
    """Has a figure's texts drawn as they are: a ``$`` in a name begins no formula.

    Args:
        figure: Whose texts are there; not one with logarithmic axes, whose numbers are formulas.
    """
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    return figure


@dataclass(frozen=True)
class ImageAxes:
    """Draws the images of one data set.

    Attributes:
        metadata: what describes the data set.
    """

    metadata: Metadata

    @property
    def is_sound(self) -> bool:
        """Whether the metadata say what a row and a column of an image are."""
        config = self.metadata.spectrogram_config
        needed = (config.get("n_fft"), config.get("hop_length"), self.metadata.sample_rate)
        return all(value is not None for value in needed)

    @property
    def in_colour(self) -> bool:
        """Whether the channels are one colour picture: R, G and B that are no copies of a sound."""
        return not self.is_sound and self.metadata.channel_labels in COLOUR

    @property
    def panels(self) -> tuple[str, ...]:
        """What is drawn of an image side by side: a label each, of the first 12 channels."""
        return ("RGB",) if self.in_colour else self.metadata.channel_labels[:MAX_PANELS]

    @cached_property
    def row_hz(self) -> Float64[np.ndarray, "H"]:
        """Centre frequency of each row in Hz.

        Row k of "stft" is bin k + 1; of "mel" the centre of filter k, whose edges are equally
        spaced on the scale ``2595·log10(1 + f/700)``.
        """
        assert self.metadata.sample_rate is not None
        config, rate = self.metadata.spectrogram_config, float(self.metadata.sample_rate)
        height = self.metadata.height
        if config.get("type") != "mel":
            return np.arange(1, height + 1) * rate / float(config["n_fft"])
        # what is not said is as the generator has it
        said = {k: v for k, v in self.metadata.mel_config.items() if v is not None}
        mel = {**vars(MelSection()), **said}
        bounds_hz = float(mel["freq_min"]), float(mel["freq_max_ratio"]) * rate / 2
        if not 0.0 <= bounds_hz[0] < bounds_hz[1]:
            raise VIMHError(
                f"metadata of {self.metadata.dataset_name!r}: mel_config: expected freq_min below "
                f"freq_max_ratio times half the sample rate, found {bounds_hz[0]:g} and "
                f"{bounds_hz[1]:g} Hz"
            )
        low, high = (2595.0 * np.log10(1.0 + hz / 700.0) for hz in bounds_hz)
        centres = np.linspace(low, high, height + 2)[1:-1]
        return np.asarray(700.0 * (10.0 ** (centres / 2595.0) - 1.0))

    def draw(self, axes: Axes, image: UInt8[np.ndarray, "C H W"], panel: int) -> None:
        """Draws one panel of an image, 0 black to 255 white, with its axes.

        Args:
            axes: where to.
            image: stored pixels.
            panel: its place in `panels`.
        """
        image = thinned(image)
        if self.in_colour:
            axes.imshow(image.transpose(1, 2, 0), interpolation="nearest")
        else:
            axes.imshow(
                image[panel],
                cmap="magma" if self.is_sound else "gray",
                vmin=0,
                vmax=255,
                origin="lower" if self.is_sound else "upper",
                aspect="auto" if self.is_sound else "equal",
                extent=self._extent if self.is_sound else None,
                interpolation="nearest",
            )
        if self.is_sound:
            self._label_rows(axes)
        else:
            axes.set_xticks([])
            axes.set_yticks([])

    @cached_property
    def _extent(self) -> tuple[float, float, float, float]:
        """Left and right in s, bottom and top in rows."""
        return 0.0, self.metadata.width * self.metadata.hop_s, -0.5, self.metadata.height - 0.5

    def _label_rows(self, axes: Axes) -> None:
        """Round frequencies at the rows where they lie, whatever the scale of the rows."""
        rows, hertz = np.arange(self.metadata.height), self.row_hz
        if self.metadata.spectrogram_config.get("type") == "mel":
            decades = 10.0 ** np.arange(0, 6)
            candidates = np.concatenate([decade * np.array([1, 2, 5]) for decade in decades])
        else:
            step = _round_step(hertz[-1] / 4)
            candidates = np.arange(step, hertz[-1] + step, step)
        marks = candidates[(candidates >= hertz[0]) & (candidates <= hertz[-1])]
        axes.set_yticks(np.interp(marks, hertz, rows), [_hertz(mark) for mark in marks])


def thinned(image: UInt8[np.ndarray, "C H W"]) -> UInt8[np.ndarray, "C h w"]:
    """Every so many-th row and column, so that no side has more than 1024 pixels.

    Example:
        >>> thinned(np.zeros((1, 2050, 5), dtype=np.uint8)).shape
        (1, 684, 5)
    """
    rows, columns = (-(-side // MAX_SIDE) for side in image.shape[1:])
    return image[:, ::rows, ::columns]


def _round_step(about: float) -> float:
    """1, 2 or 5 times a power of ten, the nearest from below.

    Example:
        >>> _round_step(800.0), _round_step(30.0)
        (500.0, 20.0)
    """
    power = 10.0 ** np.floor(np.log10(about))
    return float(max(factor for factor in (1, 2, 5) if factor * power <= about) * power)


def _hertz(frequency_hz: float) -> str:
    """Short text of a frequency.

    Example:
        >>> _hertz(500.0), _hertz(2500.0)
        ('500', '2.5k')
    """
    return f"{frequency_hz / 1000:g}k" if frequency_hz >= 1000 else f"{frequency_hz:g}"
