"""What predicting leaves behind: a table, JSON lines, resynthesised sounds, pictures."""

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table
from rich.text import Text

from src.calibration.calibration import percent
from src.evaluation.prediction.doubt import UNLIKE
from src.evaluation.prediction.predictor import Prediction, Predictor
from src.evaluation.prediction.rendition import Rendition
from src.evaluation.presentation.image_axes import (
    BYTES,
    ImageAxes,
    colour_bar,
    decibels,
    plain_texts,
    thinned,
    value_text,
)
from src.evaluation.scoring.audio_metrics import PUBLISHED_METRICS
from src.refining.refiner import Refined
from src.synth.images import level_range
from src.utils.strict_json import strict_json
from src.vimh.parameters import Parameter

TABLE_ROWS = 40
MAX_STEM_BYTES = 200  # of a file's name, which may have 255 with its number and its ending
SHOWN_DISTANCE = PUBLISHED_METRICS[0]  # in the table; predictions.jsonl has all
SHOWN_S = 0.03  # of waveforms, around the loudest sample
LEAST_DIFFERENCE_DB = 1.0  # that the colours tell apart: less cannot be heard
LETTERS_PER_INCH = 12  # of a caption
SHOWN_LETTERS = 40  # of a name in a picture


def prediction_table(predictions: Sequence[Prediction], parameters: Sequence[Parameter]) -> Table:
    """Return a line for each of the first predictions; true values stand in brackets."""
    hidden = len(predictions) - TABLE_ROWS
    said = [f"and {hidden} more in predictions.jsonl"] if hidden > 0 else []
    doubts = [p.doubt for p in predictions if p.doubt is not None]
    said += [f"square brackets: intervals at {percent(doubts[0].confidence)}"] if doubts else []
    table = Table(caption="; ".join(said) or None, caption_justify="left")
    table.add_column("input", overflow="fold")
    with_unlike = any(doubt.is_unlike for doubt in doubts)
    if with_unlike:
        table.add_column(Text(UNLIKE.replace(" (", "\n(")))
    with_start = any((p.start_s or 0.0) > 0 for p in predictions)
    if with_start:
        table.add_column("start [s]", justify="right", no_wrap=True)
    with_refined = any(p.refined for p in predictions)
    if with_refined:
        table.add_column("values", overflow="fold")
    for p in parameters:
        table.add_column(
            Text(f"{p.name} [{p.unit}]" if p.unit else p.name), justify="right", no_wrap=True
        )
    with_distance = any(p.resynthesis and p.resynthesis.distances for p in predictions)
    headings = [f"{SHOWN_DISTANCE.label} [{SHOWN_DISTANCE.unit}]"] if with_distance else []
    headings += ["residual [dB]", "renders", "time [s]"] if with_refined else []
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for prediction in predictions[:TABLE_ROWS]:
        cells: list[Text | str] = [Text(Path(prediction.source).name)]
        is_unlike = prediction.doubt is not None and prediction.doubt.is_unlike
        cells += ["unlike" if is_unlike else ""] if with_unlike else []
        cells += [f"{prediction.start_s or 0.0:.3f}"] if with_start else []
        cells += ["network"] if with_refined else []
        for p in parameters:
            text = predicted_text(p, prediction) + interval_text(p, prediction)
            if prediction.true is not None and p.name in prediction.true:
                text += f" ({value_text(p, prediction.true[p.name])})"
            cells.append(Text(text))
        cells += [_distance_text(prediction.resynthesis)] if with_distance else []
        table.add_row(*cells)
        if prediction.refined is not None:
            empty = [""] * (1 + with_unlike + with_start)
            cells = [*empty, *_refined_cells(prediction, parameters)]
            table.add_row(*cells)
    return table


def _refined_cells(prediction: Prediction, parameters: Sequence[Parameter]) -> list[Text | str]:
    """Return the cells of a refined prediction, from the kind of its values on."""
    found = prediction.refined
    assert found is not None
    cells: list[Text | str] = ["refined" if found.converged else "not converged"]
    cells += [Text(value_text(p, found.values[p.name])) for p in parameters]
    if prediction.resynthesis is not None and prediction.resynthesis.distances:
        cells.append(_distance_text(prediction.refined_sound))
    return [*cells, f"{found.residual_db:.1f}", str(found.renders), f"{found.seconds:.1f}"]


