"""The exported model alone gives what the project's own prediction gives."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from src.build import build
from src.calibrating import calibrate
from src.checkpoint import CALIBRATION, load_model, read_checkpoint
from src.evaluation.export.functions import ImageModel
from src.evaluation.export.model_files import description, write_model_files
from src.evaluation.export.programs import example_images
from src.evaluation.prediction.predictor import Predictor
from src.export import export
from src.recordings.importing import import_recordings
from src.recordings.settings import ImportSettings
from src.recordings.sounds import read_sound
from src.synth.resynthesis import resynthesise
from src.synth.samples import drawn
from src.utils.errors import CheckpointError, ConfigError
from src.vimh.parameters import ParameterSpace
from src.vimh.records import open_dataset
from tests.helpers import load_example, shrink

ROOT = Path(__file__).resolve().parents[1]
ONNX_PACKAGES = "src.evaluation.export.model_files.ONNX_PACKAGES"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {"folder": tmp_path_factory.mktemp("export")}


@pytest.fixture(params=["vimh_cnn", "avix_cnn_72dss_jnd_dg_hybrid"])
def checkpoint(request, made: dict[str, Path], compose_config, data_root: Path) -> Path:
    experiment = request.param
    if experiment not in made:
        torch.manual_seed(1)
        built = build(shrink(compose_config("train", f"experiment={experiment}"), data_root))
        content = {"state_dict": built.model.state_dict(), "epoch": 0, "global_step": 0}
        built.model.on_save_checkpoint(content)
        made[experiment] = made["folder"] / f"{experiment}.ckpt"
        made[f"{experiment} data"] = Path(built.datamodule.data_dir)
        torch.save(content, made[experiment])
    return made[experiment]


def test_one_function_of_bytes_predicts_what_the_project_does(checkpoint, made) -> None:
    read = read_checkpoint(checkpoint)
    model = load_model(read)
    exported = ImageModel(model)
    dataset = open_dataset(made[f"{checkpoint.stem} data"])
    images, _, levels = dataset.train.gather(np.arange(5))
    expected = Predictor(model, read.metadata, batch_size=5).predict_images(images, levels)
    with torch.no_grad():
        (found,) = exported(torch.from_numpy(images), torch.from_numpy(levels))
    for column, name in enumerate(model.parameters_by_head):
        assert found[:, column].tolist() == [row.values[name] for row in expected]


def test_the_description_is_enough_to_use_it(checkpoint) -> None:
    read = read_checkpoint(checkpoint)
    about = description(read.metadata, load_model(read))
    parameters = json.loads(about["parameters"])
    assert [p["name"] for p in parameters] == list(read.metadata.parameters)
    assert {"min", "max", "step", "unit"} <= parameters[0].keys()
    assert json.loads(about["sound"])["spectrogram_config"]["n_fft"] == 80
    assert json.loads(about["image"])["channels"] == read.metadata.channels


def test_examples_differ_between_samples(checkpoint) -> None:
    metadata = read_checkpoint(checkpoint).metadata
    images, levels = example_images(metadata, 4)
    assert images.shape == (4, *metadata.image_shape)
    assert not torch.equal(images[0], images[1])
    assert (levels[:, 0] < levels[:, 1]).all()


@pytest.mark.parametrize("checkpoint", ["vimh_cnn"], indirect=True)
def test_a_missing_package_is_named_with_the_extra(
    checkpoint, compose_config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ONNX_PACKAGES, ("onnx_that_is_not_there",))
    cfg = compose_config("export", f"ckpt_path='{checkpoint}'")
    with pytest.raises(ConfigError, match=r"onnx_that_is_not_there: pip install .*\[export\]"):
        export(cfg)
    with pytest.raises(ConfigError, match="ckpt_path is missing"):
        export(compose_config("export"))


def test_safetensors_predict_like_their_checkpoint_and_need_no_onnx(
    checkpoint, made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(ONNX_PACKAGES, ("onnx_that_is_not_there",))
    files, difference = write_model_files(str(checkpoint), tmp_path / "model.onnx")
    assert [file.name for file in files] == ["model.safetensors", "model.sha256"]
    assert difference is None
    assert "no onnx_that_is_not_there: pip install" in capsys.readouterr().out
    sums = subprocess.run(["sha256sum", "-c", "model.sha256"], cwd=tmp_path, check=False)
    assert sums.returncode == 0
    assert files[0].stat().st_size < checkpoint.stat().st_size
    dataset = open_dataset(made[f"{checkpoint.stem} data"])
    predicted = []
    for path in (checkpoint, files[0]):
        read = read_checkpoint(path)
        predictor = Predictor(load_model(read), read.metadata)
        predicted.append([p.values for p in predictor.predict_dataset(dataset, "test", 5)])
    assert predicted[0] == predicted[1]


@pytest.mark.parametrize("checkpoint", ["vimh_cnn"], indirect=True)
def test_a_safetensors_file_that_is_damaged_or_of_others_is_refused(
    checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    monkeypatch.setattr(ONNX_PACKAGES, ("onnx_that_is_not_there",))
    (whole, _), _ = write_model_files(str(checkpoint), tmp_path / "model.onnx")
    content = whole.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    damaged = tmp_path / "damaged.safetensors"
    for length in [*range(0, header, 97), header, len(content) - 1]:
        damaged.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
            read_checkpoint(damaged)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "nowhere.safetensors")
    for metadata in (None, {"avix": "[1]", "place": "[1]"}):
        save_file({"weight": torch.zeros(1)}, damaged, metadata=metadata)
        with pytest.raises(ConfigError, match="not a checkpoint of this project"):
            read_checkpoint(damaged)
    save_file({"weight": torch.zeros(1)}, damaged, metadata={"avix": "{"})
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        read_checkpoint(damaged)


# In processes of its own: what checks shapes in tests would be traced into the exported program.
@pytest.mark.slow
def test_exported_files_alone_predict(checkpoint, made, tmp_path: Path) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    words = ["src/export.py", f"ckpt_path={checkpoint}", f"hydra.run.dir={tmp_path}"]
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Checked with onnxruntime" in done.stdout
    sums = subprocess.run(["sha256sum", "-c", "model.sha256"], cwd=tmp_path, check=False)
    assert sums.returncode == 0
    for name in ("model.onnx", "model_images.onnx", "model.pt2", "model.safetensors"):
        content = (tmp_path / name).read_bytes()
        assert str(ROOT).encode() not in content, name  # no path of this machine
        assert str(made["folder"].parent).encode() not in content, name

    dataset = made[f"{checkpoint.stem} data"]
    example = [sys.executable, ROOT / "examples" / "onnx_predict.py", "model_images.onnx", dataset]
    shown = subprocess.run(example, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert shown.returncode == 0, shown.stderr
    read = read_checkpoint(checkpoint)
    predictor = Predictor(load_model(read), read.metadata)
    for line, expected in zip(
        shown.stdout.splitlines(),
        predictor.predict_dataset(open_dataset(dataset), "test", limit=5),
        strict=True,
    ):
        for name, value in expected.values.items():
            found = line.split(f"{name} ")[1].split()[0]
            assert float(found) == pytest.approx(value, rel=1e-3, abs=1e-3)


KINDS = ("sawtooths", "recordings", "a Faust program")
NUM_SOUNDS = 256


def trained(kind: str, compose_config, data_root: Path, folder: Path) -> Path:
    """A model of sounds of one kind; of the sawtooths trained, of the others with first weights."""
    if kind == "sawtooths":
        return ROOT / "examples" / "model" / "simple_wide.safetensors"
    if kind == "recordings":
        make_notes = load_example("own_sounds/make_notes.py")
        make_notes.make_notes(folder / "notes", NUM_SOUNDS, seed=1)
        settings = ImportSettings(
            folder=str(folder / "notes"),
            labels=str(folder / "notes" / "labels.csv"),
            output_dir=str(folder),
        )
        import_recordings(settings, progress=False)
        words = [
            "experiment=recordings_cnn",
            "data.source=null",
            f"data.data_dir={folder / 'vimh-notes'}",
        ]
        built = build(compose_config("train", *words))
    else:
        pytest.importorskip("cyfaust")
        cfg = compose_config("train", "experiment=faust_voice_cnn")
        built = build(shrink(cfg, data_root))
    content = {"state_dict": built.model.state_dict(), "epoch": 0, "global_step": 0}
    built.model.on_save_checkpoint(content)
    torch.save(content, folder / "model.ckpt")
    return folder / "model.ckpt"


def some_sounds(predictor: Predictor, folder: Path) -> list[np.ndarray]:
    """Sounds as the model's own, at its rate."""
    synthesizer = predictor.synthesizer
    if synthesizer is None:
        rate_hz = predictor.image_maker.front_end.sample_rate_hz
        files = sorted((folder / "notes").rglob("*.wav"))
        return [read_sound(file, rate_hz, predictor.listening).audio for file in files]
    heads = synthesizer.parameters.heads
    uniform = np.random.default_rng(5).random((NUM_SOUNDS, len(heads)))
    values = {name: drawn(p, uniform[:, k]) for k, (name, p) in enumerate(heads.items())}
    return list(resynthesise(synthesizer, values))


