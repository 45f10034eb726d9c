"""Read single values of a data set's JSON; refuse a wrong type and what is out of bounds."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from src.vimh.codec import Spacing
from src.vimh.errors import VIMHError
from src.vimh.plain import shown

Kind = Literal["continuous", "categorical"]
StepKind = Literal["jnd", "tolerance"]
_CHOICES = {"kind": get_args(Kind), "spacing": get_args(Spacing), "step_kind": get_args(StepKind)}
MAX_NAME_BYTES = 200  # some names become names of files, with a suffix; systems take 255
# Hz and s: the bounds for a sound that can be drawn and heard.
LEAST_SOUND, MOST_SOUND = 1e-3, 1e9
_MAX_TRANSFORM = 2**24  # samples of a window, a transform or a hop


def check_name(name: str, what: str) -> str:
    """Check that a name can be printed, drawn and part of a file's name; return it.

    Raises:
        VIMHError: It is empty or too long, or holds characters that cannot be printed (line ends,
            escape sequences, marks that change the direction of writing).
    """
    size = len(name.encode(errors="surrogatepass"))
    if not name.isprintable() or not 0 < size <= MAX_NAME_BYTES:
        raise VIMHError(
            f"{what} must be of 1 to {MAX_NAME_BYTES} bytes that can be printed, found "
            f"{shown(name)} of {size} bytes"
        )
    return name


def wrong_key(where: str | Path, key: str, expected: str, found: object) -> VIMHError:
    """Return the error of a key that holds something else than expected."""
    return VIMHError(f"{where}: key '{key}' must be {expected}, found {shown(found)}")


def count(
    mapping: Mapping[str, object], key: str, where: str | Path, *, least: int, most: int
) -> int:
    """Read a whole number that must be present."""
    value = mapping[key]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise wrong_key(where, key, f"a whole number from {least} to {most}", value)
    return value


def optional_count(mapping: Mapping[str, object], key: str, where: str | Path) -> int | None:
    """Read a number of samples; None where the key is missing."""
    if mapping.get(key) is None:
        return None
    return count(mapping, key, where, least=0, most=2**63 - 1)


def number(
    mapping: Mapping[str, object], key: str, where: str | Path, *, least: float, most: float
) -> float:
    """Read a number that must be present."""
    value = mapping[key]
    is_bool = isinstance(value, bool)
    # The comparison is false for a NaN, and compares huge integers without converting them.
    if is_bool or not isinstance(value, int | float) or not least <= value <= most:
        raise wrong_key(where, key, f"a number from {least:g} to {most:g}", value)
    return float(value)


def positive(mapping: Mapping[str, object], key: str, where: str | Path) -> float:
    """Read a rate, a time or a length of a sound: positive, and neither tiny nor huge."""
    return number(mapping, key, where, least=LEAST_SOUND, most=MOST_SOUND)


def optional_positive(mapping: Mapping[str, object], key: str, where: str | Path) -> float | None:
    """Read a rate, a time or a length of a sound; None where the key is missing."""
    return None if mapping.get(key) is None else positive(mapping, key, where)


def text(mapping: Mapping[str, object], key: str, where: str | Path) -> str | None:
    """Read a name, which may be empty; None where the key is missing."""
    value = mapping.get(key)
    if value is not None and not isinstance(value, str):
        raise wrong_key(where, key, "a string", value)
    return check_name(value, f"{where}: key '{key}'") if value else value


def texts(mapping: Mapping[str, object], key: str, where: str | Path) -> tuple[str, ...]:
    """Read a list of names that must be present."""
    found = mapping[key]
    if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
        raise wrong_key(where, key, "a list of names", found)
    return tuple(check_name(name, f"{where}: a name of '{key}'") for name in found)


def section(mapping: Mapping[str, object], key: str, where: str | Path) -> dict[str, object]:
    """Read an object; an empty one where the key is missing."""
    value = mapping.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise wrong_key(where, key, "an object", value)
    return dict(value)


def checksums(mapping: Mapping[str, object], where: str | Path) -> dict[str, str]:
    """Read the SHA-256 checksums by name of the file."""
    found = section(mapping, "checksums", where)
    inside = f"{where}: checksums"
    return {check_name(name, inside): text(found, name, inside) or "" for name in found}


def spectrogram_config(mapping: Mapping[str, object], where: str | Path) -> dict[str, object]:
    """Read the settings of the transform; check the keys that the project uses."""
    found = section(mapping, "spectrogram_config", where)
    inside = f"{where}: spectrogram_config"
    for key in ("type", "window_type"):
        text(found, key, inside)
    for key in ("n_fft", "n_window", "hop_length"):
        if found.get(key) is not None:
            number(found, key, inside, least=1, most=_MAX_TRANSFORM)
    for key in ("floor_db", "floor_db_rel", "bins_per_harmonic", "freq_min", "bins_per_octave"):
        if found.get(key) is not None:
            number(found, key, inside, least=-1e6, most=1e6)
    optional_positive(found, "sample_rate", inside)
    return found


def mel_config(mapping: Mapping[str, object], where: str | Path) -> dict[str, object]:
    """Read the settings of the mel scale; check the keys that the project uses."""
    found = section(mapping, "mel_config", where)
    for key, most in (("freq_min", MOST_SOUND), ("freq_max_ratio", 1e3)):
        if found.get(key) is not None:
            number(found, key, f"{where}: mel_config", least=0.0, most=most)
    return found


def check_unlisted(mapping: Mapping[str, object], where: str | Path) -> None:
    """Check the keys that are no attribute of `Metadata` but that other code reads from `raw`."""
    if mapping.get("pre_emphasis_coefficient") is not None:
        number(mapping, "pre_emphasis_coefficient", where, least=-1e6, most=1e6)
    shared = mapping.get("scale_range_db")
    if shared is not None:
        if not isinstance(shared, list | tuple) or len(shared) != 2:
            raise wrong_key(where, "scale_range_db", "a list of two numbers in dB", shared)
        for value in shared:
            number({"scale_range_db": value}, "scale_range_db", where, least=-1e6, most=1e6)
    fixed = mapping.get("fixed_parameters")
    if isinstance(fixed, list | tuple) and all(isinstance(name, str) for name in fixed):
        return
    if fixed is not None and not isinstance(fixed, Mapping):
        expected = "an object of values by name, or a list of names"
        raise wrong_key(where, "fixed_parameters", expected, fixed)


def parameter_number(name: str, key: str, value: object) -> float:
    """Read a finite float; an error names the key."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise VIMHError(f"parameter {name!r}: '{key}' must be a number, found {shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise VIMHError(f"parameter {name!r}: '{key}' must be finite, found {shown(value)}")
    return number


def parameter_value(name: str, key: str, value: object) -> Any:
    """Read a value of a parameter's entry in its field's type; an error names the key."""
    if key in ("min", "max") or (key == "step" and value is not None):
        return parameter_number(name, key, value)
    if key == "class_names":
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            raise VIMHError(
                f"parameter {name!r}: '{key}' must be a list of strings, found {shown(value)}"
            )
        return tuple(value)
    if key in _CHOICES and value not in _CHOICES[key]:
        raise VIMHError(
            f"parameter {name!r}: {key!r} must be one of {_CHOICES[key]}, found {shown(value)}"
        )
    if not isinstance(value, str) and not (key in ("scale", "step") and value is None):
        raise VIMHError(f"parameter {name!r}: '{key}' must be a string, found {shown(value)}")
    return value
