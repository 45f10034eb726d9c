"""ckpt_path=FILE: for the same data, heads, network and loss; with the new settings applied."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import open_dict

from src.train import train
from src.utils.errors import CheckpointError, ConfigError
from tests.helpers import shrink

EXPERIMENT = "experiment=avix_cnn_72dss_jnd_dg_hybrid"
COSINE = "model/scheduler=cosine"
CONSTANT = "model/scheduler=constant"
# Several epochs and a learning rate that is seen to change.
LR = 0.01

Run = Callable[..., tuple[dict[str, Any], dict[str, Any]]]

pytestmark = pytest.mark.filterwarnings("ignore:The dirpath has changed")


@pytest.fixture
def run(compose_config, data_root: Path, tmp_path: Path) -> Run:
    def trained(
        name: str, max_epochs: int, *overrides: str, ckpt_path: Path | str | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        cfg = shrink(
            compose_config("train", EXPERIMENT, f"model.optimizer.lr={LR}", *overrides), data_root
        )
        with open_dict(cfg):
            cfg.trainer.max_epochs = max_epochs
            cfg.ckpt_path = None if ckpt_path is None else str(ckpt_path)
            cfg.logger = None
            cfg.test = False
            cfg.paths.output_dir = str(tmp_path / name)
            Path(cfg.paths.output_dir).mkdir(exist_ok=True)
        return train(cfg)

    return trained


@pytest.fixture
def last(run: Run, tmp_path: Path) -> Callable[..., Path]:
    """A checkpoint of two epochs."""

    def made(*overrides: str) -> Path:
        run("first", 2, *overrides)
        return tmp_path / "first" / "checkpoints" / "last.ckpt"

    return made


def rate(objects: dict[str, Any]) -> float:
    return objects["trainer"].optimizers[0].param_groups[0]["lr"]


def cosine(epoch: int, epochs: int, lr: float = LR, lowest: float = 1e-5) -> float:
    return lowest + (lr - lowest) * (1 + math.cos(math.pi * epoch / epochs)) / 2


def test_a_longer_cosine_goes_on_falling(run: Run, last) -> None:
    path = last(COSINE)
    _, objects = run("longer", 3, COSINE, "model.scheduler.T_max=6", ckpt_path=path)
    scheduler = objects["trainer"].lr_scheduler_configs[0].scheduler
    assert (scheduler.T_max, scheduler.last_epoch) == (6, 3)
    assert rate(objects) == pytest.approx(cosine(3, 6))


def test_more_epochs_lengthen_the_cosine(run: Run, last) -> None:
    path = last(COSINE, "trainer.max_epochs=2")
    _, objects = run("more", 4, COSINE, "trainer.max_epochs=4", ckpt_path=path)
    assert objects["trainer"].lr_scheduler_configs[0].scheduler.T_max == 4
    assert rate(objects) == pytest.approx(1e-5)


@pytest.mark.parametrize("scheduler", [CONSTANT, "model.scheduler=null"])
def test_settings_of_the_optimiser_are_those_of_the_command_line(
    run: Run, last, scheduler: str
) -> None:
    path = last(scheduler)
    new = ("model.optimizer.lr=0.002", "model.optimizer.weight_decay=0.3")
    more = "+model.optimizer.betas=[0.8,0.9]"
    _, objects = run("new", 3, scheduler, *new, more, ckpt_path=path)
    (group,) = objects["trainer"].optimizers[0].param_groups
    assert (group["lr"], group["weight_decay"], list(group["betas"])) == (0.002, 0.3, [0.8, 0.9])
    assert objects["trainer"].optimizers[0].state  # the moments are kept


def test_a_plateau_keeps_its_reductions(run: Run, last) -> None:
    plateau = ("model/scheduler=plateau", "model.scheduler_monitor=val/loss")
    # No epoch is better than the one before by so much: both reduce.
    short = (*plateau, "model.scheduler.patience=0", "+model.scheduler.threshold=1e9")
    path = last(*short, "+model.scheduler.threshold_mode=abs")
    state = torch.load(path, weights_only=True)
    assert state["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(LR * 0.3)
    _, objects = run(
        "plateau",
        3,
        *short,
        "+model.scheduler.threshold_mode=abs",
        "model.scheduler.factor=0.5",
        "model.optimizer.lr=0.02",
        ckpt_path=path,
    )
    scheduler = objects["trainer"].lr_scheduler_configs[0].scheduler
    assert scheduler.factor == 0.5
    assert rate(objects) == pytest.approx(0.02 * 0.3 * 0.5)


@pytest.mark.parametrize(
    ("settings", "share"),
    [
        # One epoch that is no better before, one after: together more than the patience.
        (["model.scheduler.patience=1"], 0.5),
        # The reduction of before still cools down.
        (["model.scheduler.patience=0", "+model.scheduler.cooldown=5"], 0.3),
    ],
)
def test_a_plateau_keeps_its_patience_and_its_cooldown(
    run: Run, last, settings: list[str], share: float
) -> None:
    plateau = ("model/scheduler=plateau", "model.scheduler_monitor=val/loss", *settings)
    never = ("+model.scheduler.threshold=1e9", "+model.scheduler.threshold_mode=abs")
    path = last(*plateau, *never)
    _, objects = run("plateau", 3, *plateau, *never, "model.scheduler.factor=0.5", ckpt_path=path)
    assert objects["trainer"].lr_scheduler_configs[0].scheduler.last_epoch == 3
    assert rate(objects) == pytest.approx(LR * share)


def test_a_setting_that_needs_other_moments_is_refused_by_name(run: Run, last) -> None:
    path = last(CONSTANT)
    with pytest.raises(ConfigError, match=r"model.optimizer.amsgrad would need max_exp_avg_sq"):
        run("amsgrad", 3, CONSTANT, "+model.optimizer.amsgrad=true", ckpt_path=path)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("data.seed=7", "data.seed"),
        ("data.auxiliary_features=[level]", "data.auxiliary_features"),
        ("model.net.dropout=0.125", "model.net.dropout"),
        ("model=avix_densenet_11k_jnd", r"model.net._target_"),
        ("model/optimizer=sgd", r"model.optimizer._target_"),
        ("model/scheduler=plateau", r"model.scheduler._target_"),
        ("model.scheduler=null", r"model.scheduler._target_"),
        ("loss=ordinal", r"loss._target_"),
    ],
)
@pytest.mark.sampled(3)
def test_other_data_heads_or_networks_are_refused(
    run: Run, tmp_path: Path, override: str, key: str, request: pytest.FixtureRequest
) -> None:
    first = tmp_path.parent / "going-on-first"
    if not first.exists():
        run(str(first), 2, CONSTANT)
    path = first / "checkpoints" / "last.ckpt"
    constant = () if "scheduler" in override else (CONSTANT,)
    with pytest.raises(ConfigError, match=key) as refused:
        run("other", 3, *constant, override, ckpt_path=path)
    assert "start anew" in str(refused.value)


@pytest.mark.parametrize(
    ("place", "value", "key"),
    [
        (("dataset_name",), "another", "the data set's dataset_name 'another'"),
        (("recipe", "seed"), 5, "the data set's recipe.seed 5"),
        (
            ("parameter_mappings", "note_velocity", "max"),
            90.0,
            r"the data set's parameter_mappings.note_velocity.max 90.0",
        ),
        (("parameter_names",), ["note_velocity"], "the data set's parameter_names"),
        (("checksums", "train"), "crc32:0", "the data set's checksums"),
    ],
)
def test_another_data_set_is_refused(
    run: Run, tmp_path: Path, place: tuple[str, ...], value: object, key: str
) -> None:
    first = tmp_path.parent / "going-on-first"
    if not first.exists():
        run(str(first), 2, CONSTANT)
    content = torch.load(first / "checkpoints" / "last.ckpt", weights_only=True)
    node = content["avix"]["metadata"]
    for name in place[:-1]:
        node = node[name]
    node[place[-1]] = value
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(ConfigError, match=key):
        run("other", 3, CONSTANT, ckpt_path=tmp_path / "other.ckpt")


def test_a_new_folder_names_its_own_best(run: Run, last, tmp_path: Path) -> None:
    path = last(CONSTANT)
    content = torch.load(path, weights_only=True)
    # As if the former run had had a best that this one can not reach.
    content["state_dict"]["best.jnd.max_value"] = torch.tensor(2.0)
    torch.save(content, path)
    metrics, objects = run("second", 3, CONSTANT, ckpt_path=path)
    best = objects["trainer"].checkpoint_callback.best_model_path
    assert Path(best).parent == tmp_path / "second" / "checkpoints"
    assert metrics["val/jnd_best"] <= 1
    written = json.loads((tmp_path / "second" / "metrics.json").read_text())
    assert written["checkpoint"] == best


def test_a_new_folder_without_a_best_of_its_own_names_none(run: Run, last, tmp_path: Path) -> None:
    every = "callbacks.model_checkpoint.every_n_epochs=2"
    path = last(CONSTANT, every)
    assert list(path.parent.glob("epoch_*.ckpt"))
    _, objects = run("second", 3, CONSTANT, every, ckpt_path=path)
    assert objects["trainer"].checkpoint_callback.best_model_path == ""
    written = json.loads((tmp_path / "second" / "metrics.json").read_text())
    assert written["checkpoint"] == str(tmp_path / "second" / "checkpoints" / "last.ckpt")


def test_the_same_folder_keeps_its_best(run: Run, last, tmp_path: Path) -> None:
    path = last(CONSTANT)
    content = torch.load(path, weights_only=True)
    content["state_dict"]["best.jnd.max_value"] = torch.tensor(2.0)
    torch.save(content, path)
    metrics, _ = run("first", 3, CONSTANT, ckpt_path=path)
    assert metrics["val/jnd_best"] == 2


def test_epochs_that_are_all_trained(run: Run, last) -> None:
    path = last(CONSTANT)
    with pytest.raises(ConfigError, match=r"has 2 epochs already, and trainer\.max_epochs is 2"):
        run("done", 2, CONSTANT, ckpt_path=path)
    with pytest.raises(ConfigError, match=r"set trainer\.max_epochs to more than 2"):
        run("first", 1, CONSTANT, ckpt_path=path)
    with pytest.raises(ConfigError, match=r"has \d+ steps already, and trainer.max_steps is 1"):
        run("done", 3, CONSTANT, "trainer.max_steps=1", ckpt_path=path)
    # In its own folder, where it may have been killed before its test.
    _, objects = run("first", 2, CONSTANT, ckpt_path=path)
    assert objects["ended"].reason == "max_epochs"


def test_files_that_nothing_goes_on_from(run: Run, last, tmp_path: Path) -> None:
    path = last(CONSTANT)
    content = torch.load(path, weights_only=True)
    weights = {k: v for k, v in content.items() if k not in ("optimizer_states", "lr_schedulers")}
    torch.save(weights, tmp_path / "weights.ckpt")
    foreign = {k: v for k, v in content.items() if k != "avix"}
    torch.save(foreign, tmp_path / "foreign.ckpt")
    cases = [
        (tmp_path / "weights.ckpt", "holds the weights only"),
        (tmp_path / "foreign.ckpt", "does not say what it was trained with"),
        (tmp_path / "none.ckpt", "no such checkpoint"),
        (tmp_path / "model.safetensors", "no state of a training"),
        (tmp_path, "is a folder without"),
    ]
    for file, message in cases:
        with pytest.raises(CheckpointError, match=message):
            run("refused", 3, CONSTANT, ckpt_path=file)
    with pytest.raises(ConfigError, match="ckpt_path=best: name the checkpoint's file"):
        run("refused", 3, CONSTANT, ckpt_path="best")
