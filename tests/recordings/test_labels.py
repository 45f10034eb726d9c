"""Tables and names of files to parameters; what is wrong is named with its row."""

import json
from pathlib import Path

import numpy as np
import pytest

from src.recordings.labels import Labels, outward, read_labels
from src.recordings.pattern import Pattern
from src.recordings.problems import Problems
from src.recordings.settings import ImportSettings
from src.recordings.table import Table, read_table
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError

ROWS = "file,pitch,wave,group\na.wav,60,saw,x\nb.wav,72.5,square,x\nc.wav,48,saw,y\n"


def table(tmp_path: Path, text: str, name: str = "labels.csv") -> Table:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_table(path)


def labels(found: Table, *, skip: bool = False, **settings) -> tuple[Labels, Problems]:
    problems = Problems(skip)
    count = len(found.columns["file"])
    given = ImportSettings(folder="f", labels="l", **settings)
    return read_labels(found, range(count), given, problems), problems


def test_numbers_are_continuous_words_categorical_and_groups_neither(tmp_path: Path) -> None:
    found, problems = labels(table(tmp_path, ROWS))
    pitch, wave = found.parameters.values()
    assert (pitch.name, pitch.min, pitch.max, pitch.step) == ("pitch", 48.0, 73.0, None)
    assert (wave.kind, wave.class_names) == ("categorical", ("saw", "square"))
    np.testing.assert_array_equal(found.values, [[60, 0], [72.5, 1], [48, 0]])
    assert found.groups is not None
    assert found.groups.tolist() == [0, 0, 1]
    assert found.in_test is None
    assert problems.count == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.tsv", ROWS.replace(",", "\t")),
        ("excel.csv", "\ufeff" + ROWS.replace(",", ";").replace("\n", "\r\n")),
        ("quoted.csv", ROWS.replace("saw", '"saw"') + "\n\n"),
        (
            "labels.jsonl",
            '{"file": "a.wav", "pitch": 60, "wave": "saw", "group": "x"}\n\n'
            '{"pitch": 72.50, "file": "b.wav", "wave": "square", "group": "x"}\n'
            '{"file": "c.wav", "pitch": 4.8e1, "wave": "saw", "group": "y"}\n',
        ),
    ],
)
def test_all_kinds_of_tables_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    ours, _ = labels(table(tmp_path, text, name))
    expected, _ = labels(table(tmp_path, ROWS))
    assert ours.parameters == expected.parameters
    np.testing.assert_array_equal(ours.values, expected.values)


@pytest.mark.parametrize(
    ("low", "high", "spacing", "expected"),
    [
        (36.0, 84.0, "linear", (36.0, 84.0)),
        (0.3, 0.7, "linear", (0.3, 0.7)),
        (0.0123, 0.9871, "linear", (0.01, 0.99)),
        (-1234.5, 10.0, "linear", (-1300.0, 100.0)),
        (20.3, 8123.4, "log", (20.0, 8200.0)),
        (5.5, 5.5, "linear", (5.5, 5.5)),
    ],
)
def test_ranges_are_rounded_outward(low, high, spacing, expected) -> None:
    assert outward(low, high, spacing) == expected


def test_the_user_says_more_of_a_parameter(tmp_path: Path) -> None:
    said = {
        "pitch": {"min": 20, "max": 100, "step": 1, "unit": "semitones", "spacing": "log"},
    }
    found, _ = labels(table(tmp_path, ROWS), parameters=said, columns=["pitch"])
    (pitch,) = found.parameters.values()
    assert (pitch.min, pitch.max, pitch.step, pitch.unit) == (20, 100, 1, "semitones")
    assert (pitch.spacing, pitch.step_kind) == ("log", "tolerance")
    as_jnd, _ = labels(table(tmp_path, ROWS), parameters={"pitch": {"step": 1, "step_kind": "jnd"}})
    assert as_jnd.parameters["pitch"].step_kind == "jnd"
    classes, _ = labels(table(tmp_path, ROWS), parameters={"pitch": {"kind": "categorical"}})
    assert classes.parameters["pitch"].class_names == ("48", "60", "72.5")


def test_a_column_can_group_and_be_a_parameter(tmp_path: Path) -> None:
    found, _ = labels(table(tmp_path, ROWS), group_by="wave")
    assert found.parameters.names == ("pitch", "wave")
    assert found.groups is not None
    assert found.groups.tolist() == [0, 1, 0]


