"""The picture of a prediction: its images one below another, waveforms, intervals."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src.calibration.calibration import percent
from src.evaluation.prediction.doubt import UNLIKE
from src.evaluation.prediction.predictor import Prediction, Predictor
from src.evaluation.presentation.image_axes import (
    BYTES,
    ImageAxes,
    colour_bar,
    decibels,
    plain_texts,
    thinned,
    value_text,
)
from src.evaluation.presentation.prediction_texts import (
    interval_text,
    predicted_text,
    refining_text,
)

ROW_INCHES = 3.2
NUMBERS_INCHES, NUMBER_INCHES = 0.7, 0.25  # of the row with intervals, and for each of them
SHOWN_S = 0.03  # of waveforms, around the loudest sample
LEAST_DIFFERENCE_DB = 1.0  # that the colours tell apart: less cannot be heard
LETTERS_PER_INCH = 12  # of a caption
SHOWN_LETTERS = 40  # of a name in a picture


def comparison_figure(predictor: Predictor, prediction: Prediction, *again: Prediction) -> Figure:
    """The image that was predicted from, and those of the sounds made of it, channel by channel.

    Where all have levels, they are drawn on one scale in dB, and below them is the difference of
    the last and the first. Where refining found the very waveform, it is drawn below the input's.
    The last row has the intervals of the numbers.

    Args:
        predictor: knows axes and units.
        prediction: above.
        *again: below: the resynthesised sound, and the refined one.
    """
    axes = ImageAxes(predictor.metadata)
    rows = [prediction, *again]
    known = [shown.level_range_db for shown in rows if shown.level_range_db is not None]
    limits = (min(low for low, _ in known), max(high for _, high in known)) if known else BYTES
    levels = [panel for panel in range(len(axes.panels)) if axes.in_decibels(panel)]
    with_difference = len(known) > 1 and len(known) == len(rows) and bool(levels)
    columns, height = len(axes.panels), len(rows) + with_difference
    with_waveforms = _has_waveforms(prediction)
    numbers = [] if prediction.doubt is None else list(prediction.doubt.ends)
    inches = [ROW_INCHES] * (height + with_waveforms)
    if numbers:
        inches.append(NUMBERS_INCHES + NUMBER_INCHES * len(numbers))
    size = (2.2 + 3.6 * columns, sum(inches) + 0.9)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.add_gridspec(len(inches), columns, height_ratios=inches)
    cells = np.array(
        [
            [figure.add_subplot(grid[row, column]) for column in range(columns)]
            for row in range(height)
        ]
    )
    if with_waveforms:
        _draw_waveforms(figure.add_subplot(grid[height, :]), prediction, predictor)
    if numbers:
        _draw_intervals(figure.add_subplot(grid[-1, :]), prediction, predictor)
    for row, shown in enumerate(rows):
        scale = None if shown.level_range_db is None else (shown.level_range_db, limits)
        for panel, label in enumerate(axes.panels):
            target = cells[row, panel]
            image = axes.draw(
                target,
                shown.image,
                panel,
                time=row == height - 1,
                frequency=panel == 0,
                levels=scale if panel in levels else None,
            )
            target.set_title(label if columns > 1 else "", fontsize=9)
            if scale is not None and panel in levels:
                colour_bar(figure, image, target, "level [dB]")
        below = cells[row, 0].get_ylabel()
        cells[row, 0].set_ylabel(f"{_row_name(shown)}\n{below}".strip(), fontsize=8)
    if with_difference:
        for panel in range(columns):
            if panel in levels:
                _draw_difference(figure, cells[-1, panel], axes, rows, panel)
            else:
                cells[-1, panel].set_axis_off()
    width = round(LETTERS_PER_INCH * size[0])
    captions = _captions(predictor, prediction)
    wrapped = [line for caption in captions for line in textwrap.wrap(caption, width)]
    figure.suptitle("\n".join(wrapped), fontsize=9)
    return plain_texts(figure)


def _row_name(shown: Prediction) -> str:
    name = Path(shown.source).name
    name = name if len(name) <= SHOWN_LETTERS else f"{name[:SHOWN_LETTERS]}…"
    return f"{name} from {shown.start_s:.3f} s" if shown.start_s else name


def _captions(predictor: Predictor, prediction: Prediction) -> list[str]:
    """The values, and what is to be said of them."""
    captions = []
    for p in predictor.model.parameters_by_head.values():
        true = prediction.true.get(p.name) if prediction.true is not None else None
        label = "" if true is None else f" (true: {value_text(p, true, p.unit)})"
        interval = interval_text(p, prediction)
        if prediction.doubt is not None and interval:
            interval += f" at {percent(prediction.doubt.confidence)}"
        if prediction.refined is not None and prediction.refined.converged:
            label = f" → refined {value_text(p, prediction.refined.values[p.name], p.unit)}{label}"
        captions.append(f"{p.name}: {predicted_text(p, prediction, p.unit, 3)}{interval}{label}")
    if prediction.doubt is not None and prediction.doubt.is_unlike:
        captions.append(UNLIKE)
    if prediction.refined is not None:
        captions.append(refining_text(prediction.refined))
    return captions


def _draw_intervals(target: Axes, prediction: Prediction, predictor: Predictor) -> None:
    """Draw how far the interval of each number, its refined and its true value are from it."""
    doubt, refined = prediction.doubt, prediction.refined
    assert doubt is not None
    parameters = [p for p in predictor.model.parameters_by_head.values() if p.name in doubt.ends]
    rows = np.arange(len(parameters))

    def away(values: Mapping[str, float]) -> Float64[np.ndarray, "P"]:
        both = ([values[p.name], prediction.values[p.name]] for p in parameters)
        ends = np.array([p.normalise(own) for p, own in zip(parameters, both, strict=True)])
        return 100.0 * (ends[:, 0] - ends[:, 1])

    low, high = (away({n: ends[side] for n, ends in doubt.ends.items()}) for side in (0, 1))
    said = f"interval at {percent(doubt.confidence)}"
    target.hlines(rows, low, high, color="tab:blue", alpha=0.4, linewidth=6, label=said)
    target.plot(0.0 * rows, rows, "o", markersize=4, color="tab:blue", label="network")
    if refined is not None and refined.converged:
        own = away(refined.values)
        target.plot(own, rows, "D", markersize=4, color="tab:orange", label="refined")
    if prediction.true is not None:
        own = away(prediction.true)
        target.plot(own, rows, "|", markersize=12, color="black", label="true")
    target.set_yticks(rows, [p.name for p in parameters], fontsize=8)
    target.set(ylim=(len(parameters) - 0.5, -0.5))
    target.set_xlabel("from the network's value [% of the range]", fontsize=8)
    target.grid(axis="x", alpha=0.3)
    target.tick_params(labelsize=7)
    target.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=4, frameon=False, fontsize=8)


def _has_waveforms(prediction: Prediction) -> bool:
    """Whether the refined sound is the input, sample by sample."""
    found = prediction.refined
    is_same = found is not None and found.converged and found.compared == "waveform"
    return is_same and prediction.audio is not None and prediction.refined_sound is not None


def _draw_waveforms(target: Axes, prediction: Prediction, predictor: Predictor) -> None:
    """Draw the waveforms around the loudest sample of the input."""
    assert prediction.audio is not None
    assert predictor.synthesizer is not None
    sounds = (
        ("network", prediction.resynthesis, "tab:blue", "-"),
        ("refined", prediction.refined_sound, "tab:orange", "--"),
    )
    rate_hz = predictor.synthesizer.sample_rate_hz
    count = round(SHOWN_S * rate_hz)
    loudest = int(np.abs(prediction.audio).argmax())
    first = max(0, min(loudest - count // 3, len(prediction.audio) - count))
    part = slice(first, first + count)
    time_s = np.arange(first, first + count)[: len(prediction.audio[part])] / rate_hz
    target.plot(time_s, prediction.audio[part], color="black", linewidth=2.5, label="input")
    for name, rendered, colour, line in sounds:
        if rendered is not None:
            heard = rendered.sound[part]
            target.plot(time_s[: len(heard)], heard, line, color=colour, linewidth=1.2, label=name)
    target.set(xlim=(time_s[0], time_s[-1]))
    target.set_xlabel("time [s]", fontsize=8)
    target.set_ylabel("amplitude", fontsize=8)
    target.tick_params(labelsize=7)
    target.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False, fontsize=8)


def _draw_difference(
    figure: Figure, target: Axes, axes: ImageAxes, rows: Sequence[Prediction], panel: int
) -> None:
    """Draw by how much the last image is louder than the first."""
    first, second = (
        decibels(thinned(shown.image)[panel], shown.level_range_db or BYTES)
        for shown in (rows[0], rows[-1])
    )
    image = axes.draw(target, rows[0].image, panel, time=True, frequency=panel == 0)
    widest = max(float(np.abs(second - first).max()), LEAST_DIFFERENCE_DB)
    image.set(data=second - first, cmap="RdBu_r", clim=(-widest, widest))
    below = target.get_ylabel()
    target.set_ylabel(f"difference\n{below}".strip(), fontsize=8)
    colour_bar(figure, image, target, f"{rows[-1].source} − input [dB]")
