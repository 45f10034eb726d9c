"""Columns of texts to parameters and their values: numbers are continuous, words categorical."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Integer

from src.recordings.problems import Problems
from src.recordings.settings import ImportSettings, ParameterOverride
from src.recordings.table import FILE, Table
from src.schema.arguments import unknown_key
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError
from src.vimh.parameters import Parameter, ParameterSpace
from src.vimh.plain import shown

GROUP, SPLIT = "group", "split"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_MOST = 1e37  # of a label: float32 holds the exact values
_MAX_CLASSES = 256


@dataclass(frozen=True)
class Labels:
    """The labels of the rows that are kept.

    Attributes:
        parameters: of every column, also those that do not vary.
        values: in units, of those that vary; of a categorical one the class.
        kept: the rows of the table that these are.
        in_test: whether the table says that a row tests; None: it does not say it.
        groups: of each row; None: there are none.
    """

    parameters: ParameterSpace
    values: Float64[np.ndarray, "N P"]
    kept: Integer[np.ndarray, "N"]
    in_test: Bool[np.ndarray, "N"] | None
    groups: Integer[np.ndarray, "N"] | None


class _Rows:
    """The rows that are still good; the first problem of a row is the one that is told."""

    def __init__(self, table: Table, kept: Sequence[int], problems: Problems) -> None:
        self.table = table
        self.kept = list(kept)
        self.problems = problems

    def texts(self, column: str) -> list[str]:
        cells = self.table.columns[column]
        return [cells[index] for index in self.kept]

    def keep(self, column: str, is_good: Callable[[str], bool], expected: str) -> None:
        """Drop the rows whose text is not good."""
        cells, kept = self.table.columns[column], []
        for index in self.kept:
            if is_good(cells[index]):
                kept.append(index)
            else:
                self.problems.add(
                    self.table.where(index), f"{column} is {shown(cells[index])}, {expected}"
                )
        self.kept = kept


def read_labels(
    table: Table, kept: Sequence[int], settings: ImportSettings, problems: Problems
) -> Labels:
    """Turn columns into parameters.

    Args:
        table: what the user wrote.
        kept: the rows whose files are there.
        settings: what the user says of the columns.
        problems: gets the rows that cannot be used.

    Raises:
        ConfigError: the settings name a column that is not there.
        VIMHError: a column has too many classes, a group is on both sides of the split, or nothing
            varies.
    """
    names, group_by = _columns(table, settings)
    rows = _Rows(table, kept, problems)
    kinds = {name: _kind(rows.texts(name), settings.override(name)) for name in names}
    splits = SPLIT in table.columns and SPLIT not in names
    _keep_good(rows, kinds, settings, SPLIT if splits else None, group_by)
    problems.check()
    if not rows.kept:
        raise VIMHError(f"{table.source}: no row is left; the first: {problems.found[0]}")
    made = [_parameter(rows, name, kinds[name], settings.override(name)) for name in names]
    space = ParameterSpace(parameter for parameter, _ in made)
    if not space.heads:
        raise VIMHError(
            f"{table.source}: {', '.join(names)} is the same in every row, so there is nothing to "
            "learn; expected a column that varies"
        )
    values = np.stack([column for p, column in made if not p.is_fixed], axis=1)
    in_test, groups = None, None
    if splits:
        in_test = np.array([text.lower() == "test" for text in rows.texts(SPLIT)])
    if group_by is not None:
        texts = rows.texts(group_by)
        groups = np.unique(np.array(texts, dtype=object), return_inverse=True)[1].astype(np.uint32)
        if in_test is not None:
            _check_crossing(texts, groups, in_test)
    return Labels(space, values, np.array(rows.kept, dtype=np.int64), in_test, groups)


def _keep_good(
    rows: _Rows,
    kinds: Mapping[str, str],
    settings: ImportSettings,
    split: str | None,
    group_by: str | None,
) -> None:
    """Drop the rows with a label that cannot be used."""
    for name, kind in kinds.items():
        if kind == "continuous":
            _keep_numbers(rows, name, settings.override(name))
        else:
            rows.keep(name, bool, "expected a word")
    if split is not None:
        is_side = ("train", "test").__contains__
        rows.keep(split, lambda text: is_side(text.lower()), "expected train or test")
    if group_by is not None:
        rows.keep(group_by, bool, "expected the name of a group")


def _columns(table: Table, settings: ImportSettings) -> tuple[list[str], str | None]:
    """Return the columns that are parameters, and the one that groups."""
    there = table.columns
    group_by = settings.group_by or (GROUP if GROUP in there else None)
    reserved = {FILE, SPLIT, GROUP}
    names = settings.columns or [name for name in there if name not in reserved]
    for key, wanted in (
        ("columns", settings.columns or []),
        ("group_by", [settings.group_by] if settings.group_by else []),
        ("parameters", list(settings.parameters)),
    ):
        for name in wanted:
            known = names if key == "parameters" else [other for other in there if other != FILE]
            if name not in known:
                at = f"parameters.{name}" if key == "parameters" else f"{key}: {name}"
                raise ConfigError(unknown_key(at, name, known))
    if not names:
        raise VIMHError(
            f"{table.source}: expected a column of labels beside {', '.join(there)}, found none"
        )
    return names, group_by


def is_number(text: str) -> bool:
    """Whether a text is a finite number that float32 can hold."""
    return _NUMBER.fullmatch(text) is not None and abs(float(text)) <= _MOST


def _kind(texts: Sequence[str], said: ParameterOverride) -> str:
    """Decide by the majority, so that a single wrong cell is named and not a class."""
    if said.kind is not None:
        return said.kind
    filled = [text for text in texts if text]
    numbers = sum(map(is_number, filled))
    return "continuous" if 2 * numbers > len(filled) or not filled else "categorical"


def _keep_numbers(rows: _Rows, name: str, said: ParameterOverride) -> None:
    low = -_MOST if said.min is None else said.min
    high = _MOST if said.max is None else said.max
    rows.keep(name, is_number, "not a finite number")
    if said.spacing == "log":
        rows.keep(name, lambda text: float(text) > 0, "expected more than 0 with spacing log")
    ends = {"min": said.min, "max": said.max}
    given = [f"{key} {value:g}" for key, value in ends.items() if value is not None]
    if given:
        inside = f"outside of parameters.{name}'s {' and '.join(given)}"
        rows.keep(name, lambda text: low <= float(text) <= high, inside)


def _parameter(
    rows: _Rows, name: str, kind: str, said: ParameterOverride
) -> tuple[Parameter, Float64[np.ndarray, "N"]]:
    texts = rows.texts(name)
    if kind == "categorical":
        for key in ("min", "max", "step"):
            if getattr(said, key) is not None:
                raise ConfigError(
                    f"parameters.{name}.{key} is given, and {name} is categorical; leave it out, "
                    f"or set parameters.{name}.kind=continuous"
                )
        return _categorical(rows.table, name, texts, said)
    values = np.array(texts, dtype=np.float64)
    low, high = outward(float(values.min()), float(values.max()), said.spacing)
    parameter = Parameter(
        name,
        min=low if said.min is None else said.min,
        max=high if said.max is None else said.max,
        step=said.step,
        spacing=said.spacing,
        step_kind="jnd" if said.step is None else said.step_kind,
        unit=said.unit,
        description=said.description,
    )
    return parameter, values


def _categorical(
    table: Table, name: str, texts: Sequence[str], said: ParameterOverride
) -> tuple[Parameter, Float64[np.ndarray, "N"]]:
    classes = sorted(set(texts), key=lambda text: (not is_number(text), _order(text)))
    if len(classes) > _MAX_CLASSES:
        raise VIMHError(
            f"{table.source}: {name} has {len(classes)} different words, such as "
            f"{shown(classes[0])} and {shown(classes[-1])}; expected at most {_MAX_CLASSES} "
            "classes; choose the columns that are parameters with columns=[...], and the one that "
            "groups with group_by=..."
        )
    index = {text: place for place, text in enumerate(classes)}
    last = 0.0 if len(classes) == 1 else 255.0
    parameter = Parameter(
        name,
        min=0.0,
        max=last,
        kind="categorical",
        class_names=tuple(classes),
        unit=said.unit,
        description=said.description,
    )
    return parameter, np.array([index[text] for text in texts], dtype=np.float64)


def _order(text: str) -> tuple[float, str]:
    return (float(text), text) if is_number(text) else (0.0, text)


def outward(low: float, high: float, spacing: str = "linear") -> tuple[float, float]:
    """Round a range outward: whole numbers stay, others get two digits of the span.

    Logarithmic ranges get two digits of each end.

    Example:
        >>> outward(36.0, 84.0), outward(-1.987, 0.298), outward(20.3, 8123.4, "log")
        ((36.0, 84.0), (-2.0, 0.3), (20.0, 8200.0))
    """
    if low == high or (low.is_integer() and high.is_integer()):
        return low, high
    spans = (low, high) if spacing == "log" else (high - low, high - low)
    first, last = (
        _to_unit(v, s, up) for v, s, up in zip((low, high), spans, (False, True), strict=True)
    )
    return min(first, low), max(last, high)


def _to_unit(value: float, span: float, up: bool) -> float:
    exponent = math.floor(math.log10(span)) - 1
    scaled = value / 10.0**exponent
    near = round(scaled)
    if abs(scaled - near) > 1e-9 * max(1.0, abs(scaled)):
        near = math.ceil(scaled) if up else math.floor(scaled)
    return float(f"{near}e{exponent}")


def _check_crossing(
    texts: Sequence[str], groups: Integer[np.ndarray, "N"], in_test: Bool[np.ndarray, "N"]
) -> None:
    """Refuse groups that a split tears apart."""
    both = np.intersect1d(groups[in_test], groups[~in_test])
    if len(both):
        first = texts[int(np.argmax(groups == both[0]))]
        raise VIMHError(
            f"{len(both)} groups are in train and in test too, the first of them {shown(first)}; "
            "expected each group on one side of the column `split`"
        )
