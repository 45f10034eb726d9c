import json
import math
from pathlib import Path

import numpy as np
import pytest

from src.checkpoint import load_model, read_checkpoint
from src.evaluation.prediction.doubt import Doubt
from src.evaluation.prediction.predictor import Prediction, Predictor, shares_of
from src.evaluation.presentation.comparison_picture import comparison_figure
from src.evaluation.presentation.prediction_files import write_lines
from src.evaluation.presentation.prediction_texts import predicted_text
from src.vimh.parameters import Parameter

MODEL = Path(__file__).parents[3] / "examples" / "model" / "simple_wide.safetensors"


def test_lines_are_strict_json(tmp_path: Path) -> None:
    image = np.zeros((1, 1, 1), np.uint8)
    found = [
        Prediction("a.wav", image, {"decay": math.nan}),
        Prediction("b.wav", image, {"decay": 1.0}),
    ]
    write_lines(tmp_path / "predictions.jsonl", found, {"c.wav": "no sound"})
    lines = [
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
        for line in (tmp_path / "predictions.jsonl").read_text().splitlines()
    ]
    assert [line.get("values") for line in lines] == [{"decay": None}, {"decay": 1.0}, None]


def test_classes_are_shown_with_their_probabilities(tmp_path: Path) -> None:
    wave = Parameter("wave", 0, 1, kind="categorical", class_names=("saw", "square", "sine"))
    decay = Parameter("decay", 0.0, 1.0, 0.5)
    shares = {
        "wave": shares_of(wave, [0.04, 0.9, 0.06]),
        "decay": shares_of(decay, [0.0, 0.5, 0.5]),
    }
    found = Prediction(
        "a.wav",
        np.zeros((1, 1, 1), np.uint8),
        {"wave": 1.0, "decay": 0.5},
        probabilities=shares,
    )
    assert predicted_text(wave, found) == "square 90 %"
    assert predicted_text(wave, found, most=3) == "square 90 %, sine 6 %, saw 4 %"
    assert predicted_text(decay, found, "s") == "0.5 s"
    write_lines(tmp_path / "lines", [found], {})
    line = json.loads((tmp_path / "lines").read_text())
    assert line["probabilities"] == {
        "wave": {"saw": 0.04, "square": 0.9, "sine": 0.06},
        "decay": [0.0, 0.5, 0.5],
    }


def test_classes_of_one_name_share_their_probability() -> None:
    twice = Parameter("wave", 0, 1, kind="categorical", class_names=("saw", "saw", "sine"))
    assert shares_of(twice, [0.25, 0.25, 0.5]) == {"saw": 0.5, "sine": 0.5}


def test_the_picture_has_levels_and_their_difference() -> None:
    read = read_checkpoint(MODEL)
    predictor = Predictor(load_model(read), read.metadata)
    rows, columns = predictor.metadata.height, predictor.metadata.width
    image = np.zeros((predictor.metadata.channels, rows, columns), np.uint8)
    image[:, 0] = 255
    values = dict.fromkeys(predictor.model.parameters_by_head, 1.0)
    first = Prediction("a.wav", image, values, level_range_db=(-60.0, 0.0))
    again = Prediction("resynthesised", image, values, level_range_db=(-60.0, 3.0))
    figure = comparison_figure(predictor, first, again)
    drawn = [picture for axes in figure.axes for picture in axes.get_images()]
    assert [picture.get_clim() for picture in drawn[:2]] == [(-60.0, 3.0)] * 2
    assert drawn[-1].get_clim() == (-3.0, 3.0)
    difference = np.asarray(drawn[-1].get_array())
    assert difference[0] == pytest.approx(3.0)
    assert difference[1:] == pytest.approx(0.0)
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels.count("level [dB]") == 2
    assert "resynthesised − input [dB]" in labels
    unknown = comparison_figure(predictor, Prediction("a.wav", image, values))
    assert not any("dB" in axes.get_ylabel() for axes in unknown.axes)


def test_the_picture_has_intervals_around_the_networks_values() -> None:
    read = read_checkpoint(MODEL)
    predictor = Predictor(load_model(read), read.metadata)
    parameters = predictor.model.parameters_by_head
    rows, columns = predictor.metadata.height, predictor.metadata.width
    values = {name: p.min + 0.5 * (p.max - p.min) for name, p in parameters.items()}
    ends = {n: (p.min + 0.4 * (p.max - p.min), p.max) for n, p in parameters.items()}
    image = np.zeros((predictor.metadata.channels, rows, columns), np.uint8)
    found = Prediction(
        "a.wav",
        image,
        values,
        doubt=Doubt(0.9, ends, {}, None),
        true={n: values[n] for n in values},
    )
    axes = comparison_figure(predictor, found).axes[-1]
    (bars,) = axes.collections
    assert [bar[:, 0].tolist() for bar in bars.get_segments()] == [
        pytest.approx([-10.0, 50.0]) for _ in parameters
    ]
    assert [text.get_text() for text in axes.get_yticklabels()] == list(parameters)
    legend = axes.get_legend()
    assert legend is not None
    said = {text.get_text() for text in legend.get_texts()}
    assert said == {"interval at 90 %", "network", "true"}
