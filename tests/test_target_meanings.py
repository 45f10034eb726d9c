"""Targets keep the meaning that people know them by from the system that came before."""

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf, open_dict

from src.train import train
from tests.helpers import shrink
from tests.test_make_targets import OWN_ENVIRONMENT, ROOT, dry_run, jobs_of

EXPERIMENT = "experiment=avix_densenet_72dss_64k_jnd_dg"
# The overrides that a training target begins with, in their order.
TRAININGS = {
    "dgt1m": "experiment=direct_gradient_training",
    "dgb": EXPERIMENT,
    "dgn": f"{EXPERIMENT}_normalized",
    "dgbx": f"{EXPERIMENT}_fixed data.avix_training_mode=true",
    "dgnx": f"{EXPERIMENT}_normalized_precomputed data.avix_training_mode=true",
    "dgx": f"{EXPERIMENT}_unnormalized data.avix_training_mode=true",
    "dgt": "experiment=avix_densenet_72dss_jnd_dg_tuned data.avix_training_mode=true "
    "data.batch_size=65",
    "dgct": "experiment=avix_cnn_72dss_jnd_dg_tuned data.avix_training_mode=true",
    "avixo": "experiment=avix_densenet_72dss_64k_jnd_avix",
}
AVIX_MODE = ("dgbx", "dgnx", "dgx", "dgt", "dgct", "dglw", "dgro", "avixo")
LONG_NAMES = {
    "av": "avix-cnn-72dss",
    "aj": "avix-cnn-72dss-jnd",
    "adn": "avix-densenet",
    "dgb": "avix-simple-dense-net-64k-direct-gradient-baseline",
    "dgn": "avix-simple-dense-net-64k-direct-gradient-normalized",
    "dgbx": "avix-simple-dense-net-64k-direct-gradient-baseline-avix",
    "dgnx": "avix-simple-dense-net-64k-direct-gradient-normalized-avix",
    "dgx": "avix-simple-dense-net-64k-direct-gradient-unnormalized",
    "asdnsc": "avix-simple-dense-net-size-comparison",
    "dgwr": "direct-gradient-weighted-loss-rms-optimizer",
    "dgt1m": "direct_gradient_training_1m",
    "cbs": "benchmark-suite",
    "cbs10": "benchmark-cifar10",
    "cbs100": "benchmark-cifar100",
    "cbsa": "benchmark-all",
    "cb10cn64": "cifar10-convnext-64k-optimized",
    "cb10cn128": "cifar10-convnext-128k-optimized",
    "cb100sdn": "cifar100-sdn",
    "cbq100sdn": "cifar100-quick-sdn",
    "cb100cc": "cifar100-coarse-cnn",
    "ds": "dataset",
}


def overrides_of(target: str) -> list[str]:
    """The overrides of a target's one training."""
    ((script, *overrides),) = dry_run(target)
    assert script == "src/train.py"
    return overrides


@pytest.mark.parametrize(("target", "overrides"), TRAININGS.items(), ids=TRAININGS)
def test_what_a_training_target_trains(target: str, overrides: str) -> None:
    assert overrides_of(target) == overrides.split()


@pytest.mark.parametrize(("short", "long"), LONG_NAMES.items(), ids=LONG_NAMES)
def test_long_names_run_what_the_short_ones_do(short: str, long: str) -> None:
    assert dry_run(long) == dry_run(short) != ()


@pytest.mark.parametrize("target", AVIX_MODE)
@pytest.mark.sampled(5)
def test_avix_mode(target: str, compose_config, data_root: Path) -> None:
    """Takes the steps of one epoch, with the batches that the target itself has."""
    cfg = compose_config("train", *overrides_of(target))
    batch_size = cfg.data.batch_size
    shrink(cfg, data_root)
    with open_dict(cfg):
        cfg.data.batch_size = batch_size
        cfg.trainer.max_epochs = 1
    metrics, objects = train(cfg)
    assert cfg.data.avix_training_mode is True
    assert objects["datamodule"].get_dataset_info()["num_train_samples"] == 65  # of 72
    assert objects["trainer"].global_step >= 1
    assert torch.isfinite(metrics["train/loss"])
    assert torch.isfinite(metrics["test/loss"])


