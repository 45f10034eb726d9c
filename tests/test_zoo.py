"""The models of the repository by name: what resolves, what lies there, and that they work."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from omegaconf import open_dict

from src.checkpoint import Checkpoint, load_model, read_checkpoint
from src.checkpoints.zoo import ROOT, model_path, zoo_files
from src.config_check import (
    CalibrateConfig,
    EvalConfig,
    ExportConfig,
    PredictConfig,
    TrainConfig,
    check_config,
)
from src.fine_tuning import take_weights
from src.model_settings import Start
from src.predict import overrides_of, predict
from src.synth.engines.dexed import DexedSynth
from src.synth.engines.faust import FaustSynth
from src.synth.engines.vital import VitalSynth
from src.synth.resynthesis import resynthesise, synthesizer_of
from src.synth.samples import drawn
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError

ZOO = ROOT / "zoo"
SUFFIXES = (".safetensors", ".onnx", ".sha256", ".md")
NAMES = sorted(path.stem for path in ZOO.glob("*.safetensors"))
MAX_FILE_BYTES, MAX_BYTES = 1_000_000, 6_000_000
EXAMPLE = "zoo:simple_wide"


def card(name: str) -> str:
    return (ZOO / f"{name}.md").read_text(encoding="utf-8")


# ---------------------------------------------------------------------------------- names


def test_a_name_is_its_file_from_any_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert model_path(EXAMPLE) == ROOT / "examples" / "model" / "simple_wide.safetensors"
    assert read_checkpoint(EXAMPLE).path == model_path(EXAMPLE)
    assert model_path("other.ckpt") == Path("other.ckpt")
    (tmp_path / "zoo:simple_wide").write_bytes(b"")
    assert model_path("./zoo:simple_wide") == Path("zoo:simple_wide")
    assert sorted({*NAMES, "simple_wide"}) == list(zoo_files())


@pytest.mark.parametrize("name", ["zoo:", "zoo:none", "zoo:../model/simple_wide"])
def test_an_unknown_name_is_one_sentence_with_the_names(name: str, compose_config) -> None:
    for refused in (
        lambda: read_checkpoint(name),
        lambda: Start.of({"init_from": name}),
        lambda: check_config(compose_config("export", f"ckpt_path='{name}'"), ExportConfig),
    ):
        with pytest.raises(ConfigError, match=r"no model of the zoo; it has .*simple_wide") as said:
            refused()
        assert "\n" not in str(said.value)


def test_every_command_that_reads_a_model_takes_a_name(compose_config) -> None:
    sound = ROOT / "examples" / "model" / "saw.wav"
    predicting = compose_config("predict", f"ckpt_path={EXAMPLE}", f"input='{sound}'")
    check_config(predicting, PredictConfig)
    check_config(compose_config("export", f"ckpt_path={EXAMPLE}"), ExportConfig)
    check_config(compose_config("eval", f"ckpt_path={EXAMPLE}"), EvalConfig, devices=False)
    for words in ([EXAMPLE, "a.wav"], [f"ckpt_path={EXAMPLE}", "input=a.wav"]):
        assert overrides_of(words) == [f"ckpt_path={EXAMPLE}", "input=a.wav"]
    objects = predict(predicting)[1]
    assert objects["predictions"][0].values["note_velocity"] == pytest.approx(61.3, abs=0.7)


def test_what_would_write_into_the_zoo_or_go_on_is_refused(compose_config) -> None:
    with pytest.raises(ConfigError, match="calibrating would write into the zoo: copy"):
        check_config(compose_config("calibrate", f"ckpt_path={EXAMPLE}"), CalibrateConfig)
    with pytest.raises(ConfigError, match=r"begin with them by model\.init_from=zoo:NAME"):
        check_config(compose_config("train", f"ckpt_path={EXAMPLE}"), TrainConfig)


def test_a_training_begins_with_a_model_of_the_zoo(compose_config) -> None:
    start = Start.of({"init_from": EXAMPLE})
    assert start.init_from is not None
    given = read_checkpoint(start.init_from)
    model = load_model(given)
    for weight in model.net.parameters():
        weight.data.zero_()
    taken, left = take_weights(model, given, given.settings)
    assert "block1.0" in taken
    assert left == []
    assert model.net.block1[0].weight.abs().sum() > 0


# ---------------------------------------------------------------------------------- entries


def test_the_page_lists_every_model() -> None:
    page = (ROOT / "docs" / "zoo.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[`zoo:(\w+)`\]", page, re.MULTILINE) == list(zoo_files())


def test_the_zoo_is_small() -> None:
    files = [*ZOO.glob("*"), *(ROOT / "examples" / "model").glob("simple_wide.*")]
    assert all(file.stat().st_size < MAX_FILE_BYTES for file in files)
    assert sum(file.stat().st_size for file in files) < MAX_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_is_whole(name: str) -> None:
    assert {path.suffix for path in ZOO.glob(f"{name}.*")} == set(SUFFIXES)
    lines = (ZOO / f"{name}.sha256").read_text(encoding="utf-8").splitlines()
    sums = {file: digest for digest, file in (line.split("  ") for line in lines)}
    assert list(sums) == [f"{name}.safetensors", f"{name}.onnx"]
    for file, digest in sums.items():
        assert hashlib.sha256((ZOO / file).read_bytes()).hexdigest() == digest, file
        assert f"`{file}` {(ZOO / file).stat().st_size:,} bytes" in card(name)
        assert b"/tmp/" not in (ZOO / file).read_bytes(), "a path of the machine that made it"


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_how_the_model_was_made_and_how_well_it_does(name: str) -> None:
    text, read = card(name), read_checkpoint(f"zoo:{name}")
    assert re.search(r"^\| command \| `python src/train\.py experiment=\w+", text, re.MULTILINE)
    assert re.search(r"epochs in \d+ minutes, seed \d+, commit `[0-9a-f]{7,}", text)
    assert f"| data set | {read.metadata.dataset_name}: " in text
    errors, intervals = text.split("## Errors")[1].split("## Intervals")
    for parameter in read.metadata.parameters:
        assert re.search(rf"^\| {parameter} \| .*\d \\\[\d", errors, re.MULTILINE), parameter
        assert re.search(rf"^\| {parameter} \|( [\d.]+ % \\\[.*\\\][ *\\]*\|){{3}}", intervals,
                         re.MULTILINE), parameter  # fmt: skip
    assert re.search(r"^\d+ of \d+ samples \(\d\.\d %\) are called unlike", text, re.MULTILINE)
    assert "/tmp/" not in text
    assert "It knows the sounds of this synthesiser alone" in text
    assert read.calibration is not None


# ---------------------------------------------------------------------------------- predicting


def rendered(read: Checkpoint, count: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return values that were drawn, and their sounds."""
    synthesizer = synthesizer_of(read.metadata)
    assert synthesizer is not None
    heads = synthesizer.parameters.heads
    u = np.random.default_rng(3).random((count, len(heads)))
    values = {name: drawn(p, u[:, k]) for k, (name, p) in enumerate(heads.items())}
    return values, resynthesise(synthesizer, values)