# 256 sounds of each kind, shorter than the training's, as long, and longer.
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_sounds_gives_what_predict_gives(
    kind: str, compose_config, data_root: Path, tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(1)
    path = trained(kind, compose_config, data_root, tmp_path)
    # In a process of its own: what checks shapes in tests would be traced into the program.
    words = [f"ckpt_path={path}", f"hydra.run.dir={tmp_path / 'exported'}"]
    export_it = [sys.executable, "src/export.py", *words]
    subprocess.run(export_it, cwd=ROOT, check=True, capture_output=True)
    session = onnxruntime.InferenceSession(tmp_path / "exported" / "model.onnx")
    about = session.get_modelmeta().custom_metadata_map
    assert about["input"] == "audio"

    read = read_checkpoint(path)
    predictor = Predictor(load_model(read), read.metadata, start="file")
    front_end = predictor.image_maker.front_end
    assert json.loads(about["sound"])["sample_rate"] == front_end.sample_rate_hz
    codec = ParameterSpace(read.metadata.parameters.values()).codec
    sounds = some_sounds(predictor, tmp_path)
    assert len(sounds) == NUM_SOUNDS
    pixels = off = 0
    for share in (0.5, 1.0, 1.5):
        for sound in sounds:
            audio = np.resize(sound, int(share * front_end.num_samples))
            file = tmp_path / "sound.wav"
            soundfile.write(file, audio, front_end.sample_rate_hz, subtype="FLOAT")
            expected = predictor.predict_file(file)[0]
            values, image = session.run(["values", "image"], {"audio": audio[None]})
            wrong = np.abs(image[0].astype(int) - expected.image)
            assert wrong.max() <= 1
            pixels, off = pixels + wrong.size, off + int(wrong.sum())
            apart = codec.error(values[0], np.array(list(expected.values.values())))
            # A pixel that is a level off is another image to the network.
            limit = 1e-4 if not wrong.any() else 1e-3
            assert np.abs(codec.error_in_range(apart)).max() < limit
    print(f"{kind}: {off} of {pixels} pixels a grey level off")
    assert off <= 1e-4 * pixels


# Heads whose values are ratios, and heads that are classes; no engine is needed for these.
@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["resonator_hz_cnn", "mixed_cnn"])
def test_log_spacing_and_classes_are_exported(
    experiment: str, compose_config, data_root: Path, tmp_path: Path
) -> None:
    """Values and intervals to 1e-4 of the range; of a class the index, and its set's ends."""
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(1)
    built = build(shrink(compose_config("train", f"experiment={experiment}"), data_root))
    parameters = built.datamodule.metadata.parameters
    assert any(p.is_log or p.is_categorical for p in parameters.values())
    calibration = calibrate(built.model, built.datamodule)
    content = {"state_dict": built.model.state_dict(), "epoch": 0, "global_step": 0}
    built.model.on_save_checkpoint(content)
    torch.save({**content, CALIBRATION: calibration.to_parts()}, tmp_path / "model.ckpt")
    # In a process of its own: what checks shapes in tests would be traced into the program.
    words = [f"ckpt_path={tmp_path / 'model.ckpt'}", f"hydra.run.dir={tmp_path / 'exported'}"]
    subprocess.run([sys.executable, "src/export.py", *words], cwd=ROOT, check=True)
    session = onnxruntime.InferenceSession(tmp_path / "exported" / "model.onnx")
    read = read_checkpoint(tmp_path / "model.ckpt")
    predictor = Predictor(load_model(read), read.metadata, start="file")
    codec, off, pixels = parameters.codec, 0, 0
    for sound in some_sounds(predictor, tmp_path)[:32]:
        soundfile.write(tmp_path / "sound.wav", sound, 8000, subtype="FLOAT")
        (from_file,) = predictor.predict_file(tmp_path / "sound.wav")
        names = ["values", "low", "high", "image", "scale_factors"]
        values, low, high, image, scale_factors = session.run(names, {"audio": sound[None]})
        wrong = np.abs(image[0].astype(int) - from_file.image)
        assert wrong.max() <= 1
        off, pixels = off + int(wrong.sum()), pixels + wrong.size
        # A pixel that is a level off is another image to the network: that one is predicted.
        (expected,) = predictor.predict_images(image, scale_factors)
        true = np.array(list(expected.values.values()))
        assert np.abs(codec.error_in_range(codec.error(values[0], true))).max() < 1e-4
        assert expected.doubt is not None
        for column, (name, parameter) in enumerate(parameters.items()):
            if parameter.is_categorical:
                assert values[0, column] == expected.values[name]
                continue
            ends = np.array(expected.doubt.ends[name])
            own = parameter.codec.error(np.array([low[0, column], high[0, column]]), ends)
            assert np.abs(parameter.codec.error_in_range(own)).max() < 1e-4, name
    assert off <= 5e-3 * pixels  # docs/predict.md: 1 to 3 in 1,000 in such images


