import json
import math

import numpy as np

from src.utils.strict_json import strict_json


def test_numbers_that_are_none_are_null_everywhere() -> None:
    content = {
        "a": math.nan,
        "b": [1.5, -math.inf, {"c": (math.inf, 2)}],
        "d": np.float64("nan"),
        "e": "NaN",
        "f": None,
        "g": True,
    }
    text = strict_json(content, indent=2)
    assert json.loads(text, parse_constant=lambda word: 1 / 0) == {
        "a": None,
        "b": [1.5, None, {"c": [None, 2]}],
        "d": None,
        "e": "NaN",
        "f": None,
        "g": True,
    }
    assert math.isnan(content["a"])  # the content itself is as it was
