"""Every command where checkout, HOME, TMPDIR and data lie in folders of an awkward name."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

ROOT = Path(__file__).parents[1]
NAME = "my (é) [x], y=1"
MODEL = ROOT / "examples" / "model"
SMALL = ("trainer.accelerator=cpu", "extras.print_config=false", "callbacks.gradient_stats=null")


class Place:
    """Folders of the name, and commands that run in one of them."""

    def __init__(self, base: Path, checkout: Path | None = None) -> None:
        self.folder = base / NAME
        for name in ("home", "tmp"):
            (self.folder / name).mkdir(parents=True)
        self.checkout = checkout or self.folder / NAME

    def run(self, *words: str | Path, expected: int = 0) -> str:
        environment = {
            **os.environ,
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "300",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        for inherited in ("PROJECT_ROOT", "PYTHONPATH", "ARGS", "MAKEFLAGS", "MAKELEVEL"):
            environment.pop(inherited, None)
        done = subprocess.run(
            list(map(str, words)), cwd=self.checkout, env=environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == expected, done.stdout[-3000:] + done.stderr[-3000:]
        assert "\x1b" not in done.stdout + done.stderr  # no colours: it is no terminal
        return done.stdout + done.stderr


def printed(said: str, name: str) -> list[str]:
    """The command that a run prints for copying, as a shell reads it."""
    (command,) = re.findall(rf"^ *{name}: +(.*?)(?:  \(http.*)?$", said, re.MULTILINE)
    return shlex.split(command)


@pytest.mark.slow
def test_predict_there(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.checkout.mkdir()
    audio, rate = soundfile.read(MODEL / "saw.wav")
    for name in ("a=b, [c] (é).wav", "[a].wav", f"{240 * 'x'}.wav", "a$^$.wav"):
        soundfile.write(place.checkout / name, audio, rate, subtype="FLOAT")
    (place.checkout / "m [a]=1.safetensors").write_bytes(
        (MODEL / "simple_wide.safetensors").read_bytes()
    )
    said = place.run(
        sys.executable, ROOT / "src" / "predict.py", "m [a]=1.safetensors", "*.wav",
        f"paths.log_dir={place.folder}/logs [b]",
    )  # fmt: skip
    assert said.count("61.36") == 4
    assert "│ [a].wav" in said
    (run,) = (place.folder / "logs [b]" / "predict" / "runs").iterdir()
    assert f"Run:         {run}" in said
    assert len(list(run.glob("*.png"))) == len(list(run.glob("*_resynthesised.wav"))) == 4


@pytest.mark.slow
def test_export_to_onnx_there(tmp_path: Path) -> None:
    """Model files are written, checked and used in a folder of the name, from the files alone."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    place = Place(tmp_path)
    place.checkout.mkdir()
    model = place.checkout / "m [a]=1.safetensors"
    model.write_bytes((MODEL / "simple_wide.safetensors").read_bytes())
    said = place.run(
        sys.executable, ROOT / "src" / "export.py", f"ckpt_path={model}",
        "output=out [é] (1)/m=1.onnx", f"paths.log_dir={place.folder}/logs [b]",
    )  # fmt: skip
    assert "Checked with onnxruntime" in said
    written = place.checkout / "out [é] (1)"
    kinds = {".onnx", ".pt2", ".safetensors", ".sha256"}
    assert {path.suffix for path in written.iterdir()} == kinds
    place.run("sh", "-c", f"cd {shlex.quote(str(written))} && sha256sum -c m=1.sha256")
    place.run(
        sys.executable, ROOT / "generate_vimh.py", "--config-name", "generate_simple_wide",
        "dataset.size=20", f"generate.output_dir={place.checkout}/data [c]",
    )  # fmt: skip
    (data,) = (place.checkout / "data [c]").iterdir()
    example = ROOT / "examples" / "onnx_predict.py"
    assert "note_velocity" in place.run(sys.executable, example, written / "m=1_images.onnx", data)


@pytest.mark.slow
def test_every_command_there(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so there is nothing to clone")
    place = Place(tmp_path)
    place.checkout.mkdir()
    place.run("git", "clone", "-q", ROOT, ".")
    train = ("python", "src/train.py")
    said = place.run(*train, "experiment=digits_cnn", "trainer.max_epochs=2", "export=true", *SMALL)
    assert str(place.checkout) not in "".join(printed(said, "evaluate") + printed(said, "look"))
    assert (place.checkout / printed(said, "look")[-1]).is_dir()
    (run,) = (place.checkout / "logs" / "train" / "runs").iterdir()
    assert (run / "model.safetensors").is_file()
    place.run(*printed(said, "evaluate"), "report.resamples=10")
    make = ("make", f"PYTHON={sys.executable}")
    place.run(*make, "evaluate", "ARGS=report.resamples=10 extras.print_config=false")
    assert len(list((place.checkout / "logs" / "eval" / "runs").glob("*/report.md"))) == 2

    said = place.run(*train, f"ckpt_path={run}", "trainer.max_epochs=4")
    assert f"Run:         {run.relative_to(place.checkout)}" in said

    data = f"data [é], {NAME}"
    place.run(
        "python", "generate_vimh.py", "dataset.size=40", "generate.wav=2",
        f"generate.output_dir={data}",
    )  # fmt: skip
    (made,) = (place.checkout / data).iterdir()
    said = place.run("python", "display_vimh.py", made, "--check", "--save", "p [é].png")
    assert "wrote p [é].png" in said
    shuffle = ("python", "shuffle_vimh_dataset.py")
    place.run(*shuffle, "--input", made, "--output", "shuffled [x]")
    said = place.run(
        *train, "experiment=vimh_cnn", "data.data_dir=shuffled [x]", "trainer.max_epochs=1",
        "hydra.run.dir=run (1), [é]", *SMALL,
    )  # fmt: skip
    assert printed(said, "evaluate")[2].startswith("ckpt_path='run (1), [é]/checkpoints/epoch_")
    place.run(*printed(said, "evaluate"), "report.resamples=10")
    # The newest run in logs/ with data of its own; make finds them without being told.
    place.run(
        *train, "experiment=vimh_cnn", "data.data_dir=shuffled [x]", "trainer.max_epochs=1", *SMALL
    )
    place.run(*make, "evaluate", "ARGS=report.resamples=10 extras.print_config=false")

    predict = ("python", "src/predict.py", "examples/model/simple_wide.safetensors")
    assert "61.36" in place.run(*predict, "examples/model/saw.wav")
    place.run(*predict, f"input={made}/wav/*.wav")
    place.run(*predict, "shuffled [x]", "limit=2")

    quick = ("trainer.max_epochs=2", "+trainer.limit_train_batches=2")
    place.run(*train, "-m", "experiment=digits_cnn", "seed=1,2", *quick, *SMALL)
    place.run("python", "viz/simple_model_diagram.py", "--config", "mnist_cnn_8k")
    place.run("python", "viz/enhanced_model_diagrams.py", "-c", "mnist_cnn_8k")
    place.run("python", "examples/vimh_training.py", "--demo")
    for target in ("help", "list-configs", "tq"):
        place.run(*make, target, f"ARGS=paths.log_dir={shlex.quote(str(tmp_path))}/tq")
