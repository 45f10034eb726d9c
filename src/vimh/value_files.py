"""The files of version 2.2 beside the records: each sample's exact values, and its group.

`train_values` and `test_values` hold little-endian float32, a row for each sample and a column for
each parameter of its record, in units, in the order of the parameters' ids. `train_groups` and
`test_groups` hold a little-endian uint32 for each sample: those of one group belong together (an
instrument, a recording session). None of them has a header.
"""

import math
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64, Integer, UInt8

from src.vimh.errors import VIMHError
from src.vimh.fields import section, wrong_key
from src.vimh.parameters import ParameterSpace

RowKind = Literal["values", "groups"]
# The numbers of each kind, as `label_encoding` of the metadata names them.
ENCODINGS: dict[RowKind, str] = {"values": "float32", "groups": "uint32"}
ROW_DTYPES = {kind: np.dtype(name).newbyteorder("<") for kind, name in ENCODINGS.items()}
# float32 has to tell so many values apart between min and max, or the byte says more.
_LEAST_STEPS = 2048
_FLOAT32_STEP = 2.0**-23  # relative
_LEAST_FLOAT32, _MOST_FLOAT32 = 2.0**-149, 3e38


def row_kinds(mapping: Mapping[str, object], where: str | Path) -> tuple[RowKind, ...]:
    """Return which files lie beside the records, by `label_encoding` of the metadata.

    Raises:
        VIMHError: It names numbers of another type.
    """
    encoding = section(mapping, "label_encoding", where)
    for kind, name in ENCODINGS.items():
        if encoding.get(kind) not in (None, name):
            expected = f"{name!r}, or missing where there are no {kind} beside the records"
            raise wrong_key(where, f"label_encoding.{kind}", expected, encoding[kind])
    return tuple(kind for kind in ENCODINGS if encoding.get(kind) is not None)


def check_precision(parameters: ParameterSpace) -> None:
    """Check that float32 is finer than a byte.

    Raises:
        VIMHError: A range is too narrow for it, or beyond it.
    """
    for parameter in parameters.values():
        largest = max(abs(parameter.min), abs(parameter.max))
        coarsest = max(_FLOAT32_STEP * largest, _LEAST_FLOAT32)
        if largest > _MOST_FLOAT32 or parameter.range < _LEAST_STEPS * coarsest:
            raise VIMHError(
                f"parameter {parameter.name!r}: float32 has no {_LEAST_STEPS} values from "
                f"{parameter.min:g} to {parameter.max:g}: count it from another zero or in another "
                "unit, or write the data set without exact values"
            )


def check_exact(
    where: str | Path,
    parameters: ParameterSpace,
    values: Float[np.ndarray, "n P"],
    labels: UInt8[np.ndarray, "n P"],
    samples: Integer[np.ndarray, "n"],
) -> None:
    """Check that exact values are finite, within min…max, and what the bytes were made of.

    The byte may be that of any number that float32 rounds to the value. Values are in units,
    parameters in the order of the columns; `where` and `samples` are named in messages.

    Raises:
        VIMHError: One of them is not; the sample, the parameter, the value and the byte are named.
    """
    if not parameters:
        return
    inside, stored = _judged(parameters, values.astype(np.float64), labels)
    right = inside & stored
    if right.all():
        return
    row, column = np.argwhere(~right)[0].tolist()
    parameter, value = list(parameters.values())[column], float(values[row, column])
    found = f"{value:.9g}"
    if not math.isfinite(value):
        expected = "a finite value"
    elif not inside[row, column]:
        expected = f"a value from {parameter.min:g} to {parameter.max:g}"
    elif parameter.is_categorical:
        expected = "the class that its byte says"
    else:
        expected, found = f"byte {parameter.quantise(value)} for the value {found}", "another"
    raise VIMHError(
        f"{where}: sample {samples[row]}: {parameter.name!r}: expected {expected}, found {found} "
        f"(byte {labels[row, column]} in the record)"
    )


def _judged(
    parameters: ParameterSpace, values: Float64[np.ndarray, "n P"], labels: UInt8[np.ndarray, "n P"]
) -> tuple[Bool[np.ndarray, "n P"], Bool[np.ndarray, "n P"]]:
    """Return whether each value is within its range, and whether it is what its byte stands for."""
    low, high = np.array([(p.min, p.max) for p in parameters.values()]).T
    codec = parameters.codec
    with np.errstate(invalid="ignore"):  # infinity less infinity
        room = _FLOAT32_STEP * np.abs(values) + _LEAST_FLOAT32
        below, above = values - room, values + room
        inside = (above >= low) & (below <= high) & np.isfinite(values)
        lowest, highest = (
            (255.0 * codec.normalise(x.clip(low, high)).clip(0.0, 1.0)).round()
            for x in (below, above)
        )
    classes = np.array([p.is_categorical for p in parameters.values()])
    stored = (lowest <= labels) & (labels <= highest) & (~classes | (values == labels))
    return inside, stored


def row_path(records: Path, kind: RowKind) -> Path:
    """Return the file beside a file of records, or beside their pickle.

    Example:
        >>> row_path(Path("train"), "values").name, row_path(Path("test_batch"), "groups").name
        ('train_values', 'test_groups')
    """
    return records.with_name(f"{records.name.removesuffix('_batch')}_{kind}")


class RowFile:
    """A file of numbers beside the records or their pickle: (N, P) exact values, or (N,) groups.

    Raises:
        VIMHError: It is missing or has another size.
    """

    def __init__(self, records: Path, kind: RowKind, num_samples: int, num_columns: int) -> None:
        self.path = row_path(records, kind)
        self.dtype = ROW_DTYPES[kind]
        self._shape = (num_samples, num_columns) if kind == "values" else (num_samples,)
        self.num_bytes = math.prod(self._shape) * self.dtype.itemsize
        said = f"'label_encoding.{kind}' of the metadata is {ENCODINGS[kind]!r}"
        if not os.path.isfile(self.path):
            raise VIMHError(f"{self.path}: there is no such file, but key {said}")
        found = self.path.stat().st_size
        if found != self.num_bytes:
            raise VIMHError(
                f"{self.path}: expected {self.num_bytes} bytes, {num_samples} samples of "
                f"{math.prod(self._shape[1:])} {ENCODINGS[kind]} (key {said}), found {found}"
            )

    def mapped(self) -> np.ndarray:
        """Return all rows, read-only, as a memory map."""
        if not self.num_bytes:  # cannot be mapped
            return np.empty(self._shape, self.dtype)
        with self.path.open("rb") as file:
            content = mmap.mmap(file.fileno(), self.num_bytes, access=mmap.ACCESS_READ)
        return np.frombuffer(content, self.dtype).reshape(self._shape)

    def read(self, first: int, count: int) -> np.ndarray:
        """Read consecutive rows into memory."""
        columns = self._shape[1:]
        width = math.prod(columns)
        offset = first * width * self.dtype.itemsize
        rows = np.fromfile(self.path, self.dtype, count * width, offset=offset)
        return rows.reshape(-1, *columns)