def test_a_constant_column_is_a_fixed_parameter(tmp_path: Path) -> None:
    found, _ = labels(table(tmp_path, "file,a,b,c\nx.wav,1,2.5,z\ny.wav,2,2.5,z\n"))
    assert found.parameters.heads.names == ("a",)
    assert found.parameters.fixed["b"].min == 2.5
    assert found.parameters.fixed["c"].class_names == ("z",)
    with pytest.raises(VIMHError, match="nothing to learn"):
        labels(table(tmp_path, "file,b\nx.wav,2.5\ny.wav,2.5\n"))


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("file,a\nx.wav,1\ny.wav,2\nz.wav,n/a\n", {}, r"row 4: 'z.wav': a is 'n/a', not a finite"),
        ("file,a\nx.wav,1\ny.wav,\nz.wav,3\n", {}, r"row 3: 'y.wav': a is '', not a finite number"),
        ("file,a\nx.wav,1\ny.wav,nan\nz.wav,3\n", {}, r"row 3: .*'nan', not a finite number"),
        ("file,a\nx.wav,1\ny.wav,1e99\nz.wav,3\n", {}, r"row 3: .*'1e99', not a finite number"),
        ("file,a\nx.wav,u\ny.wav,\nz.wav,v\n", {}, r"row 3: 'y.wav': a is '', expected a word"),
        ("file,a,split\nx.wav,1,train\ny.wav,2,dev\n", {}, r"row 3: .*'dev', expected train or"),
        ("file,a,group\nx.wav,1,\ny.wav,2,k\n", {}, r"row 2: .*expected the name of a group"),
        (
            "file,a\nx.wav,1\ny.wav,5\n",
            {"parameters": {"a": {"max": 4}}},
            r"row 3: 'y.wav': a is '5', outside of parameters.a's max 4",
        ),
        (
            "file,a\nx.wav,1\ny.wav,-5\nz.wav,2\n",
            {"parameters": {"a": {"spacing": "log"}}},
            r"row 3: .*expected more than 0 with spacing log",
        ),
    ],
)
def test_wrong_labels_are_named_with_their_row(tmp_path: Path, text, settings, message) -> None:
    with pytest.raises(VIMHError, match=message):
        labels(table(tmp_path, text), **settings)


