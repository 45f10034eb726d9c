"""One tiny real run: train, kill, resume, evaluate."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import open_dict

from src.checkpoint import load_model, read_checkpoint
from src.eval import evaluate
from src.train import train
from src.utils.errors import CheckpointError, ConfigError
from src.vimh.metadata import METADATA_FILE
from tests.helpers import shrink


@pytest.fixture
def run(compose_config, data_root: Path, tmp_path: Path):
    def trained(
        name: str,
        max_epochs: int,
        *overrides: str,
        ckpt_path: str | None = None,
        export: bool = False,
        batch_size: int = 32,
    ):
        cfg = shrink(
            compose_config("train", "experiment=avix_cnn_72dss_jnd_dg_hybrid", *overrides),
            data_root,
        )
        with open_dict(cfg):
            cfg.trainer.max_epochs = max_epochs
            cfg.ckpt_path = ckpt_path
            cfg.export = export
            cfg.data.batch_size = batch_size
            cfg.paths.output_dir = str(tmp_path / name)
            Path(cfg.paths.output_dir).mkdir()
        return train(cfg)

    return trained


@pytest.fixture
def evaluation(compose_config, data_root: Path):
    def evaluated(ckpt_path: str, *overrides: str):
        cfg = compose_config("eval", f"ckpt_path='{ckpt_path}'", *overrides)
        with open_dict(cfg):
            cfg.paths.vimh_dir = str(data_root)
            cfg.trainer.accelerator = "cpu"
            cfg.trainer.enable_progress_bar = False
            cfg.extras.print_config = False
        return evaluate(cfg)

    return evaluated


def _best(objects) -> str:
    return objects["trainer"].checkpoint_callback.best_model_path


def test_evaluation_of_a_checkpoint_alone_gives_the_test_metrics(run, evaluation) -> None:
    metrics, objects = run("first", 2)
    found, _ = evaluation(_best(objects))
    tested = {name: value for name, value in metrics.items() if name.startswith("test/")}
    assert tested
    for name, value in tested.items():
        assert found[name] == pytest.approx(float(value), abs=1e-7), name


def test_a_run_can_leave_model_files_that_evaluate_like_its_checkpoint(
    run, evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without ONNX: what checks shapes in tests would be traced into its program.
    monkeypatch.setattr("src.evaluation.export.model_files.ONNX_PACKAGES", ("not_there",))
    metrics, objects = run("exported", 1, export=True)
    folder = Path(objects["cfg"].paths.output_dir)
    assert (folder / "model.sha256").read_text().split()[1:] == ["model.safetensors"]
    found, _ = evaluation(str(folder / "model.safetensors"))
    assert found["test/loss"] == pytest.approx(float(metrics["test/loss"]), abs=1e-7)


@pytest.mark.slow
def test_evaluation_on_all_of_another_data_set(run, evaluation, data_root: Path) -> None:
    _, objects = run("other", 1)
    generate = (
        "generate_vimh.py dataset.size=40 seed=7 --temporal-envelope --spectral-envelope "
        f"--normalize generate.output_dir={data_root}"
    )
    subprocess.run([sys.executable, *generate.split()], check=True, capture_output=True)
    (fresh,) = data_root.glob("vimh-*_40dss_*_normalized")
    metrics, found = evaluation(
        _best(objects), f"data.data_dir='{fresh}'", "data.train_val_test_split=[0,0,1]"
    )
    assert found["datamodule"].get_dataset_info()["num_test_samples"] == 40
    content = json.loads((Path(found["cfg"].paths.output_dir) / "metrics.json").read_text())
    # the baselines learn from the set that the checkpoint was trained on
    assert content["baselines"][0]["method"] == "always the mean"
    assert content["metrics"]["test/jnd"] == pytest.approx(float(metrics["test/jnd"]))


def test_checkpoint_loads_as_plain_data(run) -> None:
    _, objects = run("plain", 1)
    content = torch.load(_best(objects), weights_only=True)
    assert content["avix"]["metadata"]["parameter_names"]
    assert content["avix"]["config"]["loss"]["_target_"].endswith("DirectParameterGradientLoss")


# Here it is meant: the resumed run has a folder of its own.
@pytest.mark.filterwarnings("ignore:The dirpath has changed")
@pytest.mark.slow
def test_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(run) -> None:
    # A cosine would be another one over two epochs than over four.
    constant = "model/scheduler=constant"
    _, whole = run("whole", 4, constant)
    _, half = run("half", 2, constant)
    last = Path(half["cfg"].paths.output_dir, "checkpoints", "last.ckpt")
    _, resumed = run("resumed", 4, constant, ckpt_path=str(last))
    assert resumed["trainer"].global_step == whole["trainer"].global_step
    expected, found = (o["model"].net.state_dict() for o in (whole, resumed))
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_run_that_goes_on_without_a_best_epoch_tests_its_own_last_weights(
    run, tmp_path: Path
) -> None:
    constant = "model/scheduler=constant"
    run("half", 1, constant)
    last = tmp_path / "half" / "checkpoints" / "last.ckpt"
    unseen = "trainer.limit_val_batches=0"
    _, resumed = run("resumed", 2, constant, unseen, ckpt_path=str(last))
    former = torch.load(last, weights_only=True)["state_dict"]
    tested = resumed["model"].state_dict()
    weights = [name for name in former if name.startswith("net.") and name.endswith(".weight")]
    assert not any(torch.equal(former[name], tested[name]) for name in weights)
    content = json.loads((tmp_path / "resumed" / "metrics.json").read_text())
    assert content["checkpoint"] in (None, str(tmp_path / "resumed" / "checkpoints" / "last.ckpt"))


def test_baselines_are_measured_on_the_samples_that_the_network_was(
    run, tmp_path: Path, capsys
) -> None:
    limits = ("++trainer.limit_test_batches=1", "++trainer.limit_val_batches=2")
    metrics, found = run("limits", 1, *limits, batch_size=4)
    content = json.loads((tmp_path / "limits" / "metrics.json").read_text())
    assert content["num_measured"] == {"val": 8, "test": 4}
    assert "4 of 7 test samples of" in capsys.readouterr().out
    # The mean of the training split, by hand, on the first four test samples.
    data = found["datamodule"]
    decay = {
        split: np.concatenate(
            [raw.values[:, 1].double().numpy() for raw in data.raw_batches(split)]
        )
        for split in ("train", "test")
    }
    errors = data.param_ranges["log10_decay_time"] * np.abs(
        decay["test"][:4] - decay["train"].mean()
    )
    assert content["baselines"][0]["metrics"]["log10_decay_time_mae"] == pytest.approx(
        errors.mean(), rel=1e-4
    )
    assert 0 <= metrics["test/jnd"] <= 1


def test_metrics_json_names_units_and_versions(run, tmp_path: Path) -> None:
    metrics, _ = run("json", 1)
    content = json.loads((tmp_path / "json" / "metrics.json").read_text())
    assert content["metrics"]["test/mae_jnd"] == pytest.approx(float(metrics["test/mae_jnd"]))
    assert content["parameters"]["log10_decay_time"]["step"] == 0.1
    assert content["num_samples"] == {"train": 50, "val": 15, "test": 7}
    assert content["baselines"][0]["method"] == "always the mean"
    assert (Path(content["data_dir"]) / METADATA_FILE).is_file()
    assert Path(content["data_dir"]).is_absolute()


@pytest.mark.parametrize(
    "tampered",
    [
        {"_target_": "os.system", "command": "true"},
        {"_target_": "builtins.eval"},
        {"_target_": "src.models.multihead_module.partial"},
        {"_target_": "torch.nn.functional.torch.hub.load"},
        {"_target_": "torch.optim.Adam"},
        {"_target_": "src.models.components.SimpleCNN", "dropout": {"_target_": "os.getcwd"}},
        {"_target_": "src.models.components.SimpleCNN", "_args_": [1]},
    ],
)
@pytest.mark.parametrize("key", ["net", "loss"])
@pytest.mark.sampled(3)
def test_hostile_checkpoint_is_refused(run, tmp_path: Path, tampered: dict, key: str) -> None:
    path = _checkpoint(run, tmp_path)
    content = torch.load(path, weights_only=True)
    config = content["avix"]["config"]
    if key == "net":
        config["model"]["net"] = tampered
    else:
        config["loss"] = tampered
    torch.save(content, path)
    with pytest.raises(ConfigError, match=r"checkpoint may name only|not admitted"):
        load_model(read_checkpoint(path))


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "none.ckpt")
    text = tmp_path / "text.ckpt"
    text.write_text("hello")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        read_checkpoint(text)
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.ckpt")
    with pytest.raises(ConfigError, match="not a checkpoint of this project"):
        read_checkpoint(tmp_path / "other.ckpt")


def test_user_mistake_on_the_command_line_is_a_sentence(project_root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "src/train.py", "experiment=avix_quick", "monitor.metric=val/typo"),
            *(f"paths.log_dir={tmp_path}", f"paths.vimh_dir={tmp_path}"),
            "extras.print_config=false",
        ],
        cwd=project_root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "error: monitor.metric is 'val/typo'" in done.stderr
    assert "Traceback" not in done.stderr


_CHECKPOINT: list[bytes] = []


def _checkpoint(run, tmp_path: Path) -> Path:
    """One trained checkpoint for all cases, as bytes, so that a case may spoil its own copy."""
    if not _CHECKPOINT:
        _, objects = run("hostile", 1)
        _CHECKPOINT.append(Path(_best(objects)).read_bytes())
    path = tmp_path / "copy.ckpt"
    path.write_bytes(_CHECKPOINT[0])
    return path
