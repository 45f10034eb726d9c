"""The README's demonstration, and the model that it uses."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hydra import compose, initialize_config_dir

from src.checkpoint import load_model, read_checkpoint
from src.evaluation.prediction.predictor import Predictor
from src.synth.synthesizers import Synthesizer
from src.synth.table import own_classes
from tests.pages import ROOT, blocks, clone, run

MODEL = ROOT / "examples" / "model"
TRUE = {"note_velocity": 61.278, "log10_decay_time": -0.05749}  # docs/predict.md
JND = {"note_velocity": 2.0, "log10_decay_time": 0.1}


def assert_right(values: dict[str, float]) -> None:
    for name, true in TRUE.items():
        assert abs(values[name] - true) < 0.5 * JND[name], name


# What the README's table calls the sounds of each synthesiser.
IN_THE_TABLE = {
    "simple": "| sawtooth, wide ranges |",
    "resonator": "| resonator,",
    "moog": "| sawtooth through a ladder filter |",
    "string": "| plucked string ",
    "plate": "| plate reverb ",
}


def test_every_synthesiser_that_make_generates_has_a_row() -> None:
    targets = (ROOT / "make" / "data.mk").read_text(encoding="utf-8")
    own = own_classes(Synthesizer)
    names = {"generate_simple", *re.findall(r"--config-name (\w+)", targets)}
    with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "configs")):
        classes = [own[compose(name).synth["_target_"]] for name in sorted(names)]
    types = {cls.synth_type for cls in classes if issubclass(cls, Synthesizer)}
    assert {synth_type.partition("_")[0] for synth_type in types} == IN_THE_TABLE.keys()
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    for row in IN_THE_TABLE.values():
        assert f"\n{row}" in page


def test_the_model_in_the_repository_is_whole_small_and_right() -> None:
    done = subprocess.run(["sha256sum", "-c", "simple_wide.sha256"], cwd=MODEL, check=False)
    assert done.returncode == 0
    assert sum(path.stat().st_size for path in MODEL.iterdir()) < 600_000
    read = read_checkpoint(MODEL / "simple_wide.safetensors")
    predictor = Predictor(load_model(read), read.metadata)
    (found,) = predictor.predict_file(MODEL / "saw.wav")
    assert_right(found.values)
    original, _ = soundfile.read(MODEL / "saw.wav", dtype="float32")
    again = predictor.resynthesise(found.values)
    assert np.abs(again - original).max() < 0.02 * np.abs(original).max()


def test_onnx_and_safetensors_are_the_same_model() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    read = read_checkpoint(MODEL / "simple_wide.safetensors")
    predictor = Predictor(load_model(read), read.metadata)
    (found,) = predictor.predict_file(MODEL / "saw.wav")
    session = onnxruntime.InferenceSession(
        MODEL / "simple_wide.onnx", providers=["CPUExecutionProvider"]
    )
    (row,), (image,) = session.run(["values", "image"], {"audio": found.audio[None]})
    np.testing.assert_array_equal(image, found.image)
    for value, p in zip(row, read.metadata.parameters.values(), strict=True):
        assert abs(value - found.values[p.name]) < 1e-5 * p.range


@pytest.mark.slow
def test_the_sound_is_what_the_documented_command_renders(tmp_path: Path) -> None:
    words = "seed=7 dataset.size=10 generate.wav=10"
    run(
        f"python {ROOT}/generate_vimh.py --config-name generate_simple_wide {words} "
        f"generate.output_dir={tmp_path}",
        tmp_path,
    )
    (made,) = tmp_path.glob("*/wav/train_000003.wav")
    for one, other in zip(soundfile.read(made), soundfile.read(MODEL / "saw.wav"), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.slow
def test_the_demonstration_works_as_it_is_written(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so there is nothing to clone")
    where = clone(tmp_path)
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = [block.text for block in blocks(page) if block.language == "bash"]
    assert commands
    for text in commands:
        run(text, where)
    first, refined = sorted(where.glob("logs/predict/runs/*"))
    for folder in (first, refined):
        (line,) = map(json.loads, (folder / "predictions.jsonl").read_text().splitlines())
        assert_right(line["values"])
        assert (folder / "saw_resynthesised.wav").is_file()
        assert (folder / "saw.png").is_file()
    assert line["refined"]["residual_db"] < -140
