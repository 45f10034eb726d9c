"""`import_vimh.py`, and the same as the source of a training."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from omegaconf import open_dict
from PIL import Image

import import_vimh
from src.build import build
from src.evaluation.prediction.predictor import Predictor
from src.synth.levels import LEVELS_KEY
from src.vimh.errors import VIMHError
from tests.fakes import RATE, notes, tone, write_sounds
from tests.helpers import shrink

ROOT = Path(__file__).parents[2]


def test_arguments_are_settings() -> None:
    words = "--labels=t.csv --skip-broken duration=1.5 columns=[a,b] image.height=32 group_by=null"
    own = ["my (é) [x], y=1", "parameters.filter cut.off.min=20", "name=x"]
    said = import_vimh.settings_of([*own, *words.split()])
    assert said == {
        "folder": "my (é) [x], y=1",
        "labels": "t.csv",
        "skip_broken": True,
        "duration": 1.5,
        "columns": ["a", "b"],
        "parameters": {"filter cut.off": {"min": 20}},
        "image": {"height": 32},
        "group_by": None,
        "name": "x",
    }


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["a", "b"], 2, "a second folder, 'b'"),
        (["a", "--lables", "x"], 2, "unknown argument '--lables'"),
        (["a", "--labels"], 2, "--labels needs a value"),
        (["a", "sample_rat=1"], 2, "sample_rat is unknown; did you mean sample_rate"),
        (["a", "duration=long"], 2, "duration is 'long'; expected a number"),
        (
            ["a", "labels=x", "parameters.p.stpe=1"],
            2,
            "parameters.p.stpe is unknown; did you mean step",
        ),
        (["nowhere", "labels=x"], 1, "nowhere: there is no such folder"),
        (["labels=x"], 2, "folder is null"),
        (["a", "front_end=mel"], 1, "front_end is 'mel'; expected one of"),
    ],
)
def test_mistakes_are_one_sentence(arguments, code, message, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        import_vimh.run(arguments)
    assert stopped.value.code == code
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("import_vimh.py: ")
    assert said.count("\n") == 1


def test_help_names_every_setting(capsys, monkeypatch) -> None:
    from dataclasses import fields

    from src.recordings.settings import ImportSettings

    monkeypatch.setattr(sys, "argv", ["import_vimh.py", "--help"])
    import_vimh.main()
    said = capsys.readouterr().out
    for field in fields(ImportSettings):
        named = {"folder": "FOLDER", "image": "image.", "stft": "stft.", "mel": "mel."}
        assert named.get(field.name, field.name) in said


def test_an_import_ends_with_a_table_and_the_next_command(tmp_path: Path, capsys) -> None:
    folder = write_sounds(tmp_path / "my (é) [x], y=1", notes(12))
    soundfile.write(folder / "000.wav", np.zeros(10), RATE)
    arguments = [str(folder), "--labels", str(folder / "labels.csv"), f"output_dir={tmp_path}"]
    import_vimh.run([*arguments, "--skip-broken"])
    said = capsys.readouterr().out
    assert "10 train, 1 test" in said
    assert "64x64x1" in said
    assert "left out: row 2: '000.wav': it is silent" in said
    assert f"data.data_dir={tmp_path}/vimh-my_x_y_1" in said
    import_vimh.run([*arguments, "--skip-broken"])
    assert "It was there already" in capsys.readouterr().out


@pytest.mark.slow
def test_ctrl_c_ends_an_import_with_one_sentence(tmp_path: Path) -> None:
    folder = write_sounds(tmp_path / "s", notes(100))
    line = (folder / "labels.csv").read_text().splitlines()[1]
    rows = ["file,pitch,velocity"]
    for copy in range(3000):
        os.link(folder / "000.wav", folder / f"c{copy}.wav")
        rows.append(line.replace("000.wav", f"c{copy}.wav").replace("c0", "c0", 1))
    rows[1] = rows[1].rpartition(",")[0] + ",1"
    (folder / "labels.csv").write_text("\n".join(rows))
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "import_vimh.py", str(folder), "--labels", str(folder / "labels.csv"),
         f"output_dir={out}", "duration=3", "front_end=mel_128", "skip_broken=true"],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not out.is_dir():
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("import_vimh.py: interrupted; no partial data set")
    assert list(out.iterdir()) == []


def test_a_model_of_recordings_hears_a_file_as_its_import_did(
    tmp_path: Path, compose_config, data_root: Path
) -> None:
    """Imported through the source; predicted from a WAV at another place, with a late beginning."""
    cfg = shrink(compose_config("train", "experiment=recordings_cnn"), data_root)
    built = build(cfg)
    metadata, opened = built.datamodule.metadata, built.datamodule.opened
    assert metadata.dataset_name == "vimh-notes"
    predictor = Predictor(built.model, metadata)
    assert predictor.synthesizer is None
    velocity = list(metadata.parameters).index("velocity")
    truth = [row[1] for row in notes(96)]
    assert opened.train.values is not None
    for index in range(3):
        place = truth.index(float(opened.train.values[index, velocity]))
        (heard,) = predictor.predict_file(data_root / "notes" / f"{place:03d}.wav")
        np.testing.assert_array_equal(heard.image, opened.train.images[index])
    late = np.concatenate([np.full(1000, 1e-5, np.float32), tone(60, 100)])
    soundfile.write(tmp_path / "late.wav", late, RATE, subtype="FLOAT")
    (heard, *_) = predictor.predict_file(tmp_path / "late.wav")
    assert heard.start_s == pytest.approx(1000 / RATE - 0.01, abs=0.002)
    whole = Predictor(predictor.model, metadata, start="file").predict_file(tmp_path / "late.wav")
    assert whole[0].start_s == 0.0
    # Its sounds have one onset, so one window of a longer sound is read; their levels are known.
    soundfile.write(tmp_path / "soft.wav", np.tile(0.001 * tone(60, 100), 3), RATE, subtype="FLOAT")
    (soft,) = predictor.predict_file(tmp_path / "soft.wav")
    assert soft.notes[1].startswith("only its first ")
    assert "is outside of the training range" in soft.notes[-1]
    spoiled = replace(metadata, raw=metadata.raw | {LEVELS_KEY: {"lowest_db": "x"}})
    with pytest.raises(VIMHError, match=r"vimh-notes: training_levels\.\w+ is"):
        Predictor(built.model, spoiled).predict_file(tmp_path / "soft.wav")


def test_a_model_of_pictures_reads_picture_files(tmp_path: Path, compose_config) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    lines = ["file,angle"]
    for place, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"{place}.png")
        lines.append(f"{place}.png,{place / 7}")
    (folder / "l.csv").write_text("\n".join(lines))
    cfg = compose_config("train", "experiment=recordings_cnn", "data.auxiliary_features=null")
    with open_dict(cfg):
        labels = str(folder / "l.csv")
        cfg.data.source.update(folder=str(folder), labels=labels, output_dir=str(tmp_path))
    built = build(cfg)
    predictor = Predictor(built.model, built.datamodule.metadata)
    read = {path.name: predictor.predict_file(path)[0] for path in predictor.files_in(folder)}
    assert len(read) == 20
    np.testing.assert_array_equal(read["3.png"].image, pixels[3][None])
    Image.fromarray(pixels[3]).resize((16, 16)).save(tmp_path / "large.png")
    assert predictor.predict_file(tmp_path / "large.png")[0].notes == ("resized from 16x16 to 8x8",)
    with pytest.raises(VIMHError, match="not a picture"):
        predictor.predict_file(folder / "l.csv")


def test_a_model_of_stereo_sounds_hears_both_sides(tmp_path: Path, compose_config) -> None:
    folder = tmp_path / "stereo"
    folder.mkdir()
    lines = ["file,pitch"]
    for place, (pitch, velocity) in enumerate(notes(20)):
        both = np.stack([tone(pitch, velocity), tone(pitch + 12, 100)], axis=1)
        soundfile.write(folder / f"{place}.wav", both, RATE, subtype="FLOAT")
        lines.append(f"{place}.wav,{pitch}")
    (folder / "l.csv").write_text("\n".join(lines))
    cfg = compose_config("train", "experiment=recordings_cnn")
    with open_dict(cfg):
        own = {"folder": str(folder), "labels": str(folder / "l.csv"), "channels": "stereo"}
        cfg.data.source.update(**own, output_dir=str(tmp_path), sample_rate=RATE)
    built = build(cfg)
    predictor = Predictor(built.model, built.datamodule.metadata)
    train = built.datamodule.opened.train
    assert built.datamodule.metadata.channel_labels == ("Left", "Right")
    assert train.values is not None
    pitches = [np.float32(pitch) for pitch, _ in notes(20)]
    place = pitches.index(train.values[0, 0])
    (heard,) = predictor.predict_file(folder / f"{place}.wav")
    np.testing.assert_array_equal(heard.image, train.images[0])
    assert not np.array_equal(heard.image[0], heard.image[1])
