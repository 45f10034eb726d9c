"""Tables of labels: CSV, TSV and JSON lines, read within bounds and kept as texts."""

import csv
import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.vimh.errors import VIMHError
from src.vimh.plain import shown

FILE = "file"  # the column that names the sound or image
MAX_BYTES = 2**28
MAX_COLUMNS = 1000
MAX_CELL = 10_000  # characters
MAX_NAMED = 8  # columns in a message
_WITH_COMMA = re.compile(r"[+-]?\d+(,\d+)?([eE][+-]?\d+)?")
_JSON_LINES = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True)
class Table:
    """Labels as texts.

    Attributes:
        source: where they come from, for messages.
        columns: the texts of each column, by its name, the file among them.
        rows: the number of each row, as people count them; empty: there are no rows.
    """

    source: str
    columns: dict[str, list[str]]
    rows: list[int]

    def where(self, index: int) -> str:
        """Name a row in a message."""
        row = f"row {self.rows[index]}: " if self.rows else ""
        return f"{row}{shown(self.columns[FILE][index])}"


def read_table(path: Path) -> Table:
    """Read a table of labels.

    The first line of CSV and TSV names the columns; ``;`` separates them too, and where it does,
    numbers may have a decimal comma. A column whose cells are all empty is left out. Each line of
    JSON lines is an object of texts, numbers, true, false and null.

    Args:
        path: the file: .tsv, .jsonl (or .ndjson, .json), else CSV; UTF-8.

    Raises:
        VIMHError: it is no such table, has no column `file`, or is too large.
    """
    text = _text(path)
    is_json = path.suffix.lower() in _JSON_LINES
    lines = list(io.StringIO(text, newline=""))
    found = _json_lines(path, lines) if is_json else _separated(path, lines)
    header = next(found, (0, []))[1]
    if FILE not in header:
        header = [name.lower() if name.lower() == FILE else name for name in header]
    if FILE not in header:
        named = ", ".join(shown(name) for name in header[:MAX_NAMED])
        raise VIMHError(
            f"{path}: expected a column {FILE!r} that names each sound or image, found "
            f"{named or 'no column'}{', ...' if len(header) > MAX_NAMED else ''}"
        )
    _check_header(path, header)
    rows: list[int] = []
    cells: list[list[str]] = [[] for _ in header]
    for number, row in found:
        if len(row) != len(header):
            raise VIMHError(
                f"{path}: row {number} has {len(row)} cells, expected {len(header)}, as many as "
                "there are columns"
            )
        rows.append(number)
        for column, cell in zip(cells, row, strict=True):
            if len(cell) > MAX_CELL:
                raise VIMHError(
                    f"{path}: row {number} has a cell of {len(cell)} characters, expected at most "
                    f"{MAX_CELL}"
                )
            column.append(cell.strip())
    if not rows:
        raise VIMHError(f"{path}: there are no rows in it, only the names of the columns")
    columns = dict(zip(header, cells, strict=True))
    filled = {name: texts for name, texts in columns.items() if name == FILE or any(texts)}
    if not is_json and _separator(path, lines) == ";":
        filled = {
            name: texts if name == FILE else _pointed(texts) for name, texts in filled.items()
        }
    return Table(str(path), filled, rows)


def _pointed(texts: list[str]) -> list[str]:
    """Return numbers with a decimal point, where all texts are numbers and some have a comma."""
    if not all(_WITH_COMMA.fullmatch(text) for text in texts if text):
        return texts
    return [text.replace(",", ".") for text in texts]


def _text(path: Path) -> str:
    if not os.path.isfile(path):
        raise VIMHError(f"{path}: there is no such table of labels")
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise VIMHError(f"{path}: expected at most {MAX_BYTES} bytes, found more")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise VIMHError(
            f"{path}: not UTF-8 text (byte {error.start}); save the table as CSV UTF-8"
        ) from error


def _check_header(path: Path, header: Sequence[str]) -> None:
    if len(header) > MAX_COLUMNS:
        raise VIMHError(f"{path}: expected at most {MAX_COLUMNS} columns, found {len(header)}")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice or "" in header:
        raise VIMHError(
            f"{path}: expected a name for each column, each once, found "
            f"{f'{shown(twice[0])} twice' if twice and twice[0] else 'a column without a name'}"
        )


def _separator(path: Path, lines: Sequence[str]) -> str:
    first = lines[0] if lines else ""
    if path.suffix.lower() in (".tsv", ".tab") or ("\t" in first and "," not in first):
        return "\t"
    return "," if "," in first or ";" not in first else ";"


def _separated(path: Path, lines: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield header and rows, each with its line, without empty ones."""
    reader = csv.reader(lines, delimiter=_separator(path, lines), strict=True)
    is_header = True
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, [cell.strip() for cell in row] if is_header else row
                is_header = False
    except csv.Error as error:
        raise VIMHError(f"{path}: line {reader.line_num}: no table of cells: {error}") from error


def _json_lines(path: Path, lines: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the keys of the first line as header, and all lines as rows of their texts."""
    header: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        values = _json_object(path, number, line)
        if not header:
            header = [*values]
            yield number, header
        if unknown := values.keys() - set(header):
            raise VIMHError(
                f"{path}: line {number} has the key {shown(min(unknown))}, which the first line "
                "does not have; expected the same keys in each"
            )
        yield number, [values.get(key, "") for key in header]


def _json_object(path: Path, number: int, line: str) -> dict[str, str]:
    try:
        # Numbers stay as they are written: what they are is decided for a whole column.
        found = json.loads(line, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise VIMHError(f"{path}: line {number}: not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise VIMHError(f"{path}: line {number}: expected an object, found {shown(found)}")
    words = {None: "", True: "true", False: "false"}
    texts: dict[str, str] = {}
    for key, value in found.items():
        if isinstance(value, dict | list):
            raise VIMHError(
                f"{path}: line {number}: key {shown(key)}: expected a text or a number, found "
                f"{shown(value)}"
            )
        texts[key.strip()] = value if isinstance(value, str) else words[value]
    return texts
