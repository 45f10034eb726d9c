"""JSON as the standard has it: null in the place of NaN and infinity."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping


def strict_json(content: object, indent: int | None = None) -> str:
    """Write JSON without ``NaN`` and ``Infinity``, which few programs but Python read.

    Example:
        >>> strict_json({"loss": float("nan"), "best": [0.5, float("inf")]})
        '{"loss": null, "best": [0.5, null]}'
    """
    return json.dumps(_without_nan(content), indent=indent, allow_nan=False)


def _without_nan(content: object) -> object:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(value) for value in content]
    return content