def written(sounds: np.ndarray, rate_hz: float, folder: Path) -> list[Path]:
    paths = [folder / f"{number:02d}.wav" for number in range(len(sounds))]
    for path, sound in zip(paths, sounds, strict=True):
        soundfile.write(path, sound, int(rate_hz), subtype="FLOAT")
    return paths


@pytest.mark.parametrize("name", [name for name in NAMES if name in ("resonator", "stk")])
def test_a_sound_of_its_synthesiser_has_its_values(
    name: str, tmp_path: Path, compose_config
) -> None:
    read = read_checkpoint(f"zoo:{name}")
    values, sounds = rendered(read, 8)
    written(sounds, read.metadata.sample_rate or 0.0, tmp_path)
    cfg = compose_config("predict", f"ckpt_path=zoo:{name}", f"input='{tmp_path}'")
    with open_dict(cfg):
        cfg.sounds = 0
    found = predict(cfg)[1]["predictions"]
    for head, parameter in read.metadata.parameters.items():
        predicted = np.array([prediction.values[head] for prediction in found])
        error = parameter.codec.error_in_range(
            np.abs(parameter.codec.error(predicted, values[head]))
        )
        assert error.mean() < 0.03, head
    assert not any(prediction.notes for prediction in found)


ENGINES = [name for name in NAMES if name.startswith(("faust", "vital", "dexed"))]