@pytest.mark.slow
def test_the_example_in_an_environment_without_us(tmp_path: Path) -> None:
    """The README's sound has the README's values; nothing of ours is installed there."""
    pytest.importorskip("onnxruntime")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "-q", "numpy", "soundfile", "onnxruntime"]
    subprocess.run(install, check=True, timeout=900)
    example = (tmp_path / "use_model.py", ROOT / "examples" / "use_model.py")
    example[0].write_bytes(example[1].read_bytes())
    model = ROOT / "examples" / "model"
    words = [python, example[0], model / "simple_wide.onnx", model / "saw.wav"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    found = dict(re.findall(r"^(\w+) (\S+)", done.stdout, re.MULTILINE))
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, value in found.items():
        (written,) = re.findall(rf"`{name}` ([\d.−]+)", page)[:1]
        assert float(value) == pytest.approx(float(written.replace("−", "-")), abs=0.006), name
    assert list(found) == ["note_velocity", "log10_decay_time"]


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda p: soundfile.write(p, np.ones(50), 44100), "expected one channel of 8000 Hz"),
        (lambda p: soundfile.write(p, np.ones((50, 2)), 8000), "expected one channel of 8000 Hz"),
    ],
    ids=["another rate", "stereo"],
)
def test_the_example_refuses_other_sounds(write, message: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    write(tmp_path / "sound.wav")
    model = ROOT / "examples" / "model" / "simple_wide.onnx"
    words = [sys.executable, ROOT / "examples" / "use_model.py", model, tmp_path / "sound.wav"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert message in done.stderr
