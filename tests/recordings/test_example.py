"""The scripts of examples/own_sounds, without FluidSynth."""

import csv
from pathlib import Path
from types import ModuleType

import pytest

from src.recordings.importing import import_recordings
from src.recordings.settings import ImportSettings
from tests.helpers import load_example


@pytest.fixture
def example(monkeypatch) -> ModuleType:
    module = load_example("own_sounds/make_notes.py")
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


def test_notes_named_as_those_of_nsynth_are_read_by_their_names(
    example: ModuleType, tmp_path: Path
) -> None:
    example.make_notes(tmp_path / "notes", 40, seed=1, nsynth=True)
    assert not (tmp_path / "notes" / "labels.csv").exists()
    settings = ImportSettings(
        folder=str(tmp_path / "notes"),
        pattern="{family}_{source}_{number:d}-{pitch:d}-{velocity:d}.wav",
        columns=["family", "source", "pitch"],
        output_dir=str(tmp_path),
    )
    parameters = import_recordings(settings, progress=False).metadata.parameters
    assert parameters.names == ("family", "source", "pitch")
    assert {"acoustic", "electronic"} <= {*(parameters["source"].class_names or ())}
    assert (parameters["pitch"].min, parameters["pitch"].max) >= (48, 49)


def test_drums_are_labelled_by_their_files_names(tmp_path: Path) -> None:
    drums = load_example("own_sounds/label_drums.py")
    said = {"EE_Kick_Low": "kick", "sd_02": "snare", "hh_p": "hi-hat", "PearlSideStick": "rim",
            "ft_1": "tom", "crash16i__ride_cup": "cymbal", "xFX": None}  # fmt: skip
    assert {name: drums.drum_of(name) for name in said} == said
    for name in said:
        (tmp_path / "kit a").mkdir(exist_ok=True)
        (tmp_path / "kit a" / f"{name}.wav").touch()
    assert drums.label_drums(tmp_path, tmp_path / "drums.csv") == (6, 1)
    with (tmp_path / "drums.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"file": "kit a/EE_Kick_Low.wav", "drum": "kick", "group": "kit a"}
