"""Axes of VIMH images: Hz upwards and seconds to the right for sounds, none for others."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float64, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from matplotlib.ticker import (
    AutoLocator,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    StrMethodFormatter,
)

from src.synth.front_end import FrontEnd
from src.synth.settings import axes_of
from src.vimh.metadata import Metadata
from src.vimh.parameters import Parameter

MAX_PANELS = 12  # 65,535 channels are possible; a panel takes some 20 ms and 1 MB
MAX_SIDE = 1024  # pixels drawn of a side: a larger image is thinned out
LABEL_SHARE = 0.06  # of a panel's height: labels that are closer would touch
Range = tuple[float, float]
BYTES: Range = (0.0, 255.0)
NO_LEVELS = ("_normalized", "_envelope")  # ends of the labels of derived channels
COLOUR = {("R", "G", "B"), ("R", "G", "B", "A")}


def plain_texts(figure: Figure) -> Figure:
    """Draw a figure's texts as they are: a ``$`` in a name begins no formula.

    Args:
        figure: Whose texts are there; not one with logarithmic axes, whose numbers are formulas.
    """
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    return figure


def value_text(parameter: Parameter, value: float, unit: str = "") -> str:
    """Return a value for people: a class's name, or a number with the unit that is given.

    Example:
        >>> value_text(Parameter("decay", 0.0, 2.0), 0.51234, "s")
        '0.5123 s'
    """
    if np.isnan(value):
        return "NaN"
    if parameter.is_categorical:
        index = int(parameter.class_of(value))
        names = parameter.class_names
        return names[index] if index < len(names) else str(index)
    return f"{value:.4g} {unit}".rstrip()


@dataclass(frozen=True)
class ImageAxes:
    """The panels and axes that the images of one data set are drawn with.

    Attributes:
        metadata: what describes the data set.
    """

    metadata: Metadata

    @cached_property
    def front_end(self) -> FrontEnd | None:
        """What says of sounds where rows and columns lie; None for images of something else."""
        return axes_of(self.metadata)

    @property
    def is_sound(self) -> bool:
        """Whether the metadata say what a row and a column of an image are."""
        return self.front_end is not None

    @property
    def in_colour(self) -> bool:
        """Whether the channels are one colour picture: R, G and B that are no copies of a sound."""
        return not self.is_sound and self.metadata.channel_labels in COLOUR

    @property
    def panels(self) -> tuple[str, ...]:
        """Labels of the panels of an image, side by side: of the first 12 channels."""
        return ("RGB",) if self.in_colour else self.metadata.channel_labels[:MAX_PANELS]

    def draw(
        self,
        axes: Axes,
        image: UInt8[np.ndarray, "C H W"],
        panel: int,
        *,
        time: bool,
        frequency: bool,
        levels: tuple[Range, Range] | None = None,
    ) -> AxesImage:
        """Draw one panel of an image, 0 black to 255 white, with its axes.

        Args:
            axes: where to.
            image: stored pixels.
            panel: its place in `panels`.
            time: whether the time axis of a sound has its name.
            frequency: whether the frequency axis has.
            levels: dB of the bytes 0 and 255, and of the darkest and the brightest colour, for a
                panel that is :meth:`in_decibels`; None: the colours show the bytes.

        Returns:
            What a colour bar is made of.
        """
        image = thinned(image)
        if self.in_colour:
            drawn = axes.imshow(image.transpose(1, 2, 0), interpolation="nearest")
        else:
            ends, (darkest, brightest) = levels or (BYTES, BYTES)
            drawn = axes.imshow(
                decibels(image[panel], ends),
                cmap="magma" if self.is_sound else "gray",
                vmin=darkest,
                vmax=brightest,
                origin="lower" if self.is_sound else "upper",
                aspect="auto" if self.is_sound else "equal",
                extent=self._extent,
                interpolation="nearest",
            )
        axes.tick_params(labelsize=7)
        if self.front_end is not None:
            _label_rows(axes, self.front_end.row_hz)
            _label_columns(axes, self.front_end.frame_s)
            axes.set_xlabel("time [s]" if time else "", fontsize=8)
            axes.set_ylabel("frequency [Hz]" if frequency else "", fontsize=8)
        else:
            axes.set_xticks([])
            axes.set_yticks([])
        return drawn

    def in_decibels(self, panel: int) -> bool:
        """Whether a panel's bytes are levels: those of envelopes and normalised channels are not.

        Args:
            panel: its place in `panels`.
        """
        return self.is_sound and not self.panels[panel].endswith(NO_LEVELS)

    @property
    def seconds(self) -> float | None:
        """How long an image lasts; None for images of something else."""
        return None if self._extent is None else self._extent[1]

    @cached_property
    def _extent(self) -> tuple[float, float, float, float] | None:
        """Left and right in s, bottom and top in rows; None for images of something else."""
        if self.front_end is None:
            return None
        right = self.front_end.frame_s[-1] + self.front_end.hop_s
        return 0.0, right, -0.5, self.metadata.height - 0.5


def colour_bar(figure: Figure, image: AxesImage, axes: Axes, label: str) -> None:
    """Draw what the colours of an image mean, at its right."""
    bar = figure.colorbar(image, ax=axes, fraction=0.08, pad=0.02)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=6)
    bar.locator = MaxNLocator(5, integer=True)
    bar.update_ticks()


def decibels(image: UInt8[np.ndarray, "H W"], ends: Range) -> Float64[np.ndarray, "H W"]:
    """Return levels of which the bytes 0 and 255 are the ends."""
    low, high = ends
    return low + image * ((high - low) / 255.0)


def _label_rows(axes: Axes, row_hz: Float64[np.ndarray, "H"]) -> None:
    """Label round frequencies at the rows where they lie, whatever the scale of the rows."""
    steps = np.diff(row_hz)
    if len(steps) and np.ptp(steps) > 1e-6 * row_hz[-1]:
        decades = 10.0 ** np.arange(0, 6)
        candidates = np.concatenate([decade * np.array([1, 2, 5]) for decade in decades])
    else:
        step = _round_step(row_hz[-1] / 4)
        candidates = np.arange(step, row_hz[-1] + step, step)
    ticks: dict[float, str] = {}
    for mark in candidates[(candidates >= row_hz[0]) & (candidates <= row_hz[-1])]:
        row = float(np.interp(mark, row_hz, np.arange(len(row_hz))))
        if not ticks or row - max(ticks) >= LABEL_SHARE * len(row_hz):
            ticks[row] = _hertz(mark)
    axes.set_yticks(list(ticks), list(ticks.values()))


def _label_columns(axes: Axes, frame_s: Float64[np.ndarray, "W"]) -> None:
    """Label the times of columns that are not evenly spaced; even ones are the axis itself."""
    steps = np.diff(frame_s)
    if len(steps) == 0 or np.ptp(steps) <= 1e-6 * frame_s[-1]:
        return
    left, right = axes.get_xlim()
    centres = left + (np.arange(len(frame_s)) + 0.5) * (right - left) / len(frame_s)
    marks = 10.0 ** np.arange(np.ceil(np.log10(frame_s[0])), np.log10(frame_s[-1]) + 1e-9)
    places = np.interp(np.log(marks), np.log(frame_s), centres)
    axes.set_xticks(places, [f"{mark:g}" for mark in marks])


def thinned(image: UInt8[np.ndarray, "C H W"]) -> UInt8[np.ndarray, "C h w"]:
    """Keep every n-th row and column, so that no side has more than 1024 pixels.

    Example:
        >>> thinned(np.zeros((1, 2050, 5), dtype=np.uint8)).shape
        (1, 684, 5)
    """
    rows, columns = (-(-side // MAX_SIDE) for side in image.shape[1:])
    return image[:, ::rows, ::columns]


def scale_axes(parameter: Parameter, axes: Axes, *names: Literal["x", "y"]) -> None:
    """Space axes of a parameter's values as its values are; round numbers are written out."""
    if not parameter.is_log:
        return
    ratio = parameter.max / parameter.min
    marks = (1.0, 2.0, 5.0) if ratio < 300 else (1.0,)
    for name in names:
        axes.set(**{f"{name}scale": "log"})
        axis = {"x": axes.xaxis, "y": axes.yaxis}[name]
        axis.set_major_locator(LogLocator(subs=marks) if ratio > 4 else AutoLocator())
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())


def step_text(parameter: Parameter, unit: str = "") -> str:
    """Return a step as people read it, in % where it is a ratio; nothing where there is none.

    Example:
        >>> step_text(Parameter("f", 20.0, 2e4, 0.03, spacing="log"), "Hz")
        '3 %'
    """
    if parameter.step is None:
        return ""
    if parameter.is_log:
        return f"{100 * parameter.step:g} %"
    return f"{parameter.step:g} {unit}".strip()


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
