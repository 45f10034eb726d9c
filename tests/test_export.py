"""The exported model alone gives what the project's own prediction gives."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from src.build import build
from src.checkpoint import load_model, read_checkpoint
from src.evaluation.export.model_files import (
    ExportedModel,
    description,
    example_batch,
    write_model_files,
)
from src.evaluation.prediction.predictor import Predictor
from src.export import export
from src.utils.errors import CheckpointError, ConfigError
from src.vimh.records import open_dataset
from tests.helpers import shrink

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
    exported = ExportedModel(model)
    dataset = open_dataset(made[f"{checkpoint.stem} data"])
    images, _, levels = dataset.train.gather(np.arange(5))
    expected = Predictor(model, read.metadata, batch_size=5).predict_images(images, levels)
    with torch.no_grad():
        found = exported(torch.from_numpy(images), torch.from_numpy(levels))
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
    images, levels = example_batch(metadata, 4)
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
    for name in ("model.onnx", "model.pt2", "model.safetensors"):
        content = (tmp_path / name).read_bytes()
        assert str(ROOT).encode() not in content, name  # no path of this machine
        assert str(made["folder"].parent).encode() not in content, name

    dataset = made[f"{checkpoint.stem} data"]
    example = [sys.executable, ROOT / "examples" / "onnx_predict.py", "model.onnx", dataset]
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
