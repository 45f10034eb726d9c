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
from src.evaluation.exported import ExportedModel, description
from src.evaluation.predictor import Predictor
from src.export import example_batch, export
from src.utils.errors import ConfigError
from src.vimh.records import open_dataset
from tests.helpers import shrink

ROOT = Path(__file__).resolve().parents[1]


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
        assert found[:, column].tolist() == [row[name] for row in expected]


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
    monkeypatch.setattr("src.export.NEEDED", ("onnx_that_is_not_there",))
    cfg = compose_config("export", f"ckpt_path='{checkpoint}'")
    with pytest.raises(ConfigError, match=r"onnx_that_is_not_there: pip install .*\[export\]"):
        export(cfg)
    with pytest.raises(ConfigError, match="ckpt_path is missing"):
        export(compose_config("export"))


# In processes of its own: what checks shapes in tests would be traced into the exported program.
@pytest.mark.slow
def test_exported_files_alone_predict(checkpoint, made, tmp_path: Path) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime", "safetensors"):
        pytest.importorskip(name)
    words = ["src/export.py", f"ckpt_path={checkpoint}", f"hydra.run.dir={tmp_path}"]
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Checked with onnxruntime" in done.stdout
    sums = subprocess.run(["sha256sum", "-c", "model.sha256"], cwd=tmp_path, check=False)
    assert sums.returncode == 0

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