@pytest.mark.parametrize("name", ENGINES[:1])
def test_values_need_no_engine_and_sounds_of_them_say_what_they_need(
    name: str, tmp_path: Path, compose_config, monkeypatch: pytest.MonkeyPatch
) -> None:
    for engine in (FaustSynth, VitalSynth, DexedSynth):
        monkeypatch.setattr(engine, "packages", ("engine_that_is_not_there",))
    rate_hz = read_checkpoint(f"zoo:{name}").metadata.sample_rate or 0.0
    noise = np.random.default_rng(0).normal(0, 0.1, int(rate_hz))
    (path,) = written(noise[None], rate_hz, tmp_path)
    cfg = compose_config("predict", f"ckpt_path=zoo:{name}", f"input='{path}'")
    with pytest.raises(
        VIMHError, match=r"needs the package engine.*; sounds=0 predicts the values"
    ):
        predict(cfg)
    with open_dict(cfg):
        cfg.sounds = 0
    (found,) = predict(cfg)[1]["predictions"]
    assert found.values.keys() == read_checkpoint(f"zoo:{name}").metadata.parameters.keys()
    assert found.doubt.is_unlike  # white noise


@pytest.mark.parametrize("name", [*NAMES[-1:], "simple_wide"])
def test_onnx_gives_what_predict_gives(name: str, tmp_path: Path) -> None:
    check_onnx(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES[:-1])
def test_every_onnx_gives_what_predict_gives(name: str, tmp_path: Path) -> None:
    check_onnx(name, tmp_path)


def check_onnx(name: str, folder: Path) -> None:
    """Compare values and intervals of decaying noise; a pixel that is a level off moves values."""
    onnxruntime = pytest.importorskip("onnxruntime")
    from src.evaluation.prediction.predictor import Predictor

    path = model_path(f"zoo:{name}")
    read = read_checkpoint(path)
    session = onnxruntime.InferenceSession(path.with_suffix(".onnx"))
    predictor = Predictor(load_model(read), read.metadata, start="file", renders=False)
    codec = read.metadata.parameters.codec
    front_end = predictor.image_maker.front_end
    rng = np.random.default_rng(1)
    length = front_end.num_samples
    fall = np.exp(-np.linspace(0, 1, length) * rng.uniform(1, 6, (4, 1)))
    sounds = (0.1 * rng.standard_normal((4, length)) * fall).astype(np.float32)
    files = written(sounds, front_end.sample_rate_hz, folder)
    for sound, file in zip(sounds, files, strict=True):
        (expected,) = predictor.predict_file(file)
        values, image = session.run(["values", "image"], {"audio": sound[None]})
        is_same = np.array_equal(image[0], expected.image)
        apart = codec.error(values[0], np.array(list(expected.values.values())))
        assert np.abs(codec.error_in_range(apart)).max() < (1e-4 if is_same else 2e-3)


# ---------------------------------------------------------------------------------- making


@pytest.mark.slow
def test_a_run_becomes_an_entry(tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    run = tmp_path / "run"
    train = [
        *("experiment=resonator_cnn", "trainer.max_epochs=1", "export=false"),
        *("data.source.recipe.dataset.size=600", f"paths.vimh_dir={tmp_path / 'data'}"),
        *(f"hydra.run.dir={run}", "trainer=cpu"),
    ]
    environment = {**os.environ, "JAXTYPING_DISABLE": "1"}
    subprocess.run([sys.executable, "src/train.py", *train], cwd=ROOT, check=True, env=environment)
    other = tmp_path / "other"
    (other / "docs").mkdir(parents=True)
    page = other / "docs" / "zoo.md"
    page.write_text("| model | |\n|---|---|\n| [`zoo:zz`](a.md) | |\n", encoding="utf-8")
    make = [sys.executable, "scripts/make_zoo_model.py", run, "tiny", other]
    for _ in range(2):  # the second replaces the first
        subprocess.run(make, cwd=ROOT, check=True, env=environment)
    assert {path.name for path in (other / "zoo").iterdir()} == {f"tiny{s}" for s in SUFFIXES}
    rows = page.read_text(encoding="utf-8").splitlines()
    assert [row.split("`")[1] for row in rows[2:]] == ["zoo:tiny", "zoo:zz"]
    read = read_checkpoint(other / "zoo" / "tiny.safetensors")
    assert read.calibration is not None
    assert read.calibration.count == 120
    text = (other / "zoo" / "tiny.md").read_text(encoding="utf-8")
    assert "`python src/train.py experiment=resonator_cnn trainer.max_epochs=1 " in text
    assert str(tmp_path) not in text
    levels = read.metadata.raw["training_levels"]
    assert json.loads(json.dumps(levels)).keys() == {"lowest_db", "highest_db", "floor_share"}
    refused = subprocess.run(
        [sys.executable, "scripts/make_zoo_model.py", run, "Bad Name", other],
        cwd=ROOT, capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: NAME is 'Bad Name'; expected small letters")