def test_the_ordinal_l1_loss_is_the_avix_experiments_own(compose_config) -> None:
    cfg = compose_config("train", *overrides_of("avixo"))
    assert cfg.loss._target_ == "src.models.losses.OrdinalRegressionLoss"
    assert cfg.loss.regression_loss == "l1"
    # Another loss on the command line has none of its keys.
    assert "regression_loss" not in compose_config("train", *overrides_of("avixo"), "loss=jnd").loss


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (
            "dglw",
            {
                "model.optimizer.lr": 0.0005,
                "trainer.gradient_clip_val": 0.05,
                "model.loss_weights.log10_decay_time": 3.0,
                "model.loss_weights.note_velocity": 1.0,
                "callbacks.early_stopping.patience": 50,
            },
        ),
        (
            "dgro",
            {
                "model.optimizer._target_": "torch.optim.RMSprop",
                "model.optimizer.lr": 0.001,
                "model.optimizer.momentum": 0.9,
                "trainer.gradient_clip_val": 0.1,
            },
        ),
    ],
)
def test_what_dglw_and_dgro_change_of_dgx(target: str, expected: dict, compose_config) -> None:
    dgx = overrides_of("dgx")
    assert overrides_of(target)[: len(dgx)] == dgx
    cfg = compose_config("train", *overrides_of(target))
    assert {key: OmegaConf.select(cfg, key) for key in expected} == expected


def test_targets_of_several_commands() -> None:
    assert dry_run("dgwr") == dry_run("dglw") + dry_run("dgro")
    assert set(dry_run("dgwr")) < set(dry_run("dge"))


@pytest.mark.parametrize("target", ["ss", "sl", "sa", "san"])
def test_data_targets_write_the_pickle_too(target: str) -> None:
    ((script, *arguments),) = dry_run(target)
    assert script == "generate_vimh.py"
    assert "--pickle" in arguments


def test_architectures_are_compared_on_mnist(compose_config) -> None:
    ((_, switch, *overrides),) = dry_run("ca")
    assert switch == "-m"
    networks = set()
    for job in jobs_of(overrides):
        cfg = compose_config("train", *job)
        assert cfg.data.source._target_.endswith("MNISTSource")
        assert cfg.trainer.max_epochs == 3
        networks.add(cfg.model.net._target_.rpartition(".")[2])
    assert networks == {"SimpleDenseNet", "SimpleCNN", "VisionTransformer", "ConvNeXtV2"}


def test_the_dense_target_trains_a_dense_network(compose_config) -> None:
    for name in ("tr", "train", "train-sdn"):
        cfg = compose_config("train", *overrides_of(name))
        assert cfg.model.net._target_ == "src.models.components.SimpleDenseNet"


@pytest.mark.parametrize("target", ["tdss", "tdsm", "tdsc10"])
def test_diagrams_of_several_networks(target: str) -> None:
    ((script, *arguments),) = dry_run(target)
    assert script == "viz/simple_model_diagram.py"
    assert arguments[0] == "--config"
    assert len(arguments[1:]) > 2
    kind = {"tdsm": "mnist_", "tdsc10": "cifar10_"}.get(target, "")
    assert all(name.startswith(kind) for name in arguments[1:])


def test_the_diagram_of_any_config() -> None:
    printed = subprocess.run(
        ["make", "--no-print-directory", "-n", "PYTHON=python", "tdsc", "CONFIG=mnist_vit_38k"],
        cwd=ROOT,
        env=OWN_ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    words = shlex.split(printed)
    assert words[1:] == ["viz/simple_model_diagram.py", "--config", "mnist_vit_38k"]


LAUNCHED = {
    entry["name"]: entry["args"]
    for entry in json.loads((ROOT / ".vscode" / "launch.json").read_text())["configurations"]
    if entry.get("program", "").endswith("src/train.py")
}


def test_the_entries_that_people_look_for_in_the_editor_are_there() -> None:
    wanted = "direct_gradient_normalized direct_gradient_training_1m avix-sdn-64k avix-mlp-64k"
    assert {*wanted.split(), "avix-cnn-jnd"} <= set(LAUNCHED)


@pytest.mark.parametrize("name", LAUNCHED)
def test_an_entry_of_the_editor_composes(name: str, compose_config) -> None:
    assert compose_config("train", *LAUNCHED[name]).tags != ["dev"]  # an experiment's own


def test_pre_commit_is_among_the_requirements() -> None:
    """CONTRIBUTING.md tells people to install its hooks."""
    pinned = re.findall(r"^([\w-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    names = {name.replace("_", "-") for name in pinned}
    assert {"pre-commit", "cfgv", "identify", "nodeenv", "virtualenv"} <= names
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "pre-commit" in project["optional-dependencies"]["dev"]
