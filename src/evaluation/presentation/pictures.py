"""Pictures of predictions: against the truth, their errors, the worst samples, the sounds."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from src.evaluation.presentation.image_axes import (
    ImageAxes,
    plain_texts,
    scale_axes,
    value_text,
)
from src.evaluation.scoring.audio_metrics import AUDIO_METRICS
from src.evaluation.scoring.figures import shown_unit
from src.evaluation.scoring.split_predictions import SplitPredictions
from src.vimh.metadata import Metadata
from src.vimh.parameters import Parameter, ParameterSpace

BINS = 41  # of a histogram
MEANS = 12  # parts of the range that the mean error is shown of
MIN_A_MEAN = 5  # samples that a part has to hold on average, or there is no mean error
MAX_NAMED_CLASSES = 30
MAX_COUNTED_CLASSES = 12  # up to here each cell of a confusion matrix has its number
PANEL_INCHES = 4.0  # of a square picture
COLUMNS = 4  # of the worst samples
BAND: dict[str, Any] = {"color": "tab:green", "alpha": 0.2, "linewidth": 0}


def head_picture(
    parameter: Parameter, true: Float[np.ndarray, "N"], predicted: Float[np.ndarray, "N"]
) -> Figure:
    """Draw one head: the confusion matrix of classes, or values and errors with a band of ±1 step.

    Where the spacing is log, the axes of values are logarithmic, and errors are in % of the value.

    Args:
        parameter: The head's parameter.
        true: True values in its unit.
        predicted: Predicted values; those that are no number are left out.
    """
    if parameter.is_categorical:
        return _confusion_picture(parameter, confusion_matrix(parameter, true, predicted))
    figure = Figure(figsize=(13.5, 4.2), layout="constrained")
    _draw_head(parameter, true, predicted, figure.subplots(1, 3))
    finite = np.isfinite(predicted)
    title = "" if finite.all() else f"{int((~finite).sum())} of {len(true)} predictions are NaN"
    figure.suptitle(title, fontsize=10)
    return plain_texts(figure)


def head_panels(
    parameter: Parameter, true: Float[np.ndarray, "N"], predicted: Float[np.ndarray, "N"]
) -> dict[str, Figure]:
    """Draw the parts of :func:`head_picture` as square pictures, legible in TensorBoard's cards.

    Args:
        parameter: The head's parameter.
        true: True values in its unit.
        predicted: Predicted values; those that are no number are left out.

    Returns:
        The pictures by the endings of their names.
    """
    if parameter.is_categorical:
        return {"": head_picture(parameter, true, predicted)}
    names = ("", "_histogram", "_errors")
    panels = {name: Figure(figsize=(PANEL_INCHES, PANEL_INCHES)) for name in names}
    for figure in panels.values():
        figure.set_layout_engine("constrained")
    _draw_head(parameter, true, predicted, [figure.subplots() for figure in panels.values()])
    return {name: plain_texts(figure) for name, figure in panels.items()}


def _draw_head(
    parameter: Parameter,
    true: Float[np.ndarray, "N"],
    predicted: Float[np.ndarray, "N"],
    axes: Iterable[Axes],
) -> None:
    """Draw predicted against true values, the histogram of errors, and errors against values."""
    values, histogram, errors = axes
    finite = np.isfinite(predicted)
    true, predicted = true[finite], predicted[finite]
    error = _shown_errors(parameter, predicted, true)
    unit = f" [{shown_unit(parameter)}]" if shown_unit(parameter) else ""
    error_unit = " [%]" if parameter.is_log else unit
    ends = np.array([parameter.min, parameter.max])
    values.axline(*zip(ends, ends, strict=True), color="gray", linewidth=1)
    _scatter(values, true, predicted)
    values.set(xlabel=f"true {parameter.name}{unit}", ylabel=f"predicted {parameter.name}{unit}")
    least = _shown_errors(parameter, *parameter.denormalise([[1e-9], [0.0]]))
    widest = max(float(np.abs(shown).max(initial=0.0)) for shown in (error, least))
    histogram.hist(error, bins=BINS, range=(-widest, widest))
    histogram.yaxis.set_major_locator(MaxNLocator(integer=True))
    histogram.set(xlabel=f"error{error_unit}", ylabel="samples")
    _draw_errors(errors, parameter, true, error)
    errors.set(xlabel=f"true {parameter.name}{unit}", ylabel=f"error{error_unit}")
    scale_axes(parameter, values, "x", "y")
    scale_axes(parameter, errors, "x")
    if parameter.has_jnd:
        low, high = _draw_bands(parameter, values, errors)
        histogram.axvspan(low, high, **BAND)
        within = np.abs(parameter.codec.error(predicted, true)) <= parameter.tolerance()
        share = 100 * float(within.sum()) / len(finite)
        histogram.set_title(f"{share:.1f} % within 1 {parameter.step_name}", fontsize=10)


def _draw_bands(parameter: Parameter, values: Axes, errors: Axes) -> tuple[float, float]:
    """Draw what is within one step; return the errors at its ends."""
    codec, reach = parameter.codec, parameter.tolerance()
    ends = np.array([parameter.min, parameter.max])
    low, high = (codec.from_axis(codec.to_axis(ends) + side) for side in (-reach, reach))
    label = f"±1 {parameter.step_name}"
    values.fill_between(ends, low, high, **BAND, label=label)
    below, above = (float(_shown_errors(parameter, side, ends)[0]) for side in (low, high))
    errors.axhspan(below, above, **BAND, label=label)
    for axes in (values, errors):
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False)
    return below, above


def _shown_errors(
    parameter: Parameter, predicted: Float[np.ndarray, "N"], true: Float[np.ndarray, "N"]
) -> Float[np.ndarray, "N"]:
    """Return errors in the unit, or where the spacing is log in % of the value."""
    return 100.0 * (predicted / true - 1.0) if parameter.is_log else predicted - true


def _draw_errors(
    axes: Axes, parameter: Parameter, true: Float[np.ndarray, "N"], error: Float[np.ndarray, "N"]
) -> None:
    """Draw each error and, where there are enough, the mean error in parts of the range."""
    axes.axhline(0.0, color="gray", linewidth=1)
    _scatter(axes, true, error)
    if len(true) < MIN_A_MEAN * MEANS:
        return
    part = np.clip(parameter.normalise(true) * MEANS, 0, MEANS - 1).astype(int)
    counts = np.bincount(part, minlength=MEANS)
    there = counts > 0
    means = np.bincount(part, weights=error, minlength=MEANS)[there] / counts[there]
    centres = parameter.denormalise((np.arange(MEANS) + 0.5) / MEANS)[there]
    axes.plot(centres, means, "o-", color="tab:orange", markersize=4, label="mean error")


def _scatter(axes: Axes, x: Float[np.ndarray, "N"], y: Float[np.ndarray, "N"]) -> None:
    """Draw dots that can be seen, and told apart where there are many."""
    axes.scatter(x, y, s=6 if len(x) > 500 else 16, alpha=0.6, linewidths=0)


def confusion_matrix(
    parameter: Parameter, true: Float[np.ndarray, "N"], predicted: Float[np.ndarray, "N"]
) -> Int64[np.ndarray, "K K"]:
    """Count how often each true class (row) was taken for each class (column).

    Args:
        parameter: Of the head, categorical.
        true: Values of the true classes.
        predicted: Values of the predicted ones.

    Example:
        >>> pet = Parameter("pet", 0, 255, kind="categorical", class_names=("cat", "dog"))
        >>> confusion_matrix(pet, np.array([0.0, 1.0, 1.0]), np.array([0.0, 0.0, 1.0])).tolist()
        [[1, 0], [1, 1]]
    """
    counts = np.zeros((parameter.num_classes, parameter.num_classes), np.int64)
    np.add.at(counts, (parameter.class_of(true), parameter.class_of(predicted)), 1)
    return counts


def _confusion_picture(parameter: Parameter, counts: Int64[np.ndarray, "K K"]) -> Figure:
    size = min(3.0 + 0.45 * len(counts), 12.0)
    figure = Figure(figsize=(size + 1.2, size), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, vmin=0.0, vmax=1.0, cmap="Blues", interpolation="nearest")
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    right = counts.trace() / max(counts.sum(), 1)
    axes.set_title(f"{100 * right:.1f} % of {counts.sum()} in the right class", fontsize=10)
    axes.set(xlabel=f"predicted {parameter.name}", ylabel=f"true {parameter.name}")
    if len(counts) <= MAX_NAMED_CLASSES:
        tilt = 90 if max(map(len, parameter.class_names)) > 2 else 0
        axes.set_xticks(range(len(counts)), parameter.class_names, rotation=tilt)
        axes.set_yticks(range(len(counts)), parameter.class_names)
    if len(counts) <= MAX_COUNTED_CLASSES:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            if count:
                axes.text(column, row, str(count), ha="center", va="center", color=colour)
    return plain_texts(figure)


def furthest_errors(
    parameters: Sequence[Parameter], found: SplitPredictions
) -> Float64[np.ndarray, "N"]:
    """Return each sample's largest error over the heads, as a share of the range.

    That of a wrong class is 1, that of a prediction that is NaN infinite.

    Args:
        parameters: The heads' parameters.
        found: Predictions of some samples.
    """
    codec = ParameterSpace(parameters).codec
    errors = codec.error_in_range(np.abs(codec.error(found.predicted, found.true)))
    for column, p in enumerate(parameters):
        if p.is_categorical:
            errors[:, column] = errors[:, column] > 0
    furthest: Float64[np.ndarray, "N"] = np.nan_to_num(errors, nan=np.inf).max(axis=1)
    return furthest


def worst_picture(
    metadata: Metadata,
    parameters: Sequence[Parameter],
    found: SplitPredictions,
    count: int,
) -> Figure | None:
    """Draw the samples with the largest errors: wrong classes, or the share of a head's range.

    Args:
        metadata: Of the data set; says how its images are drawn (the first channel).
        parameters: The heads' parameters.
        found: Predictions of some samples.
        count: The most samples to show.

    Returns:
        The picture; None where no prediction is off.
    """
    furthest = furthest_errors(parameters, found)
    order = np.argsort(-furthest, kind="stable")[:count]
    order = order[furthest[order] > 0]
    if len(order) == 0:
        return None
    columns = min(COLUMNS, len(order))
    rows = -(-len(order) // columns)
    height = 2.7 + 0.17 * len(parameters)
    figure = Figure(figsize=(3.2 * columns, height * rows), layout="constrained")
    image_axes = ImageAxes(metadata)
    for place, index in enumerate(order):
        axes = figure.add_subplot(rows, columns, place + 1)
        lowest, leftmost = place + columns >= len(order), place % columns == 0
        image_axes.draw(axes, found.images[index], 0, time=lowest, frequency=leftmost)
        lines = (
            f"{p.name} {value_text(p, float(found.predicted[index, k]))}, "
            f"true {value_text(p, float(found.true[index, k]))}"
            for k, p in enumerate(parameters)
        )
        axes.set_title("\n".join(lines), fontsize=7)
    return plain_texts(figure)


def sounds_picture(distances: Mapping[str, Mapping[str, Float64[np.ndarray, "B"]]]) -> Figure:
    """Draw the cumulative distribution of each distance of sounds, by method.

    Args:
        distances: By method and metric, as `audio_distances` of
            :mod:`src.evaluation.scoring.audio_metrics` gives them.
    """
    figure = Figure(figsize=(13.5, 3.8), layout="constrained")
    panels = figure.subplots(1, len(AUDIO_METRICS), sharey=True)
    for axes, metric in zip(panels, AUDIO_METRICS, strict=True):
        far = {
            method: (1.0 - own[metric.name] if metric.higher_is_better else own[metric.name])
            for method, own in distances.items()
        }
        far = {method: values[np.isfinite(values)] for method, values in far.items()}
        largest = max((float(values.max(initial=0.0)) for values in far.values()), default=0.0)
        least = max(1e-5 * largest, 1e-12)  # a logarithmic axis has no place for 0
        for method, values in far.items():
            if len(values):
                axes.ecdf(np.maximum(values, least), label=method)
        axes.set_xscale("log")
        unit = f" [{metric.unit}]" if metric.unit else ""
        axes.set_xlabel(f"{'1 − ' if metric.higher_is_better else ''}{metric.label}{unit}")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("share of sounds at most so far")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure
