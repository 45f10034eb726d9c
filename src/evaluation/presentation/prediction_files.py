"""What predicting leaves behind: a table, JSON lines, resynthesised sounds, pictures."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table
from rich.text import Text

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
from src.synth.images import level_range
from src.utils.strict_json import strict_json
from src.vimh.parameters import Parameter

TABLE_ROWS = 40
MAX_STEM_BYTES = 200  # of a file's name, which may have 255 with its number and its ending
LEAST_DIFFERENCE_DB = 1.0  # that the colours tell apart: less cannot be heard
SHOWN_LETTERS = 40  # of a name in a picture


def prediction_table(predictions: Sequence[Prediction], parameters: Sequence[Parameter]) -> Table:
    """Return a line for each of the first predictions; true values stand in brackets."""
    hidden = len(predictions) - TABLE_ROWS
    table = Table(caption=f"and {hidden} more in predictions.jsonl" if hidden > 0 else None)
    table.add_column("input", overflow="fold")
    with_start = any((p.start_s or 0.0) > 0 for p in predictions)
    if with_start:
        table.add_column("start [s]", justify="right", no_wrap=True)
    for p in parameters:
        table.add_column(
            Text(f"{p.name} [{p.unit}]" if p.unit else p.name), justify="right", no_wrap=True
        )
    for prediction in predictions[:TABLE_ROWS]:
        cells: list[Text | str] = [Text(Path(prediction.source).name)]
        cells += [f"{prediction.start_s or 0.0:.3f}"] if with_start else []
        for p in parameters:
            text = predicted_text(p, prediction)
            if prediction.true is not None and p.name in prediction.true:
                text += f" ({value_text(p, prediction.true[p.name])})"
            cells.append(Text(text))
        table.add_row(*cells)
    return table


def predicted_text(
    parameter: Parameter, prediction: Prediction, unit: str = "", most: int = 1
) -> str:
    """Return a predicted number with the unit that is given, or the most probable classes."""
    shares = prediction.probabilities.get(parameter.name)
    if not isinstance(shares, dict):
        return value_text(parameter, prediction.values[parameter.name], unit)
    best = sorted(shares, key=lambda name: -shares[name])[:most]
    return ", ".join(f"{name} {100 * shares[name]:.0f} %" for name in best)


def write_lines(path: Path, predictions: Sequence[Prediction], failed: dict[str, str]) -> None:
    """Write a JSON object a line: predictions, then the inputs that gave none, with the reason."""
    lines = [p.to_json() for p in predictions]
    lines += [{"input": source, "error": error} for source, error in failed.items()]
    path.write_text("".join(strict_json(line) + "\n" for line in lines), encoding="utf-8")


def cut(name: str, most_bytes: int) -> str:
    """The beginning of a name in so many bytes, as file systems count, without half a letter.

    Example:
        >>> cut("José", 4), cut("José", 5)
        ('Jos', 'José')
    """
    while len(os.fsencode(name)) > most_bytes:
        name = name[:-1]
    return name


def file_stem(number: int, prediction: Prediction, count: int) -> str:
    """Return the beginning of the names of a prediction's files: numbered where there are several.

    A long name is cut.

    Example:
        >>> import numpy as np
        >>> file_stem(2, Prediction("a/test[7]", np.zeros((1, 1, 1), np.uint8), {}), 10)
        '002_test_7'
    """
    name = Path(prediction.source).stem.replace("[", "_").replace("]", "")
    name = cut(name, MAX_STEM_BYTES)
    return name if count == 1 else f"{number:03d}_{name}"


def write_resynthesis(predictor: Predictor, prediction: Prediction, stem: Path) -> list[Path]:
    """Write the resynthesised sound as a float WAV, and both spectrograms as a picture.

    Args:
        predictor: what predicted.
        prediction: one of its predictions.
        stem: folder and beginning of the files' names.

    Returns:
        The files. No sound is among them where the data set was not synthesised.
    """
    picture = stem.with_name(f"{stem.name}.png")
    if predictor.synthesizer is None:
        comparison_figure(predictor, prediction, None).savefig(picture, dpi=100)
        return [picture]
    sound = predictor.resynthesise(prediction.values)
    path = stem.with_name(f"{stem.name}_resynthesised.wav")
    soundfile.write(path, sound, predictor.synthesizer.sample_rate_hz, subtype="FLOAT")
    images, scale_factors = predictor.image_maker(sound[None])
    ends = level_range(scale_factors[0])
    again = Prediction("resynthesised", images[0], prediction.values, level_range_db=ends)
    comparison_figure(predictor, prediction, again).savefig(picture, dpi=100)
    return [path, picture]


def comparison_figure(
    predictor: Predictor, prediction: Prediction, again: Prediction | None
) -> Figure:
    """The image that was predicted from, and that of the resynthesised sound, channel by channel.

    Where both have levels, they are drawn on one scale in dB, and below them is the difference.

    Args:
        predictor: knows axes and units.
        prediction: above.
        again: below; None: nothing.
    """
    axes = ImageAxes(predictor.metadata)
    rows = [prediction] if again is None else [prediction, again]
    ranges = [shown.level_range_db for shown in rows]
    known = [ends for ends in ranges if ends is not None]
    limits = (min(low for low, _ in known), max(high for _, high in known)) if known else BYTES
    levels = [panel for panel in range(len(axes.panels)) if axes.in_decibels(panel)]
    with_difference = len(known) == 2 and bool(levels)
    columns, height = len(axes.panels), len(rows) + with_difference
    figure = Figure(figsize=(2.2 + 3.6 * columns, 3.2 * height + 0.9), layout="constrained")
    cells = figure.subplots(height, columns, squeeze=False)
    for row, (shown, ends) in enumerate(zip(rows, ranges, strict=True)):
        for panel, label in enumerate(axes.panels):
            target = cells[row, panel]
            scale = (ends, limits) if ends is not None and panel in levels else None
            image = axes.draw(
                target,
                shown.image,
                panel,
                time=row == height - 1,
                frequency=panel == 0,
                levels=scale,
            )
            target.set_title(label if columns > 1 else "", fontsize=9)
            if scale is not None:
                colour_bar(figure, image, target, "level [dB]")
        name = Path(shown.source).name
        name = name if len(name) <= SHOWN_LETTERS else f"{name[:SHOWN_LETTERS]}…"
        start = f" from {shown.start_s:.3f} s" if shown.start_s else ""
        below = cells[row, 0].get_ylabel()
        cells[row, 0].set_ylabel(f"{name}{start}\n{below}".strip(), fontsize=8)
    if with_difference:
        for panel in range(columns):
            if panel in levels:
                _draw_difference(figure, cells[-1, panel], axes, rows, panel)
            else:
                cells[-1, panel].set_axis_off()
    captions = []
    for p in predictor.model.parameters_by_head.values():
        true = prediction.true.get(p.name) if prediction.true is not None else None
        label = "" if true is None else f" (true: {value_text(p, true, p.unit)})"
        captions.append(f"{p.name}: {predicted_text(p, prediction, p.unit, 3)}{label}")
    figure.suptitle("\n".join(captions), fontsize=9)
    return plain_texts(figure)


def _draw_difference(
    figure: Figure, target: Axes, axes: ImageAxes, rows: Sequence[Prediction], panel: int
) -> None:
    """Draw by how much the second image is louder than the first."""
    first, second = (
        decibels(thinned(shown.image)[panel], shown.level_range_db or BYTES) for shown in rows
    )
    image = axes.draw(target, rows[0].image, panel, time=True, frequency=panel == 0)
    widest = max(float(np.abs(second - first).max()), LEAST_DIFFERENCE_DB)
    image.set(data=second - first, cmap="RdBu_r", clim=(-widest, widest))
    below = target.get_ylabel()
    target.set_ylabel(f"difference\n{below}".strip(), fontsize=8)
    colour_bar(figure, image, target, "resynthesised − input [dB]")
