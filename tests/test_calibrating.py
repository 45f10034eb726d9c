"""Calibrating: what it measures, how files carry it, what is refused, what commands show."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from omegaconf import open_dict

from src.calibrate import calibrate as calibrate_command
from src.calibrating import calibrate, calibrate_file
from src.checkpoint import (
    check_content,
    load_model,
    read_checkpoint,
    write_safetensors,
)
from src.checkpoints.checkpoint_io import load_checkpoint
from src.data.vimh_datamodule import VIMHDataModule
from src.eval import evaluate
from src.evaluation.scoring.coverage import coverage_of
from src.predict import predict
from src.train import train
from src.utils.errors import ConfigError
from tests.conftest import ROOT
from tests.helpers import shrink

OLD = ROOT / "tests/checkpoints/simple_cnn.ckpt"


@pytest.fixture(scope="module")
def shared() -> dict[str, Any]:
    return {}


@pytest.fixture
def trained(
    compose_config, data_root: Path, shared: dict[str, Any], tmp_path_factory
) -> dict[str, Any]:
    """One epoch of a small training that calibrates, and what it left."""
    if not shared:
        cfg = shrink(compose_config("train", "experiment=simple_wide_cnn_hybrid"), data_root)
        with open_dict(cfg):
            cfg.calibrate = True
            cfg.trainer.max_epochs = 1
            cfg.callbacks.last_checkpoint.dirpath = str(tmp_path_factory.mktemp("run"))
            cfg.callbacks.model_checkpoint.dirpath = cfg.callbacks.last_checkpoint.dirpath
            cfg.logger = None
            cfg.paths.output_dir = cfg.callbacks.last_checkpoint.dirpath
        _, objects = train(cfg)
        folder = Path(cfg.callbacks.last_checkpoint.dirpath)
        shared |= {"folder": folder, "datamodule": objects["datamodule"], "cfg": cfg}
    return shared


def copy_of(trained: dict[str, Any], folder: Path) -> Path:
    path = folder / "copy.ckpt"
    path.write_bytes((trained["folder"] / "last.ckpt").read_bytes())
    return path


def test_training_calibrates_the_best_and_the_last_checkpoint(trained: dict[str, Any]) -> None:
    files = sorted(trained["folder"].glob("*.ckpt"))
    assert len(files) == 2
    for path in files:
        calibration = read_checkpoint(path).calibration
        assert calibration is not None
        assert calibration.count == len(trained["datamodule"].splits.val) == 19
        assert list(calibration.spread) == ["note_velocity", "log10_decay_time"]
        model = load_model(read_checkpoint(path))
        assert model.calibration is not None
        again = calibrate(model, trained["datamodule"])
        assert torch.equal(again.scores, calibration.scores)
        for name, tensor in again.unlike_tensors.items():
            torch.testing.assert_close(tensor, calibration.unlike_tensors[name])


def test_all_but_the_calibration_stays_as_training_wrote_it(
    trained: dict[str, Any], tmp_path: Path
) -> None:
    path = copy_of(trained, tmp_path)
    before = load_checkpoint(path)
    calibrate_file(path, trained["datamodule"])
    after = load_checkpoint(path)
    assert before.keys() == after.keys()
    for key in before.keys() - {"calibration"}:
        assert_same(before[key], after[key], key)


def assert_same(first: object, second: object, where: str) -> None:
    assert type(first) is type(second), where
    if isinstance(first, dict) and isinstance(second, dict):
        assert list(first) == list(second), where
        for key in first:
            assert_same(first[key], second[key], f"{where}.{key}")
    elif isinstance(first, list | tuple) and isinstance(second, list | tuple):
        assert len(first) == len(second), where
        for k, (one, other) in enumerate(zip(first, second, strict=True)):
            assert_same(one, other, f"{where}[{k}]")
    elif isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        assert torch.equal(first, second), where
    else:
        assert first == second, where


def test_safetensors_carry_it(trained: dict[str, Any], tmp_path: Path) -> None:
    checkpoint = read_checkpoint(trained["folder"] / "last.ckpt")
    path = write_safetensors(checkpoint, tmp_path / "model.safetensors", {})
    read = read_checkpoint(path)
    assert read.calibration is not None
    assert checkpoint.calibration is not None
    assert_same(read.calibration.to_parts(), checkpoint.calibration.to_parts(), "calibration")
    bare = write_safetensors(
        replace(checkpoint, calibration=None), tmp_path / "bare.safetensors", {}
    )
    assert load_model(read_checkpoint(bare)).calibration is None
    calibrate_file(bare, trained["datamodule"])
    found = read_checkpoint(bare)
    assert found.calibration is not None
    assert torch.equal(found.calibration.scores, checkpoint.calibration.scores)
    assert found.state_dict.keys() == checkpoint.state_dict.keys()
    for name, tensor in found.state_dict.items():
        assert torch.equal(tensor, checkpoint.state_dict[name]), name


def test_coverage_is_counted_sample_by_sample(trained: dict[str, Any]) -> None:
    model = load_model(read_checkpoint(trained["folder"] / "last.ckpt"))
    datamodule: VIMHDataModule = trained["datamodule"]
    on_own = coverage_of(model, datamodule, "val", 0.8)
    assert on_own is not None
    # Of n calibration samples themselves ceil((n + 1)·confidence) or more lie inside.
    assert all(held.count >= 16 and held.samples == 19 for held in on_own.heads)
    whole = coverage_of(model, datamodule, "test", 0.99, count=4)
    assert whole is not None
    for held in whole.heads:
        assert (held.count, held.samples) == (4, 4)
        assert held.width == pytest.approx(held.parameter.range)
        assert held.share.low == pytest.approx(0.025 ** (1 / 4))
    assert coverage_of(build_bare(trained), datamodule, "test", 0.9) is None


def build_bare(trained: dict[str, Any]):
    checkpoint = read_checkpoint(trained["folder"] / "last.ckpt")
    return load_model(replace(checkpoint, calibration=None))


def test_the_command_calibrates_a_checkpoint_of_before(
    trained: dict[str, Any], tmp_path: Path, compose_config, data_root: Path, capsys
) -> None:
    path = copy_of(trained, tmp_path)
    raw = load_checkpoint(path)
    own = raw.pop("calibration")
    torch.save(raw, path)
    assert read_checkpoint(path).calibration is None
    calibrate_command(compose_config("calibrate", f"ckpt_path='{path}'"))
    assert "19 validation samples" in capsys.readouterr().out
    found = read_checkpoint(path).calibration
    assert found is not None
    assert torch.equal(found.scores, own["tensors"]["scores"])


def test_a_model_without_validation_samples_is_refused_in_a_sentence(
    trained: dict[str, Any],
) -> None:
    datamodule = VIMHDataModule(
        trained["datamodule"].data_dir, train_val_test_split=[0.9, 0.0, 0.1]
    )
    with pytest.raises(ConfigError, match="no validation samples"):
        calibrate(build_bare(trained), datamodule)


@pytest.mark.parametrize("what", ["net", "heads"])
def test_a_model_that_diverged_is_refused_in_a_sentence(trained: dict[str, Any], what: str) -> None:
    model = build_bare(trained)
    with torch.no_grad():
        for weight in model.net.heads.parameters() if what == "heads" else model.net.parameters():
            weight.fill_(torch.nan)
    with pytest.raises(ConfigError, match="are not all finite"):
        calibrate(model, trained["datamodule"])


def test_predictions_have_intervals_and_p_values(
    trained: dict[str, Any], tmp_path: Path, compose_config, capsys
) -> None:
    noise = torch.randn(8000, generator=torch.Generator().manual_seed(0)).numpy()
    sound = tmp_path / "noise.wav"
    soundfile.write(sound, 0.1 * noise, 8000, subtype="FLOAT")
    path = trained["folder"] / "last.ckpt"
    cfg = compose_config("predict", f"ckpt_path='{path}'", f"input='{sound}'", "confidence=0.8")
    predict(cfg)
    out = capsys.readouterr().out
    assert "intervals at 80 %" in out
    assert "19 validation samples are too few to call a sound unlike" in " ".join(out.split())
    (line,) = map(json.loads, (tmp_path / "predictions.jsonl").read_text().splitlines())
    assert line["confidence"] == 0.8
    assert line["unlike"] == pytest.approx(1 / 20)
    for name, value in line["values"].items():
        assert line["low"][name] <= value <= line["high"][name]
    checkpoint = read_checkpoint(path)
    assert checkpoint.calibration is not None
    many = torch.linspace(1e-4, 1e-3, 999)
    tensors = {**checkpoint.calibration.unlike_tensors, "distances": many}
    sure = replace(
        checkpoint.calibration,
        count=999,
        unlike_tensors=tensors,
        scores=checkpoint.calibration.scores[:1].repeat(999, 1),
    )
    written = write_safetensors(
        replace(checkpoint, calibration=sure), tmp_path / "sure.safetensors", {}
    )
    predict(compose_config("predict", f"ckpt_path='{written}'", f"input='{sound}'"))
    assert re.search(r"│ noise.wav +│ unlike +│", capsys.readouterr().out)
    (line,) = map(json.loads, (tmp_path / "predictions.jsonl").read_text().splitlines())
    assert line["unlike"] == pytest.approx(0.001)


def test_old_checkpoints_predict_and_say_what_to_do(tmp_path: Path, compose_config, capsys) -> None:
    sound = ROOT / "examples/model/saw.wav"
    predict(compose_config("predict", f"ckpt_path='{OLD}'", f"input='{sound}'"))
    assert "python src/calibrate.py ckpt_path=..." in " ".join(capsys.readouterr().out.split())
    (line,) = map(json.loads, (tmp_path / "predictions.jsonl").read_text().splitlines())
    assert not {"low", "high", "unlike", "confidence"} & line.keys()


@pytest.mark.slow
def test_an_evaluation_reports_the_coverage(
    trained: dict[str, Any], tmp_path: Path, compose_config, capsys
) -> None:
    path = trained["folder"] / "last.ckpt"
    cfg = compose_config("eval", f"ckpt_path='{path}'", "report.resamples=50", "report.sounds=0")
    with open_dict(cfg):
        cfg.data.data_dir = str(trained["datamodule"].data_dir)
        cfg.trainer.accelerator = "cpu"
    evaluate(cfg)
    assert "Intervals at 90 %" in capsys.readouterr().out
    found = json.loads((tmp_path / "metrics.json").read_text())["intervals"]
    assert found["confidence"] == 0.9
    assert found["heads"].keys() == {"note_velocity", "log10_decay_time"}
    assert "## Intervals" in (tmp_path / "report.md").read_text()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_a_calibrated_run_goes_on_to_the_same_bits(trained: dict[str, Any], tmp_path: Path) -> None:
    path = copy_of(trained, tmp_path)
    raw = load_checkpoint(path)
    raw.pop("calibration")
    bare = tmp_path / "bare.ckpt"
    torch.save(raw, bare)
    ended = []
    for number, start in enumerate((path, bare)):
        cfg = trained["cfg"].copy()
        with open_dict(cfg):
            folder = tmp_path / str(number)
            cfg.ckpt_path, cfg.trainer.max_epochs = str(start), 3
            cfg.callbacks.last_checkpoint.dirpath = str(folder)
            cfg.callbacks.model_checkpoint.dirpath = str(folder)
            cfg.paths.output_dir = str(tmp_path)
        train(cfg)
        ended.append(load_checkpoint(folder / "last.ckpt"))
    for key in ("state_dict", "optimizer_states", "random_states", "calibration"):
        assert_same(ended[0][key], ended[1][key], key)


def broken(parts: dict[str, Any], name: str) -> dict[str, Any]:
    """The parts with one thing wrong."""
    numbers, tensors = dict(parts["numbers"]), dict(parts["tensors"])
    match name:
        case "format":
            numbers["format"] = 2
        case "count":
            numbers["count"] = 10**12
        case "no count":
            del numbers["count"]
        case "spread":
            numbers["spread"] = {"note_velocity": 0.1, "log10_decay_time": 7.0}
        case "other heads":
            numbers["spread"] = {"pitch": 0.1}
        case "code":
            numbers["spread"] = {"note_velocity": "__import__('os')", "log10_decay_time": 0.1}
        case "scores: NaN":
            tensors["scores"] = tensors["scores"] * float("nan")
        case "scores: unsorted":
            tensors["scores"] = tensors["scores"].flip(0)
        case "scores: wide":
            tensors["scores"] = tensors["scores"].repeat(1, 9)
        case "scores: few":
            tensors["scores"] = tensors["scores"][:3]
        case "scores: whole numbers":
            tensors["scores"] = tensors["scores"].long()
        case "bank: long":
            tensors["bank"] = tensors["bank"].repeat(100, 1)
        case "bank: wide":
            tensors["bank"] = tensors["bank"].repeat(1, 2)
        case "bank: infinite":
            tensors["bank"] = tensors["bank"] + float("inf")
        case "basis":
            tensors["image_basis"] = tensors["image_basis"].T
        case "scales":
            tensors["features_scales"] = -tensors["features_scales"]
        case "another tensor":
            tensors["more"] = torch.zeros(1)
        case "no bank":
            del tensors["bank"]
        case "a view":
            tensors["bank"] = torch.zeros(1, 1).expand(10**6, 10**6)
        case "no tensor":
            tensors["scores"] = [0.1]
        case "no mapping":
            return {"numbers": numbers, "tensors": [1]}
    return {"numbers": numbers, "tensors": tensors}


NAMES = (
    "format", "count", "no count", "spread", "other heads", "code", "scores: NaN",
    "scores: unsorted", "scores: wide", "scores: few", "scores: whole numbers", "bank: long",
    "bank: wide", "bank: infinite", "basis", "scales", "another tensor", "no bank", "a view",
    "no tensor", "no mapping",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_calibration_is_refused_in_a_sentence(
    name: str, trained: dict[str, Any], tmp_path: Path
) -> None:
    path = trained["folder"] / "last.ckpt"
    raw = load_checkpoint(path)
    assert isinstance(raw["calibration"], dict)
    content = {**raw, "calibration": broken(raw["calibration"], name)}
    with pytest.raises(ConfigError, match=r"calibration|bank|image_basis") as caught:
        load_model(check_content(content, path))
    assert len(str(caught.value)) < 600


def test_a_calibration_of_no_mapping_is_refused(trained: dict[str, Any]) -> None:
    path = trained["folder"] / "last.ckpt"
    for value in ("text", 1, [1], {"numbers": {}}):
        with pytest.raises(ConfigError, match="calibration"):
            check_content({**load_checkpoint(path), "calibration": value}, path)
