"""What predicting leaves behind: a table, JSON lines, resynthesised sounds, pictures."""

import os
from collections.abc import Sequence
from pathlib import Path

import soundfile
from rich.table import Table
from rich.text import Text

from src.calibration.calibration import percent
from src.evaluation.prediction.doubt import UNLIKE
from src.evaluation.prediction.predictor import Prediction, Predictor
from src.evaluation.prediction.rendition import Rendition
from src.evaluation.presentation.comparison_picture import comparison_figure
from src.evaluation.presentation.image_axes import value_text
from src.evaluation.presentation.prediction_texts import interval_text, predicted_text
from src.evaluation.scoring.audio_metrics import PUBLISHED_METRICS
from src.synth.images import level_range
from src.utils.strict_json import strict_json
from src.vimh.parameters import Parameter

TABLE_ROWS = 40
MAX_STEM_BYTES = 200  # of a file's name, which may have 255 with its number and its ending
SHOWN_DISTANCE = PUBLISHED_METRICS[0]  # in the table; predictions.jsonl has all


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