def _distance_text(sound: Rendition | None) -> str:
    """Return the one distance that the table has."""
    known = sound is not None and sound.distances
    return f"{known[SHOWN_DISTANCE.name]:#.3g}" if known else ""


def interval_text(parameter: Parameter, prediction: Prediction) -> str:
    """Return the interval of a value, or the other classes that may be true, in brackets."""
    doubt = prediction.doubt
    if doubt is None:
        return ""
    if parameter.name in doubt.ends:
        low, high = (value_text(parameter, end) for end in doubt.ends[parameter.name])
        return f" [{low}, {high}]"
    classes = doubt.classes[parameter.name]
    return f" [{', '.join(classes)}]" if len(classes) > 1 else ""


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
    """Write the resynthesised and the refined sound as float WAVs, and all images as a picture.

    Args:
        predictor: what predicted.
        prediction: one of its predictions, with its sounds.
        stem: folder and beginning of the files' names.

    Returns:
        The files. No sound is among them where the data set was not synthesised.
    """
    picture = stem.with_name(f"{stem.name}.png")
    found = {"resynthesised": prediction.resynthesis, "refined": prediction.refined_sound}
    files, shown = [], []
    for name, rendered in found.items():
        if rendered is None or predictor.synthesizer is None:
            continue
        path = stem.with_name(f"{stem.name}_{name}.wav")
        rate_hz = predictor.synthesizer.sample_rate_hz
        soundfile.write(path, rendered.sound, rate_hz, subtype="FLOAT")
        images, scale_factors = predictor.image_maker(rendered.sound[None])
        ends = level_range(scale_factors[0])
        shown.append(Prediction(name, images[0], prediction.values, level_range_db=ends))
        files.append(path)
    comparison_figure(predictor, prediction, *shown).savefig(picture, dpi=100)
    return [*files, picture]


def comparison_figure(predictor: Predictor, prediction: Prediction, *again: Prediction) -> Figure:
    """The image that was predicted from, and those of the sounds made of it, channel by channel.

    Where all have levels, they are drawn on one scale in dB, and below them is the difference of
    the last and the first. Where refining found the very waveform, it is drawn below the input's.

    Args:
        predictor: knows axes and units.
        prediction: above.
        *again: below: the resynthesised sound, and the refined one.
    """
    axes = ImageAxes(predictor.metadata)
    rows = [prediction, *again]
    ranges = [shown.level_range_db for shown in rows]
    known = [ends for ends in ranges if ends is not None]
    limits = (min(low for low, _ in known), max(high for _, high in known)) if known else BYTES
    levels = [panel for panel in range(len(axes.panels)) if axes.in_decibels(panel)]
    with_difference = len(known) > 1 and len(known) == len(rows) and bool(levels)
    columns, height = len(axes.panels), len(rows) + with_difference
    with_waveforms = _has_waveforms(prediction)
    size = (2.2 + 3.6 * columns, 3.2 * (height + with_waveforms) + 0.9)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.add_gridspec(height + with_waveforms, columns)
    cells = np.array(
        [
            [figure.add_subplot(grid[row, column]) for column in range(columns)]
            for row in range(height)
        ]
    )
    if with_waveforms:
        _draw_waveforms(figure.add_subplot(grid[-1, :]), prediction, predictor)
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
    width = round(LETTERS_PER_INCH * size[0])
    wrapped = [line for caption in captions for line in textwrap.wrap(caption, width)]
    figure.suptitle("\n".join(wrapped), fontsize=9)
    return plain_texts(figure)


def refining_text(found: Refined) -> str:
    """Return what became of refining, in a sentence."""
    effort = f"{found.renders} renders, {found.seconds:.1f} s"
    if not found.converged:
        return (
            f"refining did not converge (residual {found.residual_db:.1f} dB, {effort}): "
            "the network's values are kept"
        )
    return f"refined: residual {found.residual_db:.1f} dB of the {found.compared}, {effort}"


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
