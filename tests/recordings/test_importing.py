"""A folder of sounds with its table to a data set, whole and reproducible."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from shuffle_vimh_dataset import shuffle_dataset
from src.recordings.importing import LEFT_OUT_KEY, TWICE_KEY, ImportReport, import_recordings
from src.recordings.settings import ImportSettings
from src.synth.images import ImageMaker
from src.synth.levels import Levels, floor_shares
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError
from src.vimh.metadata import METADATA_FILE
from src.vimh.records import OpenedDataset, check_dataset, open_dataset
from tests.fakes import RATE, notes, tone, write_sounds
from tests.recordings.conftest import Folder

Import = Callable[..., ImportReport]


@pytest.fixture
def imported(tmp_path: Path) -> Import:
    def run(folder: Path, **settings) -> ImportReport:
        if not {"labels", "pattern"} & settings.keys():
            settings["labels"] = str(folder / "labels.csv")
        given = {"output_dir": str(tmp_path / "out"), "sample_rate": RATE, **settings}
        return import_recordings(ImportSettings(folder=str(folder), **given), progress=False)

    return run


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def by_velocity(opened: OpenedDataset) -> dict[float, np.ndarray]:
    """The images by the exact value of their velocity."""
    found = {}
    for records in (opened.train, opened.test):
        assert records.values is not None
        column = list(opened.metadata.parameters).index("velocity")
        for image, values in zip(records.images, records.values, strict=True):
            found[float(values[column])] = image
    return found


def test_a_folder_becomes_a_data_set(folder: Folder, imported: Import) -> None:
    report = imported(folder(20))
    opened = check_dataset(report.dataset_dir)
    metadata = opened.metadata
    assert report.dataset_dir.name == "vimh-sounds"
    assert (len(opened.train), len(opened.test)) == (18, 2)
    assert metadata.image_shape == (1, 64, 64)
    assert (metadata.sample_rate, metadata.duration, metadata.synth_type) == (
        RATE,
        0.25,
        "recordings",
    )
    assert metadata.parameters.names == ("pitch", "velocity")
    assert metadata.raw["version"] == "2.2"
    assert metadata.raw[LEFT_OUT_KEY] == {"count": 0, "first": []}
    levels = opened.train.gather(np.arange(18))[2][:, 1]
    found = Levels.in_metadata(metadata.raw, "here")
    assert found is not None
    assert (found.lowest_db, found.highest_db) == (levels.min(), levels.max())
    assert found.floor_share == floor_shares(opened.train.images).max()
    truth = {velocity: pitch for pitch, velocity in notes(20)}
    for records in (opened.train, opened.test):
        for pitch, velocity in np.asarray(records.values).tolist():
            assert pitch == np.float32(truth[velocity])


def test_images_are_those_of_the_generator_s_code(tmp_path: Path, imported: Import) -> None:
    rows = [(60.0, 100.0), (72.0, 50.0), (48.0, 20.0)]
    opened = open_dataset(imported(write_sounds(tmp_path / "s", rows), start="file").dataset_dir)
    maker = ImageMaker.from_metadata(opened.metadata)
    length = maker.front_end.heard_samples(0.25)
    images = by_velocity(opened)
    for pitch, velocity in rows:
        padded = np.zeros((1, length), np.float32)
        padded[0, : RATE // 4] = tone(pitch, velocity)
        np.testing.assert_array_equal(images[velocity], maker(padded)[0][0])


def test_sounds_begin_10_ms_before_their_first_loud_sample(
    tmp_path: Path, imported: Import
) -> None:
    folder = write_sounds(tmp_path / "s", [(60.0, 100.0), (62.0, 90.0)])
    loud = np.concatenate([np.full(1000, 1e-4), 0.5 * np.ones(1000)]).astype(np.float32)
    soundfile.write(folder / "000.wav", loud, RATE, subtype="FLOAT")
    soundfile.write(folder / "001.wav", loud[1000 - RATE // 100 :], RATE, subtype="FLOAT")
    images = by_velocity(open_dataset(imported(folder).dataset_dir))
    np.testing.assert_array_equal(images[100.0], images[90.0])
    kept = by_velocity(open_dataset(imported(folder, start="file", name="f").dataset_dir))
    assert not np.array_equal(kept[100.0], kept[90.0])


def test_twice_and_in_any_number_of_threads_the_same_bytes(
    folder: Folder, imported: Import, tmp_path: Path
) -> None:
    sounds = folder(70)
    first = contents(imported(sounds, threads=1).dataset_dir)
    again = contents(imported(sounds, threads=3, overwrite=True).dataset_dir)
    assert first == again
    moved = shutil.copytree(sounds, tmp_path / "elsewhere" / "sounds")
    assert contents(imported(moved, output_dir=str(tmp_path / "o")).dataset_dir) == first


def test_bytes_only_is_version_2_1(folder: Folder, imported: Import) -> None:
    report = imported(folder(10), bytes_only=True)
    assert sorted(contents(report.dataset_dir)) == ["test", "train", METADATA_FILE]
    assert report.metadata.raw["version"] == "2.1"


@pytest.mark.parametrize("suffix", [".flac", ".aiff", ".npy", ".npz"])
def test_other_kinds_of_files(suffix: str, tmp_path: Path, imported: Import) -> None:
    rows = notes(4)
    wavs = write_sounds(tmp_path / "w", rows)
    expected = by_velocity(open_dataset(imported(wavs).dataset_dir))
    other = tmp_path / "o"
    other.mkdir()
    (other / "labels.csv").write_text((wavs / "labels.csv").read_text().replace(".wav", suffix))
    settings = {}
    for place, row in enumerate(rows):
        path, sound = other / f"{place:03d}{suffix}", tone(*row)
        if suffix == ".npy":
            np.save(path, sound[:, None] if place else sound)
        elif suffix == ".npz":
            np.savez_compressed(path, sound=sound, other=np.arange(3), rate=RATE)
            settings = {"array_key": "sound", "rate_key": "rate"}
        else:
            soundfile.write(path, sound, RATE, subtype="PCM_24")
    found = by_velocity(open_dataset(imported(other, **settings).dataset_dir))
    for velocity, image in expected.items():
        worst = np.abs(found[velocity].astype(int) - image.astype(int)).max()
        assert worst <= (0 if suffix.startswith(".np") else 2)


def test_subfolders_pattern_and_decomposed_names(tmp_path: Path, imported: Import) -> None:
    folder = tmp_path / "sounds"
    for kit in ("acoustic", "bo\u0302ite"):
        (folder / kit).mkdir(parents=True)
        for pitch in (40, 50, 60):
            soundfile.write(folder / kit / f"hit_{pitch}_{pitch + 9}.wav", tone(pitch, 99), RATE)
    (folder / ".hidden.wav").write_bytes(b"none")
    report = imported(folder, pattern="{kit}/{_}_{pitch:d}_{velocity:d}.wav", group_by="kit")
    assert report.metadata.parameters["kit"].class_names == ("acoustic", "bo\u0302ite")
    opened = open_dataset(report.dataset_dir)
    assert (len(opened.train), len(opened.test)) == (3, 3)
    rows = [f"b\u00f4ite/hit_{p}_{p + 9}.wav,{p}" for p in (40, 50, 60)]
    (tmp_path / "t.csv").write_text("file,pitch\n" + "\n".join(rows) + "\n", encoding="utf-8")
    with pytest.raises(VIMHError, match="3 problems") as refused:
        imported(folder, labels=str(tmp_path / "t.csv"), name="table")
    assert "'acoustic/hit_40_49.wav': has no row in" in str(refused.value)


def test_everything_that_is_wrong_is_named_at_once_and_left_out_on_request(
    folder: Folder, imported: Import
) -> None:
    sounds = folder(14)
    soundfile.write(sounds / "001.wav", np.zeros(100), RATE)
    (sounds / "002.wav").write_bytes(b"RIFFnothing")
    soundfile.write(sounds / "003.wav", np.array([0.5, np.nan, 0.1]), RATE, subtype="FLOAT")
    (sounds / "004.wav").write_bytes(b"")
    soundfile.write(sounds / "005.wav", np.full(4000, 3e38), RATE, subtype="FLOAT")
    with pytest.raises(VIMHError, match="5 problems; correct them, or") as refused:
        imported(sounds)
    for line in (
        r"row 3: '001.wav': ", "it is silent", "row 4: '002.wav'", "not a sound file",
        "row 5: '003.wav'", "not a finite number", "row 6: '004.wav'", "the file is empty",
        "row 7: '005.wav'", "too loud",
    ):  # fmt: skip
        assert line in str(refused.value)
    assert not (sounds.parent / "out" / "vimh-sounds").exists()
    (sounds / "006.wav").unlink()
    shutil.copy(sounds / "007.wav", sounds / "extra.wav")
    with (sounds / "labels.csv").open("a") as table:
        table.write("008.wav,50,50\n")
    with pytest.raises(VIMHError, match="3 problems") as refused:
        imported(sounds)
    assert "row 8: '006.wav': there is no such file in" in str(refused.value)
    assert "row 16: '008.wav': is the file of row 10 too" in str(refused.value)
    assert "'extra.wav': has no row in" in str(refused.value)
    left_out = imported(sounds, skip_broken=True).metadata.raw[LEFT_OUT_KEY]
    assert left_out["count"] == 8
    opened = check_dataset(sounds.parent / "out" / "vimh-sounds")
    assert len(opened.train) + len(opened.test) == 8


def test_a_sound_on_both_sides_is_counted(folder: Folder, imported: Import) -> None:
    sounds = folder(10)
    for place in range(1, 10):
        shutil.copy(sounds / "000.wav", sounds / f"{place:03d}.wav")
    assert imported(sounds).metadata.raw[TWICE_KEY] == 1


def test_the_column_split_is_kept_and_groups_written(tmp_path: Path, imported: Import) -> None:
    folder = write_sounds(tmp_path / "s", notes(12))
    lines = (folder / "labels.csv").read_text().splitlines()
    sides = ["split,group"] + [f"{'test' if k % 4 == 0 else 'train'},g{k % 4}" for k in range(12)]
    table = "\n".join(f"{line},{side}" for line, side in zip(lines, sides, strict=True))
    (folder / "labels.csv").write_text(table + "\n")
    report = imported(folder)
    opened = check_dataset(report.dataset_dir)
    assert report.metadata.raw["split"] == "given"
    assert (len(opened.train), len(opened.test)) == (9, 3)
    assert opened.train.groups is not None
    assert opened.test.groups is not None
    assert sorted(opened.train.groups.tolist()) == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert opened.test.groups.tolist() == [0, 0, 0]
    shuffle_dataset(report.dataset_dir, tmp_path / "shuffled")
    shuffled = check_dataset(tmp_path / "shuffled")
    assert shuffled.metadata.raw["split"] == "given"
    assert sorted(shuffled.train.groups.tolist()) == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert set(shuffled.train.groups.tolist()) & set(shuffled.test.groups.tolist()) == set()
    assert not np.array_equal(shuffled.train.labels, opened.train.labels)


def test_channels(tmp_path: Path, imported: Import) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    low, high = tone(50, 100), tone(70, 60)
    for place in range(2):
        stereo = np.stack([low, high] if place else [high, low], axis=1)
        soundfile.write(folder / f"{place}.wav", stereo, RATE, subtype="FLOAT")
    (folder / "labels.csv").write_text("file,velocity\n0.wav,1\n1.wav,2\n")
    sides = {
        channels: by_velocity(
            open_dataset(imported(folder, channels=channels, name=channels).dataset_dir)
        )
        for channels in ("mix", "left", "right", "stereo")
    }
    assert sides["stereo"][1.0].shape == (2, 64, 64)
    np.testing.assert_array_equal(sides["left"][1.0], sides["right"][2.0])
    np.testing.assert_array_equal(sides["mix"][1.0], sides["mix"][2.0])
    np.testing.assert_array_equal(sides["stereo"][1.0][0], sides["stereo"][2.0][1])
    # one range for both sides: the louder one reaches white, the other does not
    assert sides["stereo"][1.0][1].max() == 255 > sides["stereo"][1.0][0].max()
    soundfile.write(folder / "0.wav", np.stack([low] * 3, axis=1), RATE)
    with pytest.raises(VIMHError, match="it has 3 channels; expected 1 or 2 with channels=left"):
        imported(folder, channels="left", name="three")


def test_duration_is_the_median_and_longer_sounds_are_cut(tmp_path: Path, imported: Import) -> None:
    folder = write_sounds(tmp_path / "s", notes(3))
    for place, length in enumerate((0.2, 0.5, 9.0)):
        soundfile.write(folder / f"{place:03d}.wav", tone(60, 100, length_s=length), RATE)
    assert imported(folder).metadata.duration == 0.5
    assert imported(folder, duration=0.3, name="short").metadata.duration == 0.3
    for place in range(3):
        soundfile.write(folder / f"{place:03d}.wav", tone(60, 100, length_s=5), RATE)
    assert imported(folder, name="long").metadata.duration == 4.0


def test_rates_are_resampled(tmp_path: Path, imported: Import) -> None:
    folder = write_sounds(tmp_path / "s", [(60.0, 100.0), (62.0, 90.0)])
    same = by_velocity(open_dataset(imported(folder, sample_rate=RATE).dataset_dir))
    soundfile.write(folder / "000.wav", tone(60, 100, 44100), 44100, subtype="FLOAT")
    other = by_velocity(open_dataset(imported(folder, name="other").dataset_dir))
    difference = np.abs(other[100.0].astype(int) - same[100.0].astype(int))
    assert np.median(difference) <= 8  # all of the filter's stop band is below the tone


def test_an_import_that_is_there_is_kept_and_a_change_is_told(
    folder: Folder, imported: Import
) -> None:
    sounds = folder(8)
    report = imported(sounds)
    assert report.made
    kept = report.dataset_dir / METADATA_FILE
    before = kept.stat().st_mtime_ns
    assert not imported(sounds).made
    assert kept.stat().st_mtime_ns == before
    with pytest.raises(VIMHError, match=r"other settings \(duration: found None, expected 0.1\)"):
        imported(sounds, duration=0.1)
    os.utime(sounds / "000.wav", (before / 1e9 + 10, before / 1e9 + 10))
    assert not imported(sounds).made  # newer, but the same
    changed = bytearray((sounds / "000.wav").read_bytes())
    changed[-1] ^= 1
    (sounds / "000.wav").write_bytes(changed)
    os.utime(sounds / "000.wav", (before / 1e9 + 10, before / 1e9 + 10))
    with pytest.raises(
        VIMHError, match=r"what is in the files .* changed since; set overwrite=true"
    ):
        imported(sounds)
    shutil.copy(sounds / "000.wav", sounds / "new.wav")
    with pytest.raises(VIMHError, match=r"the files in .* changed since"):
        imported(sounds)
    (sounds / "labels.csv").write_text("file,a\n")
    with pytest.raises(VIMHError, match=r"the labels in .* changed since"):
        imported(sounds)
    shutil.rmtree(sounds)
    assert not imported(sounds).made  # what was imported can still be used


def test_another_data_set_of_the_name_is_never_replaced_unasked(
    folder: Folder, imported: Import
) -> None:
    report = imported(folder(6))
    path = report.dataset_dir / METADATA_FILE
    found = json.loads(path.read_text())
    found["recipe"] = {"synth": {}}
    path.write_text(json.dumps(found))
    with pytest.raises(VIMHError, match="is no import of recordings; set overwrite=true"):
        imported(folder(6))
    assert imported(folder(6), overwrite=True).made


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": None, "pattern": None}, "labels and pattern are null"),
        ({"pattern": "{a}.wav", "labels": "x.csv"}, "labels and pattern are both given"),
        ({"front_end": "mel_65"}, "front_end is 'mel_65'; expected one of"),
        ({"stft": {"n_windw": 5}}, r"stft\.n_windw is unknown; did you mean n_window"),
        ({"image": {"height": 0}}, r"image\.height is 0; expected a whole number"),
        ({"columns": ["pitsch"]}, "columns: pitsch is unknown; did you mean pitch"),
        ({"labels": "none.csv"}, "none.csv: there is no such table of labels"),
        ({"folder": "nowhere"}, "nowhere: there is no such folder"),
    ],
)
def test_wrong_settings_are_one_sentence(
    settings: dict, message: str, folder: Folder, imported: Import
) -> None:
    where = Path(settings.pop("folder", folder(4)))
    if not settings:
        settings = {"labels": "x.csv"}
    with pytest.raises((VIMHError, ConfigError), match=message):
        imported(where, **settings)


def test_a_table_of_other_files_says_what_is_there(tmp_path: Path, imported: Import) -> None:
    folder = write_sounds(tmp_path / "s", notes(3))
    (tmp_path / "t.csv").write_text("file,pitch\nsounds/000.wav,1\n../../etc/passwd,2\n")
    with pytest.raises(
        VIMHError, match=r"none of its files is in .* has '000.wav'; expected names"
    ):
        imported(folder, labels=str(tmp_path / "t.csv"))


def test_a_kill_leaves_nothing_half_written(folder: Folder, imported: Import, monkeypatch) -> None:
    sounds = folder(10)
    from src.recordings import reading

    def killed(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reading, "read_sound", killed)
    with pytest.raises(KeyboardInterrupt):
        imported(sounds)
    assert list((sounds.parent / "out").iterdir()) == []
    monkeypatch.undo()
    assert imported(sounds).made
