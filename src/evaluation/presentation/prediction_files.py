"""What predicting leaves behind: a table, JSON lines, resynthesised sounds, pictures."""

import os
from collections.abc import Sequence
from pathlib import Path

import soundfile
from matplotlib.figure import Figure
from rich.table import Table
from rich.text import Text

from src.evaluation.prediction.predictor import Prediction, Predictor
from src.evaluation.presentation.image_axes import ImageAxes, plain_texts, value_text
from src.utils.strict_json import strict_json
from src.vimh.parameters import Parameter

TABLE_ROWS = 40
MAX_STEM_BYTES = 200  # of a file's name, which may have 255 with its number and its ending
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
    images, _ = predictor.image_maker(sound[None])
    again = Prediction("resynthesised", images[0], prediction.values)
    comparison_figure(predictor, prediction, again).savefig(picture, dpi=100)
    return [path, picture]


def comparison_figure(
    predictor: Predictor, prediction: Prediction, again: Prediction | None
) -> Figure:
    """The image that was predicted from, and that of the resynthesised sound, channel by channel.

    Args:
        predictor: knows axes and units.
        prediction: above.
        again: below; None: nothing.
    """
    axes = ImageAxes(predictor.metadata)
    rows = [prediction] if again is None else [prediction, again]
    columns = len(axes.panels)
    figure = Figure(figsize=(1.5 + 3.6 * columns, 3.2 * len(rows) + 0.9), layout="constrained")
    cells = figure.subplots(len(rows), columns, squeeze=False)
    for row, shown in enumerate(rows):
        for panel, label in enumerate(axes.panels):
            target = cells[row, panel]
            axes.draw(target, shown.image, panel, time=row == len(rows) - 1, frequency=panel == 0)
            target.set_title(label if columns > 1 else "", fontsize=9)
        name = Path(shown.source).name
        name = name if len(name) <= SHOWN_LETTERS else f"{name[:SHOWN_LETTERS]}…"
        start = f" from {shown.start_s:.3f} s" if shown.start_s else ""
        below = cells[row, 0].get_ylabel()
        cells[row, 0].set_ylabel(f"{name}{start}\n{below}".strip(), fontsize=8)
    lines = []
    for p in predictor.model.parameters_by_head.values():
        true = prediction.true.get(p.name) if prediction.true is not None else None
        known = "" if true is None else f" (true: {value_text(p, true, p.unit)})"
        lines.append(f"{p.name}: {predicted_text(p, prediction, p.unit, 3)}{known}")
    figure.suptitle("\n".join(lines), fontsize=9)
    return plain_texts(figure)
