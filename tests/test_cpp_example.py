"""examples/cpp: an exported model compiled to C reads the values that predict.py reads."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from src.checkpoint import load_model, read_checkpoint
from src.evaluation.prediction.predictor import Predictor
from tests.pages import ROOT

MODEL = ROOT / "examples" / "model"
missing = [name for name in ("cmake", "c++") if shutil.which(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing), reason=f"no {', '.join(missing)}: apt-get install cmake g++"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of the model in the repository, as its CMakeLists.txt says."""
    folder = tmp_path_factory.mktemp("cpp")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "-q", "emx-onnx-cgen"]
    subprocess.run(install, check=True, timeout=900)
    options = {
        "MODEL": MODEL / "simple_wide.onnx",
        "SAMPLES": 8000,
        "GENERATOR": folder / "venv" / "bin" / "emx-onnx-cgen",
        "PYTHON": python,
    }
    words = [f"-D{name}={value}" for name, value in options.items()]
    build = folder / "build"
    configure = ["cmake", "-S", ROOT / "examples" / "cpp", "-B", build, *words]
    subprocess.run(configure, check=True)
    subprocess.run(["cmake", "--build", build], check=True)
    return build / "read_sound"


def read(program: Path, sound: Path) -> str:
    done = subprocess.run([program, sound], capture_output=True, text=True, check=True)
    return done.stdout


def test_it_reads_what_predict_reads(program: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(MODEL / "simple_wide.safetensors")
    predictor = Predictor(load_model(checkpoint), checkpoint.metadata)
    audio, rate_hz = soundfile.read(MODEL / "saw.wav", dtype="float32")
    late = tmp_path / "late.wav"  # silence, then the sound's first half, of 16 bits
    soundfile.write(late, np.concatenate([np.zeros(500), audio[:4000]]), rate_hz, subtype="PCM_16")
    for path in (MODEL / "saw.wav", late):
        said = read(program, path)
        print(said)
        found = dict(re.findall(r"^(\w+) (\S+)", said, re.MULTILINE))
        for name, parameter in checkpoint.metadata.parameters.items():
            expected = predictor.predict_file(path)[0].values[name]
            assert abs(float(found[name]) - expected) < 1e-4 * parameter.range, name
        assert " of one core a sound" in said


def test_a_foreign_sound_is_said(program: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 8000)
    soundfile.write(tmp_path / "noise.wav", noise, 8000, subtype="FLOAT")
    assert "unlike the training sounds (p < 0.01)" in read(program, tmp_path / "noise.wav")
    assert "unlike" not in read(program, MODEL / "saw.wav")


def test_a_broken_file_is_a_sentence(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "broken.wav"
    path.write_bytes(b"nothing of a sound")
    done = subprocess.run([program, path], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"error: {path}: it is no WAV file\n"
