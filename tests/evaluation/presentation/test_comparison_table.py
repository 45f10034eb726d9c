"""The table that a run ends with: rows, and only the columns that say something."""

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from src.data.sources.images import class_parameter
from src.evaluation.presentation.comparison_table import comparison_table
from src.evaluation.scoring.rows import Row, row_of
from src.vimh.parameters import Parameter

DECAY = Parameter(name="decay", min=0.0, max=1.0, step=0.1, unit="s")
DIGIT = class_parameter("digit", "0123456789", "the digit")
SHAPE = class_parameter("shape", ["disc", "square"], "the shape")


def printed(*parameters: Parameter) -> list[str]:
    """The table's lines for a network that is right in three of four samples, in all heads."""
    true = np.zeros((4, len(parameters)))
    predicted = true.copy()
    predicted[3] = [1.0 if p.is_categorical else 0.5 for p in parameters]
    nearest = row_of("nearest", predicted, true, parameters)
    # A head of one number logs no accuracy.
    numbers = {f"{p.name}_acc" for p in parameters if not p.is_categorical}
    if len(numbers) == len(parameters):
        numbers.add("acc")
    own = {key: value for key, value in nearest.metrics.items() if key not in numbers}
    rows = [Row("network", own), nearest]
    text = StringIO()
    table = comparison_table(rows, parameters, title="4 test samples")
    Console(file=text, width=120).print(table)
    return text.getvalue().splitlines()


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.replace("┃", "│").split("│")[1:-1]]


@pytest.mark.parametrize(
    ("parameters", "headings", "network"),
    [
        ([DIGIT], ["accuracy"], ["75.0 %"]),
        ([DECAY], ["MAE", "of range", "within 1 JND"], ["0.125", "12.50 %", "75.0 %"]),
    ],
)
def test_one_parameter(parameters, headings, network) -> None:
    lines = printed(*parameters)
    assert lines[0].strip() == "4 test samples"
    assert cells(lines[2]) == ["parameter", "method", *headings]
    assert cells(lines[4]) == [parameters[0].name, "network", *network]
    assert not any("all at once" in line for line in lines)


def test_several_classes_have_a_share_of_all_at_once_and_no_jnd() -> None:
    lines = printed(DIGIT, SHAPE)
    assert cells(lines[2]) == ["parameter", "method", "accuracy"]
    assert ["all at once", "network", "75.0 %"] in [cells(line) for line in lines]
    assert not any("JND" in line for line in lines)


def test_classes_beside_values_leave_gaps() -> None:
    lines = [cells(line) for line in printed(DIGIT, DECAY)]
    assert lines[2] == ["parameter", "method", "MAE", "of range", "within 1 JND", "accuracy"]
    assert ["digit", "network", "", "", "", "75.0 %"] in lines
    assert any(line[:1] == ["[s]"] for line in lines)


def test_names_in_the_table_are_no_markup() -> None:
    text = StringIO()
    odd = Parameter(name="[red]a[/]", min=0.0, max=1.0, step=0.1, unit="[s]")
    row = row_of("nearest", np.zeros((4, 1)), np.zeros((4, 1)), [odd])
    Console(file=text, width=120).print(comparison_table([row], [odd], title="4 of [b]"))
    assert "4 of [b]" in text.getvalue()
    assert "[red]a[/]" in text.getvalue()


def test_ratios_are_in_percent_of_the_value_and_a_tolerance_is_called_so() -> None:
    pitch = Parameter("pitch", 100.0, 1000.0, 0.03, spacing="log", step_kind="tolerance")
    true = np.full((4, 2), [[200.0, 0.5]])
    row = row_of("network", true * np.array([[1.02, 1.0]]), true, [pitch, DECAY])
    own = {key: value for key, value in row.metrics.items() if not key.endswith("acc")}
    text = StringIO()
    table = comparison_table([Row("network", own)], [pitch, DECAY], title="4 test samples")
    Console(file=text, width=120).print(table)
    lines = [cells(line) for line in text.getvalue().splitlines()]
    headings = ["parameter", "method", "MAE", "of range", "of value", "within 1 tolerance"]
    assert lines[2] == headings
    assert ["pitch", "network", "4", "", "2.00 %", "100.0 %"] in lines
    assert ["decay", "network", "0", "0.00 %", "", "100.0 %"] in lines


def test_without_steps_nothing_is_said_of_all_at_once() -> None:
    lines = printed(Parameter("decay", 0.0, 1.0), Parameter("pitch", 48.0, 84.0))
    assert any("pitch" in line for line in lines)
    assert not any("all at once" in line for line in lines)
