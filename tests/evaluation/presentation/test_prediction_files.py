import json
import math
from pathlib import Path

import numpy as np
import pytest

from src.evaluation.prediction.predictor import Prediction
from src.evaluation.presentation.prediction_files import write_lines


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
