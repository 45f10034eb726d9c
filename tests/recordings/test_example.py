"""examples/own_sounds/make_notes.py, without FluidSynth."""

import csv
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from src.recordings.importing import import_recordings
from src.recordings.settings import ImportSettings

SCRIPT = Path(__file__).parents[2] / "examples" / "own_sounds" / "make_notes.py"


@pytest.fixture
def example(monkeypatch) -> ModuleType:
    found = importlib.util.spec_from_file_location("make_notes", SCRIPT)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    monkeypatch.setattr(module, "find_soundfont", lambda: None)
    return module


def test_a_stand_in_plays_where_there_is_no_soundfont(example: ModuleType, tmp_path: Path) -> None:
    said = example.make_notes(tmp_path / "notes", 12, seed=1)
    assert said.startswith("NumPy, because there is no fluidsynth")
    with (tmp_path / "notes" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert {*rows[0]} == {"file", "pitch", "velocity", "instrument", "group"}
    settings = ImportSettings(
        folder=str(tmp_path / "notes"),
        labels=str(tmp_path / "notes" / "labels.csv"),
        output_dir=str(tmp_path),
    )
    metadata = import_recordings(settings, progress=False).metadata
    assert metadata.parameters.names == ("pitch", "velocity", "instrument")
    assert metadata.duration == 1.5


def test_a_midi_file_counts_time_in_variable_lengths(example: ModuleType) -> None:
    lengths = {0: b"\x00", 127: b"\x7f", 128: b"\x81\x00", 500: b"\x83\x74", 16384: b"\x81\x80\x00"}
    for value, written in lengths.items():
        assert example.variable_length(value) == written
    track = example.midi_file(11, [("vibraphone", 60, 100), ("vibraphone", 72, 30)])
    assert track.startswith(b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x03\xe8MTrk")
    assert bytes([0x90, 60, 100]) in track
    assert bytes([0x90, 72, 30]) in track
    assert track.endswith(b"\xff\x2f\x00")
