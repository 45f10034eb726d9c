"""From sound files of every kind to parameters, and back to sound."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from omegaconf import OmegaConf, open_dict

from src.build import build
from src.checkpoint import load_model, read_checkpoint
from src.config_check import PredictConfig, check_config
from src.evaluation.prediction.player import play_file
from src.evaluation.prediction.predictor import Prediction, Predictor
from src.evaluation.prediction.sounds import windows
from src.evaluation.presentation.prediction_files import file_stem
from src.inputs.preparation import Preparation
from src.predict import predict
from src.recordings.sounds import read_sound
from src.synth.generate import generate_dataset
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError
from src.vimh.records import DatasetWriter, open_dataset
from tests.helpers import shrink

RATE = 8000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {"folder": tmp_path_factory.mktemp("predict")}


@pytest.fixture(params=["vimh_cnn", "avix_cnn_72dss_jnd_dg_hybrid"])
def checkpoint(request, made: dict[str, Path], compose_config, data_root: Path) -> Path:
    """Of an untrained network: what it predicts is arbitrary, but always the same."""
    experiment = request.param
    if experiment not in made:
        torch.manual_seed(1)
        cfg = shrink(compose_config("train", f"experiment={experiment}"), data_root)
        model = build(cfg).model
        content = {"state_dict": model.state_dict(), "epoch": 0, "global_step": 0}
        model.on_save_checkpoint(content)
        made[experiment] = made["folder"] / f"{experiment}.ckpt"
        torch.save(content, made[experiment])
        recipe = OmegaConf.to_container(cfg.data.source.recipe, resolve=True)
        recipe["generate"] |= {"wav": 60, "output_dir": str(made["folder"])}
        report = generate_dataset(recipe, progress=False)
        made[f"{experiment} data"] = report.dataset_dir
    return made[experiment]


@pytest.fixture
def dataset(checkpoint: Path, made: dict[str, Path]) -> Path:
    return made[f"{checkpoint.stem} data"]


@pytest.fixture
def predictor(checkpoint: Path) -> Predictor:
    read = read_checkpoint(checkpoint)
    return Predictor(load_model(read), read.metadata)


@pytest.fixture
def run(compose_config, checkpoint: Path, tmp_path: Path):
    def predicted(given: Path | str | list[str], **more):
        cfg = compose_config("predict")
        with open_dict(cfg):
            said = given if isinstance(given, list) else str(given)
            cfg.update({"ckpt_path": str(checkpoint), "input": said, **more})
            cfg.paths.output_dir = str(tmp_path / "out")
        (tmp_path / "out").mkdir(exist_ok=True)
        check_config(cfg, PredictConfig)  # as the command does
        return predict(cfg)[1], tmp_path / "out"

    return predicted


def sound(seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (0.9 * np.exp(-time / 0.2) * (2 * ((100 * time - 0.5) % 1) - 1)).astype(np.float32)


def test_a_generated_wav_predicts_exactly_what_its_record_does(predictor, dataset, run) -> None:
    opened = open_dataset(dataset)
    for split, records in (("train", opened.train), ("test", opened.test)):
        expected = list(predictor.predict_dataset(opened, split, limit=None))
        files = sorted((dataset / "wav").glob(f"{split}_*.wav"))
        assert files
        for file in files:
            number = int(file.stem.split("_")[1])
            (found,) = predictor.predict_file(file)
            assert np.array_equal(found.image, records.gather(np.array([number]))[0][0])
            assert found.values == expected[number].values  # to the last bit
            assert found.notes == ()


@pytest.mark.parametrize("checkpoint", ["vimh_cnn"], indirect=True)
def test_a_sound_takes_one_forward_pass(predictor, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "one.wav", sound(), RATE)
    passes = []
    predictor.model.net.heads.register_forward_hook(lambda *_: passes.append(1))
    predictor.predict_file(tmp_path / "one.wav")
    assert len(passes) == 1


def test_files_of_a_run(run, dataset: Path) -> None:
    objects, folder = run(dataset / "wav", limit=2)
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert [line["input"] for line in lines] == [p.source for p in objects["predictions"]]
    assert lines[0]["values"] == objects["predictions"][0].values
    again, rate = soundfile.read(folder / "000_test_000000_resynthesised.wav", dtype="float32")
    assert (len(again), rate) == (RATE, RATE)
    assert (folder / "000_test_000000.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("checkpoint", ["vimh_cnn"], indirect=True)
def test_what_was_done_to_a_sound_is_said_before_any_value(run, tmp_path, capsys) -> None:
    """Cut, several windows, resampled, padded, its level, its floor: each before the table."""
    noisy = np.concatenate([1e-4 * sound(2.2, 16000), np.zeros(3200, np.float32)])
    soundfile.write(tmp_path / "soft.wav", noisy, 16000, subtype="FLOAT")
    objects, folder = run(tmp_path / "soft.wav", window="all")
    before, table, _ = capsys.readouterr().out.partition("log10_decay_time")
    notes = objects["predictions"][0].notes
    assert table
    for reason in ("resampled from 16000 to 8000 Hz", "cut into 2 windows", "s left out",
                   "is outside of the training range"):  # fmt: skip
        assert any(reason in note for note in notes), reason
        assert reason in before.replace("\n", " ")
    (line, _) = (folder / "predictions.jsonl").read_text().splitlines()
    assert json.loads(line)["notes"] == list(notes)
    soundfile.write(tmp_path / "short.wav", sound(0.05), RATE)
    run(tmp_path / "short.wav")
    before = capsys.readouterr().out.partition("log10_decay_time")[0].replace("\n", " ")
    assert "padded from 0.050 to 1.000 s; 84% of its image lie at the floor" in before


@pytest.mark.parametrize("checkpoint", ["vimh_cnn"], indirect=True)
def test_the_input_and_its_resynthesis_are_played(run, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    soundfile.write(tmp_path / "one.wav", sound(), RATE)
    with pytest.raises(VIMHError, match="playing needs one of aplay, "):
        run(tmp_path / "one.wav", play=True)
    player = tmp_path / "afplay"
    player.write_text(f"#!/bin/sh\necho $1 >> {tmp_path}/played\n")
    player.chmod(0o755)
    run(tmp_path / "one.wav", play=True)
    monkeypatch.chdir(tmp_path)
    soundfile.write("-q.wav", sound(), RATE)
    play_file(Path("-q.wav"))  # a player would take it for an option
    assert (tmp_path / "played").read_text().split()[-1] == str(tmp_path / "-q.wav")
    (tmp_path / "played").unlink()
    run(tmp_path / "one.wav", play=True)
    again = tmp_path / "out" / "one_resynthesised.wav"
    assert (tmp_path / "played").read_text().split() == [str(tmp_path / "one.wav"), str(again)]
    assert "playing one_resynthesised.wav" in capsys.readouterr().out
    player.write_text("#!/bin/sh\necho no sound device >&2\nexit 1\n")
    with pytest.raises(VIMHError, match=r"afplay could not play .*one.wav: no sound device"):
        run(tmp_path / "one.wav", play=True)


def test_a_data_set_gives_its_true_values(run, dataset: Path) -> None:
    objects, folder = run(dataset, split="train", limit=3, sounds=1)
    records = open_dataset(dataset)
    true = [p.true["log10_decay_time"] for p in objects["predictions"]]
    column = list(records.metadata.parameters).index("log10_decay_time")
    assert true == records.train.values[:3, column].tolist()
    assert len(list(folder.glob("*.png"))) == 1


def test_resynthesis_of_true_values_is_the_sound(predictor, dataset: Path) -> None:
    records = open_dataset(dataset)
    (first,) = predictor.predict_dataset(records, "train", limit=1)
    again = predictor.resynthesise(first.true)
    original, _ = soundfile.read(dataset / "wav" / "train_000000.wav", dtype="float32")
    # labels are rounded to a byte
    assert np.abs(again - original).max() < 0.01 * np.abs(original).max()


@pytest.mark.parametrize("checkpoint", ["vimh_cnn"], indirect=True)
@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.wav", b"", "is empty"),
        ("text.wav", b"not a sound at all, only text\n" * 9, "not a sound file"),
        ("nothing.wav", sound(0.0), "no samples"),
        ("silence.wav", np.zeros(RATE, np.float32), "silent"),
        ("nan.wav", np.where(np.arange(RATE) == 7, np.nan, sound()), "sample 7 is"),
        ("infinite.wav", np.where(np.arange(RATE) == 9, np.inf, sound()), "sample 9 is"),
    ],
)
def test_what_is_no_sound_gets_one_sentence(run, tmp_path, name, content, reason) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        soundfile.write(path, content.astype(np.float32), RATE, subtype="FLOAT")
    with pytest.raises(VIMHError, match=reason) as caught:
        run(path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("checkpoint", ["vimh_cnn"], indirect=True)
def test_a_folder_leaves_bad_files_out_and_says_so(run, tmp_path: Path) -> None:
    folder = tmp_path / "sounds"
    folder.mkdir()
    with pytest.raises(VIMHError, match="no sound file"):
        run(folder)
    (folder / "bad.wav").write_text("text")
    with pytest.raises(VIMHError, match="none of the sounds"):
        run(folder)
    soundfile.write(folder / "good.wav", sound(), RATE)
    objects, out = run(folder)
    assert [Path(p.source).name for p in objects["predictions"]] == ["good.wav"]
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert "not a sound file" in lines[1]["error"]


@pytest.mark.parametrize("checkpoint", ["vimh_cnn"], indirect=True)
def test_44100_hz_stereo_is_mixed_down_and_resampled(predictor, tmp_path: Path) -> None:
    both = np.stack([sound(1.0, 44100), -0.5 * sound(1.0, 44100)], axis=1)
    soundfile.write(tmp_path / "stereo.wav", both, 44100, subtype="FLOAT")
    (found,) = predictor.predict_file(tmp_path / "stereo.wav")
    assert found.notes == (
        "2 channels mixed down to one",
        "its channels cancel each other in part (antiphase): the mix is 10 dB below them",
        "resampled from 44100 to 8000 Hz",
        "its level, -4.1 dB, is outside of the training range, 4.9 to 9.1 dB",
    )
    time = np.arange(44100) / 44100
    low = (0.5 * np.sin(2 * np.pi * 200 * time)).astype(np.float32)
    soundfile.write(tmp_path / "low.wav", low, 44100, subtype="FLOAT")
    resampled = read_sound(tmp_path / "low.wav", RATE).audio
    wanted = 0.5 * np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE)
    assert len(resampled) == RATE
    assert np.abs(resampled - wanted)[100:-100].max() < 1e-3


@pytest.mark.parametrize("checkpoint", ["vimh_cnn"], indirect=True)
def test_short_and_long_sounds(predictor, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", sound(0.05), RATE, subtype="FLOAT")
    (short,) = predictor.predict_file(tmp_path / "short.wav")
    assert short.notes[0] == "padded from 0.050 to 1.000 s"
    said = "84% of its image lie at the floor, -200.0 dB; of the training sounds' at most 33%"
    assert short.notes[-1] == said
    three = np.concatenate([sound(), np.zeros(RATE, np.float32), sound(), sound(0.1)])
    soundfile.write(tmp_path / "long.wav", three, RATE, subtype="FLOAT")
    (first,) = predictor.predict_file(tmp_path / "long.wav")
    assert first.notes == (
        "only its first 1.000 s are read, 2.100 s follow; window=all reads them too",
    )
    every = Predictor(predictor.model, predictor.metadata, window="all")
    found = every.predict_file(tmp_path / "long.wav")
    assert first.values == found[0].values
    assert [p.start_s for p in found] == [0.0, 2.0]
    assert found[0].values == found[1].values
    assert "1 silent windows left out" in found[0].notes
    assert "the last 0.100 s left out" in found[0].notes


def test_a_rest_of_half_a_window_counts() -> None:
    loud = np.ones(16, np.float32)
    assert windows(loud[:15], 10, 10).start_s == (0.0, 1.0)
    assert windows(loud[:14], 10, 10).start_s == (0.0,)
    assert windows(loud[:3], 10, 10).audio.tolist() == [[1, 1, 1, 0, 0, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("checkpoint", ["vimh_cnn"], indirect=True)
def test_arguments_are_checked(run, compose_config, dataset, made, tmp_path) -> None:
    with pytest.raises(ConfigError, match="input is missing"):
        predict(compose_config("predict", "ckpt_path=x"))
    with pytest.raises(ConfigError, match="split is"):
        run(dataset, split="val")
    with pytest.raises(ConfigError, match="limit is"):
        run(dataset, limit=0)
    with pytest.raises(VIMHError, match="no such file"):
        run(tmp_path / "nowhere.wav")


@pytest.mark.parametrize("checkpoint", ["vimh_cnn"], indirect=True)
def test_another_kind_of_image_is_refused(run, make_other, checkpoint) -> None:
    with pytest.raises(ConfigError, match="The model reads images with"):
        run(make_other)


@pytest.fixture
def make_other(compose_config, tmp_path: Path) -> Path:
    recipe = OmegaConf.to_container(compose_config("generate_simple", "dataset.size=10"))
    recipe["stft"]["window_type"] = "hann"
    recipe["generate"]["output_dir"] = str(tmp_path)
    return generate_dataset(recipe, root=tmp_path, progress=False).dataset_dir


@pytest.mark.parametrize("checkpoint", ["vimh_cnn"], indirect=True)
def test_a_hostile_recipe_in_a_checkpoint_builds_nothing(
    run, checkpoint, dataset, tmp_path
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["avix"]["metadata"]["recipe"]["synth"]["_target_"] = "os.system"
    torch.save(content, tmp_path / "hostile.ckpt")
    with pytest.raises(VIMHError, match="may name only synthesisers"):
        run(dataset, ckpt_path=str(tmp_path / "hostile.ckpt"))


def test_records_whose_scale_factors_are_no_levels_are_refused_where_levels_are_read(
    predictor: Predictor, dataset: Path, tmp_path: Path
) -> None:
    opened = open_dataset(dataset)
    with DatasetWriter(tmp_path / "peers", opened.metadata.raw | {"dataset_name": "x"}) as writer:
        images, labels, levels = opened.test.gather(np.arange(3))
        writer.write("train", images, labels, np.full_like(levels, 4066.0))
    found = predictor.predict_dataset(open_dataset(tmp_path / "peers"), "train", limit=None)
    preparation = predictor.model.preparation
    assert isinstance(preparation, Preparation)
    if preparation.auxiliary_size:
        with pytest.raises(ConfigError, match=r"level need levels in dB.*train.*4066"):
            list(found)
    else:
        assert len(list(found)) == 3


@pytest.mark.parametrize("name", [240 * "x", 120 * "é"])
def test_a_long_name_is_cut_for_the_files_that_are_made_of_it(name: str, tmp_path: Path) -> None:
    prediction = Prediction(f"takes/{name}.wav", np.zeros((1, 1, 1), np.uint8), {})
    stem = file_stem(7, prediction, 10)
    assert stem.startswith("007_" + name[0])
    assert len(stem.encode()) == 204
    (tmp_path / f"{stem}_resynthesised.wav").touch()


@pytest.mark.parametrize("checkpoint", ["vimh_cnn"], indirect=True)
def test_several_inputs(run, dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "takes"
    folder.mkdir()
    for name in ("a.wav", "b.wav"):
        soundfile.write(folder / name, sound(), RATE)
    soundfile.write(tmp_path / "c.wav", sound(), RATE)
    given = [str(tmp_path / "c.wav"), str(folder), str(tmp_path / "missing.wav")]
    objects, _ = run(given)
    assert [Path(p.source).name for p in objects["predictions"]] == ["c.wav", "a.wav", "b.wav"]
    assert "there is no such file" in objects["failed"][given[-1]]
    objects, _ = run(f"{folder}/[ab].wav", limit=1)
    assert [Path(p.source).name for p in objects["predictions"]] == ["a.wav"]
    with pytest.raises(ConfigError, match="is a data set, and has to be the only input"):
        run([str(dataset), given[0]])