def test_at_most_ten_problems_are_named_and_all_counted(tmp_path: Path) -> None:
    good = "".join(f"g{k}.wav,{k}\n" for k in range(40))
    text = "file,a\n" + good + "".join(f"b{k}.wav,none\n" for k in range(25))
    with pytest.raises(VIMHError, match="25 problems") as refused:
        labels(table(tmp_path, text))
    assert str(refused.value).count("not a finite number") == 10
    assert "and 15 more" in str(refused.value)
    found, problems = labels(table(tmp_path, text), skip=True)
    assert len(found.values) == 40
    assert problems.to_json()["count"] == 25


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,a\nx.wav,1\n", "expected a column 'file'"),
        ("file,a,a\nx.wav,1,2\n", "each once, found 'a' twice"),
        ("file,a,\nx.wav,1,2\n", "a column without a name"),
        ("file,a\nx.wav,1,2\n", "row 2 has 3 cells, expected 2"),
        ("file,a\n", "there are no rows"),
        ("", "expected a column 'file'"),
        ('file,a\n"x.wav,1\n', "no table of cells"),
        ("file\nx.wav\n", "expected a column of labels"),
    ],
)
def test_what_is_no_table_is_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(VIMHError, match=message):
        labels(table(tmp_path, text))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"file": "a.wav", "a": [1]}', "line 1: key 'a': expected a text or a number"),
        ("[1]", "line 1: expected an object"),
        ("{", "line 1: not valid JSON"),
        ('{"file": "a.wav", "a": 1}\n{"file": "b.wav", "b": 1}', "line 2 has the key 'b'"),
    ],
)
def test_what_is_no_json_line_is_told(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(VIMHError, match=message):
        table(tmp_path, line, "labels.jsonl")


def test_unknown_columns_are_told(tmp_path: Path) -> None:
    found = table(tmp_path, ROWS)
    for settings, message in (
        ({"columns": ["pich"]}, "columns: pich is unknown; did you mean pitch"),
        ({"group_by": "instrument"}, "group_by: instrument is unknown"),
        ({"parameters": {"velocity": {"step": 1}}}, r"parameters\.velocity is unknown"),
        ({"parameters": {"wave": {"min": 1}}}, r"parameters\.wave\.min is given, and wave is"),
    ):
        with pytest.raises(ConfigError, match=message):
            labels(found, **settings)


def test_a_group_on_both_sides_of_a_given_split_is_refused(tmp_path: Path) -> None:
    text = "file,a,split,group\nx.wav,1,train,k\ny.wav,2,test,k\nz.wav,3,train,l\n"
    with pytest.raises(VIMHError, match=r"1 groups are in train and in test too, the first .* 'k'"):
        labels(table(tmp_path, text))


def test_words_beyond_256_are_refused(tmp_path: Path) -> None:
    text = "file,a\n" + "".join(f"{k}.wav,w{k}\n" for k in range(257))
    with pytest.raises(VIMHError, match="a has 257 different words"):
        labels(table(tmp_path, text))


@pytest.mark.parametrize(
    ("pattern", "file", "expected"),
    [
        ("{instrument}_{note:d}_{velocity:d}.wav", "bass_low_068_049_025.wav",
         {"instrument": "bass_low_068", "note": "049", "velocity": "025"}),
        ("{instrument}_{note:d}-{velocity:d}.wav", "deep/er/x_1-2.wav",
         {"instrument": "x", "note": "1", "velocity": "2"}),
        ("{kit}/{_}_{level:f}.wav", "a/hat_-1.5e-3.wav", {"kit": "a", "level": "-1.5e-3"}),
        ("{a}_{b}.wav", "x_y_z.wav", {"a": "x", "b": "y_z"}),
        ("{a:d}.wav", "12a.wav", None),
        ("{{{a}}}.wav", "{u}.wav", {"a": "u"}),
    ],
)  # fmt: skip
def test_patterns_read_names(pattern: str, file: str, expected: dict | None) -> None:
    assert Pattern(pattern).match(file) == expected


@pytest.mark.parametrize(
    "pattern", ["plain.wav", "{a}_{a}.wav", "{a:x}.wav", "{a!r}.wav", "{}.wav", "{a", "{file}.wav"]
)
def test_wrong_patterns_are_told(pattern: str) -> None:
    with pytest.raises(ConfigError, match="pattern is"):
        Pattern(pattern)


def test_a_pattern_takes_bounded_time() -> None:
    greedy = Pattern("_".join(f"{{f{k}}}" for k in range(20)) + ".wav")
    assert greedy.match("_" * 120 + ".mp3") is None


def test_a_table_of_json_numbers_keeps_what_is_written(tmp_path: Path) -> None:
    first = {"file": "a.wav", "take": 7, "on": True, "off": None, "never": None}
    lines = [json.dumps(row) for row in (first, {"file": "b.wav", "off": False})]
    columns = {"file": ["a.wav", "b.wav"], "take": ["7", ""], "on": ["true", ""]}
    assert table(tmp_path, "\n".join(lines), "l.json").columns == {**columns, "off": ["", "false"]}


def test_a_table_as_a_spreadsheet_of_the_continent_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = (
        '"File";"Höhe";"Länge";"wer";"Notiz"',
        '"ä 1.wav";"1,5";"3";"a,b";""',
        '"b,1.wav";"-2,25e1";"";"c";""',
    )
    path.write_text("\r\n".join(lines), encoding="utf-8-sig", newline="")
    columns = read_table(path).columns
    assert columns == {
        "file": ["ä 1.wav", "b,1.wav"],  # whatever its letters' size, and never a number
        "Höhe": ["1.5", "-2.25e1"],
        "Länge": ["3", ""],
        "wer": ["a,b", "c"],
    }  # a column without a text is no label
    path.write_text('file,a\nx.wav,"1,5"\n')  # there a comma separates
    assert read_table(path).columns["a"] == ["1,5"]
    path.write_text("name,a,b,c,d,e,f,g,h\n1,2,3,4,5,6,7,8,9\n")
    with pytest.raises(VIMHError, match=r"column 'file' .* found 'name', 'a', .*'g', \.\.\."):
        read_table(path)
