"""What is in a data set, on one page: metadata, a histogram a parameter, images with labels."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Integer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpecFromSubplotSpec
from rich.table import Table
from rich.text import Text

from src.evaluation.presentation.image_axes import (
    ImageAxes,
    colour_bar,
    plain_texts,
    scale_axes,
    step_text,
    value_text,
)
from src.synth.images import level_range
from src.vimh.metadata import Metadata
from src.vimh.parameters import Parameter
from src.vimh.plain import shown
from src.vimh.records import OpenedDataset

MAX_COUNTED = 65_536  # labels that a histogram counts, evenly spaced over the data set
MAX_BARS = 64
MAX_DRAWN = 64  # parameters; the table has all of them
PANELS_A_ROW = 6
IMAGE_ROWS = 3
WIDTH_INCHES = 14.0
HISTOGRAMS_A_ROW = 4
LINE_INCHES = 0.24


def spread(count: int, wanted: int) -> Integer[np.ndarray, "N"]:
    """At most `wanted` of the indices 0…count − 1, evenly spaced, with both ends.

    Example:
        >>> spread(100, 3).tolist(), spread(2, 3).tolist()
        ([0, 50, 99], [0, 1])
    """
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(np.int64))


def counted_values(dataset: OpenedDataset) -> Float64[np.ndarray, "N P"]:
    """Values in units of train and test together, of at most 65,536 samples."""
    files = (dataset.train, dataset.test)
    return np.concatenate([r.values_at(spread(len(r), MAX_COUNTED // 2)) for r in files])


def facts(dataset: OpenedDataset) -> list[tuple[str, str]]:
    """What the metadata say, as pairs of name and text."""
    metadata = dataset.metadata
    version = metadata.raw.get("version")
    precision = "exact values" if "values" in metadata.row_kinds else "values to a byte"
    found = [
        ("version", f"{shown(version).strip(chr(39))}, {precision}"),
        ("samples", f"{len(dataset.train)} train, {len(dataset.test)} test"),
        ("images", f"{metadata.image_size} (height x width x channels)"),
        ("channels", _few(metadata.channel_labels)),
    ]
    if metadata.sample_rate is not None:
        length = "" if metadata.duration is None else f", {metadata.duration:g} s"
        found.append(("sounds", f"{metadata.synth_type}, {metadata.sample_rate:g} Hz{length}"))
        if (seen := ImageAxes(metadata).seconds) is not None and metadata.duration is not None:
            whole = " (all)" if seen >= metadata.duration else ""
            found.append(("shown", f"the first {seen:.4g} s of {metadata.duration:g} s{whole}"))
    if config := metadata.spectrogram_config:
        rows = ("n_fft", "n_window", "freq_min", "bins_per_octave")
        keys = ("type", *rows, "hop_length", "window_type", "floor_db_rel")
        said = (f"{k} {config[k]}" for k in keys if config.get(k) is not None)
        found.append(("spectrogram", ", ".join(said)))
    fixed = _few([f"{name} = {value:g}" for name, value in metadata.fixed_parameters.items()])
    return [*found, ("fixed", fixed)] if fixed else found


def _few(texts: Sequence[str], most: int = 16) -> str:
    """Return a list in a line; of a long one the beginning and how many there are."""
    more = f", and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def dataset_figure(dataset: OpenedDataset, figure: Figure | None = None) -> Figure:
    """Draw a data set.

    Args:
        dataset: opened; at least one sample is needed for images.
        figure: drawn into, for example that of a window; None: a new one.

    Returns:
        The figure of metadata, histograms and images.
    """
    metadata = dataset.metadata
    axes = ImageAxes(metadata)
    num_parameters = min(len(metadata.parameters), MAX_DRAWN)
    histogram_rows = -(-num_parameters // HISTOGRAMS_A_ROW)
    samples_a_row = max(1, PANELS_A_ROW // len(axes.panels))
    count = len(dataset.train) + len(dataset.test)
    shown = min(count, samples_a_row * IMAGE_ROWS)
    image_rows = -(-shown // samples_a_row)
    heights = [
        0.45 + LINE_INCHES * len(facts(dataset)),
        1.9 * histogram_rows,
        (2.7 + 0.16 * num_parameters) * image_rows,
    ]
    figure = figure or Figure()
    figure.set_layout_engine("constrained")
    figure.set_size_inches(WIDTH_INCHES, sum(heights))
    grid = figure.add_gridspec(3, 1, height_ratios=[max(h, 0.01) for h in heights])
    _write_facts(figure.add_subplot(grid[0]), dataset)
    values = counted_values(dataset)
    columns = min(num_parameters, HISTOGRAMS_A_ROW)
    if num_parameters:
        cells = GridSpecFromSubplotSpec(histogram_rows, columns, subplot_spec=grid[1])
        drawn = list(metadata.parameters.values())[:num_parameters]
        for k, parameter in enumerate(drawn):
            draw_histogram(figure.add_subplot(cells[divmod(k, columns)]), parameter, values[:, k])
    if shown:
        cells = GridSpecFromSubplotSpec(
            image_rows, samples_a_row * len(axes.panels), subplot_spec=grid[2]
        )
        _draw_images(figure, cells, dataset, shown)
    return plain_texts(figure)


def _write_facts(axes: Axes, dataset: OpenedDataset) -> None:
    axes.set_axis_off()
    name = textwrap.shorten(dataset.metadata.dataset_name, 110)
    axes.set_title(name, loc="left", fontsize=13, fontweight="bold")
    lines = facts(dataset)
    for line, (what, text) in enumerate(lines):
        place = 0.96 - line / len(lines)
        axes.text(0.0, place, what, va="top", fontweight="bold", transform=axes.transAxes)
        axes.text(0.09, place, text, va="top", transform=axes.transAxes)


def draw_histogram(axes: Axes, parameter: Parameter, values: Float64[np.ndarray, "N"]) -> None:
    """Draw how often each class, or each part of the range, occurs.

    Args:
        axes: where to.
        parameter: what the values are of.
        values: in its unit.
    """
    if parameter.is_categorical:
        classes = values.round().astype(np.int64)
        counts = np.bincount(classes, minlength=parameter.num_classes)[: parameter.num_classes]
        places = np.arange(parameter.num_classes)
        axes.bar(places, counts, width=0.9)
        if parameter.num_classes <= 20:
            tilt = 45 if sum(map(len, parameter.class_names)) > 40 else 0
            axes.set_xticks(places, parameter.class_names, rotation=tilt, fontsize=8)
    else:
        few = parameter.step is not None and parameter.num_classes <= MAX_BARS
        bins = parameter.num_classes if few else MAX_BARS
        half = 0.5 / max(bins - 1, 1) if few else 0.0
        edges = parameter.denormalise(np.linspace(-half, 1 + half, bins + 1))
        axes.hist(values, bins=edges.tolist(), rwidth=0.9)
        scale_axes(parameter, axes, "x")
    step = "" if parameter.step is None else f", step {step_text(parameter)}"
    unit = f" [{parameter.unit}]" if parameter.unit else ""
    axes.set_title(f"{parameter.name}{unit}{step}", fontsize=10)
    axes.set_ylabel("samples", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.margins(x=0.01)


def _draw_images(
    figure: Figure, cells: GridSpecFromSubplotSpec, dataset: OpenedDataset, shown: int
) -> None:
    axes = ImageAxes(dataset.metadata)
    panels = len(axes.panels)
    num_train = len(dataset.train)
    samples_a_row = cells.ncols // panels
    rows = -(-shown // samples_a_row)
    samples = [
        (dataset.train, index) if index < num_train else (dataset.test, index - num_train)
        for index in spread(num_train + len(dataset.test), shown).tolist()
    ]
    found = [records.gather(np.array([own])) for records, own in samples]
    ranges = [level_range(scale_factors[0]) for _, _, scale_factors in found]
    for place, ((records, own), (images, _, _), ends) in enumerate(
        zip(samples, found, ranges, strict=True)
    ):
        row, column = divmod(place, samples_a_row)
        for panel, label in enumerate(axes.panels):
            target = figure.add_subplot(cells[row, column * panels + panel])
            lowest = row == rows - 1 or place + samples_a_row >= shown
            leftmost = column == 0 and panel == 0
            levels = (ends, ends) if ends is not None and axes.in_decibels(panel) else None
            image = axes.draw(
                target, images[0], panel, time=lowest, frequency=leftmost, levels=levels
            )
            if levels is not None:  # each image has its own range, which the network sees
                colour_bar(
                    figure, image, target, "level [dB]" if column == samples_a_row - 1 else ""
                )
            if panel == 0:
                lines = [f"{'train' if records is dataset.train else 'test'} {own}"]
                values = records.values_at(np.array([own]))[0]
                lines += label_lines(dataset.metadata, values)[:MAX_DRAWN]
                target.set_title("\n".join(lines), fontsize=8, loc="left")
            if panels > 1 or (column == 0 and lowest):
                target.set_xlabel(f"{target.get_xlabel()}\n{label}".strip(), fontsize=8)


def label_lines(metadata: Metadata, values: Float64[np.ndarray, "P"]) -> list[str]:
    """Return a line for each parameter of a sample: its name and its value, without the unit."""
    return [
        f"{p.name} {value_text(p, value)}"
        for p, value in zip(metadata.parameters.values(), values.tolist(), strict=True)
    ]


def dataset_table(dataset: OpenedDataset, directory: Path) -> tuple[Table, Table]:
    """Return the same for a terminal: the metadata, and a line for each parameter."""
    about = Table("", "", title=Text(str(directory)), show_header=False, title_justify="left")
    for name, text in facts(dataset):
        about.add_row(name, Text(text))
    parameters = Table(title="Parameters", title_justify="left")
    parameters.add_column("name", overflow="fold")
    parameters.add_column("unit", no_wrap=True)
    for heading in ("min", "max", "step"):
        parameters.add_column(heading, justify="right", no_wrap=True)
    parameters.add_column("how often", no_wrap=True)
    values = counted_values(dataset)
    for k, p in enumerate(dataset.metadata.parameters.values()):
        step = step_text(p)
        bars = min(p.num_classes, 24) if p.is_categorical else 16
        own = values[:, k] if p.is_categorical else p.normalise(values[:, k]).clip(0.0, 1.0)
        ends = ("", "") if p.is_categorical else (f"{p.min:g}", f"{p.max:g}")
        unit = f"{p.num_classes} classes" if p.is_categorical else p.unit
        line = sparkline(own, bars, 0, p.num_classes - 1 if p.is_categorical else 1)
        parameters.add_row(Text(p.name), Text(unit), *ends, step, line)
    return about, parameters


def sparkline(values: Float64[np.ndarray, "N"], bars: int, low: float, high: float) -> str:
    """Return a histogram of values from low to high in one line of text.

    Example:
        >>> sparkline(np.array([0.0, 0.0, 2.5]), bars=4, low=0.0, high=2.5)
        '█  ▄'
    """
    edges = (low, high if high > low else low + 1)
    counts: Sequence[int] = np.histogram(values, bins=bars, range=edges)[0].tolist()
    highest = max(max(counts), 1)
    return "".join(" ▁▂▃▄▅▆▇█"[-(-8 * count // highest)] for count in counts)
