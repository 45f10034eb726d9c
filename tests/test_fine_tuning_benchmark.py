"""What benchmarks/fine_tuning.py draws, plays and counts."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks.fine_tuning import (
    AS_IT_IS,
    FOUND,
    GUITARS,
    NEAREST,
    PITCHES,
    QUICK,
    STARTS,
    VELOCITIES,
    Figures,
    Plan,
    cell,
    draw_notes,
    main,
    record,
    table_of,
)
from examples.own_sounds.make_notes import stand_in, wheel_and_key
from src.data.splits import file_splits


def test_notes_lie_between_the_keys_and_no_test_note_is_one_to_train_on() -> None:
    notes = draw_notes(2500, seed=0)
    assert notes == draw_notes(2500, seed=0)
    guitars, pitches, velocities = zip(*notes, strict=True)
    assert {*guitars} == {*GUITARS}
    assert PITCHES[0] <= min(pitches) < max(pitches) <= PITCHES[1]
    assert {min(velocities), max(velocities)} == {*VELOCITIES}
    assert sum(pitch == round(pitch) for pitch in pitches) < 100
    assert len({*notes}) == 2500
    assert not {*notes[2000:]} & {*notes[:2000]}


@pytest.mark.parametrize("count", Plan().epochs)
def test_a_seed_draws_so_many_recordings_to_train_on(count: int) -> None:
    plan = Plan()
    first, second = (
        file_splits(plan.recordings, plan.test_recordings, plan.shares(count)[1], seed)
        for seed in (1, 2)
    )
    assert first.sizes == {"train": count, "val": 2000 - count, "test": 500}
    assert {*first.train} != {*second.train}
    np.testing.assert_array_equal(first.test, second.test)


@pytest.mark.parametrize(
    ("pitch", "key", "wheel"), [(60, 60, 8192), (60.4, 60, 9830), (59.6, 60, 6554)]
)
def test_the_wheel_bends_the_nearest_key(pitch: float, key: int, wheel: int) -> None:
    """Two semitones are all of its way: 0.4 of one are 0.2 * 8192."""
    assert wheel_and_key(pitch) == (bytes([0xE0, wheel % 128, wheel // 128]), key)


def test_recordings_have_a_table_of_what_trains_and_what_tests(tmp_path: Path) -> None:
    record(tmp_path, QUICK, soundfont=None)
    with (tmp_path / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["split"] for row in rows] == ["train"] * 40 + ["test"] * 10
    assert [row["file"] for row in rows] == sorted(path.name for path in tmp_path.glob("*.wav"))
    guitar, pitch, velocity = draw_notes(50, seed=0)[-1]
    assert (float(rows[-1]["note_number"]), int(rows[-1]["note_velocity"])) == (pitch, velocity)
    (clean,) = stand_in(GUITARS[guitar], [(guitar, pitch, velocity)])
    written, rate_hz = soundfile.read(tmp_path / rows[-1]["file"])
    assert len(written) == round(1.2 * rate_hz)
    noise = written - clean[: len(written)]
    assert 30 <= 20 * np.log10(np.abs(clean).max() / noise.std()) <= 60


def test_figures_are_of_absolute_errors() -> None:
    error = np.array([[0.5, -4.0], [-0.6, 0.0], [0.1, 2.0], [-0.4, -2.0]])
    found = Figures.of(error, ["note_number", "note_velocity"])
    assert found.pitch == pytest.approx(0.4)
    assert (found.near, found.velocity) == (75.0, 2.0)
    assert found == Figures.of(error[:, ::-1], ["note_velocity", "note_number"])


def test_a_cell_is_the_mean_and_deviation_of_the_seeds() -> None:
    assert cell([1.0, 2.0, 3.0], 2) == "2.00 ± 1.00"
    assert cell([1.0], 2) == "1.00"
    of_seeds = [Figures(1.0, 50.0, 4.0), Figures(3.0, 50.0, 4.0)]
    table = table_of({(50, "init_from"): of_seeds, (0, AS_IT_IS): of_seeds}, "")
    columns = [list(column.cells) for column in table.columns]
    assert columns[0] == ["0", "50"]
    assert columns[2] == ["2.00 ± 1.41"] * 2


@pytest.mark.slow
def test_it_makes_and_trains_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")  # a row's name stays in one line
    main(["--quick", "--work", str(tmp_path)])
    printed = capsys.readouterr().out
    for start in (*STARTS, AS_IT_IS, NEAREST):
        assert start in printed
    weights, found = tmp_path / "string.ckpt", json.loads((tmp_path / FOUND).read_text())
    assert len(found) == len(QUICK.jobs) == 2 + 2 * 2 * (1 + len(STARTS))
    written = weights.stat().st_mtime_ns
    main(["--quick", "--work", str(tmp_path)])  # all is there
    assert capsys.readouterr().out.count("±") == printed.count("±")
    assert weights.stat().st_mtime_ns == written
