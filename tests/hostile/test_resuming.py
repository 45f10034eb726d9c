"""What a checkpoint says to a training that goes on: held against the run's own, or refused."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from omegaconf import open_dict

from src.checkpoints.checkpoint_io import AtomicCheckpointIO, load_checkpoint
from src.checkpoints.resumable import checked_random_states, random_states
from src.checkpoints.resumed_state import check_like, checked_files, checked_state, lies_in
from src.train import train
from src.utils.errors import CheckpointError, ConfigError
from tests.helpers import shrink
from tests.hostile.attacks import honest, put


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    return honest("simple_cnn")


@pytest.fixture
def resumed(compose_config, data_root: Path, tmp_path: Path):
    """Goes on from a content, as a new run or in the folder of an old one."""

    def run(content: dict[str, Any], *, own: bool = False, epochs: int = 2):
        cfg = compose_config(
            "train", "data=avix_72dss", "model=avix_cnn_11k", "loss=ce",
            "model.net.conv1_channels=2", "model.net.conv2_channels=2", "model.net.fc_hidden=4",
            "model.net.pooled_size=[4,2]",
        )  # fmt: skip
        cfg = shrink(cfg, data_root)
        folder = tmp_path / "run"
        path = folder / "checkpoints" / "last.ckpt" if own else tmp_path / "other.ckpt"
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, path)
        with open_dict(cfg):
            cfg.trainer.max_epochs = epochs
            cfg.paths.output_dir = str(folder)
            cfg.ckpt_path = str(path)
            cfg.test = False
            cfg.callbacks.pop("grouped_progress_bar", None)
        return train(cfg)

    return run


def state_key(content: dict[str, Any], name: str) -> str:
    return next(key for key in content["callbacks"] if key.startswith(name))


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_an_old_checkpoint_goes_on(content, resumed, caplog) -> None:
    """Also where its data set was made again, with exact values beside the same records."""
    _, objects = resumed(copy.deepcopy(content))
    assert objects["trainer"].current_epoch == 2
    best = Path(objects["trainer"].checkpoint_callback.best_model_path)
    assert best.parent.parent.name == "run"
    assert "was trained on bytes, and the data set now has exact values" in caplog.text


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_no_file_is_removed_or_read_by_a_path_in_a_checkpoint(content, resumed, tmp_path) -> None:
    victims = [tmp_path / "precious.ckpt", tmp_path / "run" / "precious.txt"]
    (tmp_path / "run").mkdir()
    for victim in victims:
        victim.write_text("precious")
    folder = tmp_path / "run" / "checkpoints"
    for victim, own in zip(victims, (False, True), strict=True):
        for path in (str(victim), f"{folder}/../../{victim.relative_to(tmp_path)}"):
            hostile = copy.deepcopy(content)
            state = hostile["callbacks"][state_key(hostile, "ModelCheckpoint")]
            score = torch.tensor(1e9)  # the first new one is better, so that this one goes
            state |= {
                "dirpath": str(folder), "best_model_path": path, "last_model_path": path,
                "kth_best_model_path": path, "best_k_models": {path: score},
                "best_model_score": score, "current_score": score, "kth_value": score,
            }  # fmt: skip
            _, objects = resumed(hostile, own=own)
            assert victim.read_text() == "precious"
            assert objects["trainer"].checkpoint_callback.best_model_path != path


WRONG_STATES = {
    "state_dict.more": torch.zeros(1),
    "state_dict": [],
    "loops": None,
    "loops.fit_loop": [],
    "loops.fit_loop.epoch_progress": {},
    "loops.fit_loop.epoch_progress.current.processed": "1",
    "loops.fit_loop.epoch_progress.current.ready": -1,
    "loops.fit_loop.epoch_progress.current.increment_ready": 5,
    "loops.fit_loop.epoch_progress.total": 5,
    "loops.fit_loop.x": {},
    "loops.fit_loop.state_dict": {"combined_loader": [{"epoch": "x"}]},
    "callbacks": [],
    "callbacks.x": 5,
    "optimizer_states": {},
    "optimizer_states.0.state": [],
    "optimizer_states.0.param_groups": [],
    "optimizer_states.0.param_groups.0.lr": "0.1",
    "optimizer_states.0.param_groups.0.betas": [0.9],
    "optimizer_states.0.param_groups.0.step": {},
    "optimizer_states.0.param_groups.0.params": [0, 0],
    "optimizer_states.0.param_groups.0.weight_decay": math.nan,
    "lr_schedulers": None,
    "lr_schedulers.0.step": 5,
    "lr_schedulers.0.T_max": {},
    "lr_schedulers.0.base_lrs": [0.1, 0.2],
    "lr_schedulers.0.optimizer": {},
    "random_states": {"python": []},
    "random_states.numpy.2": 10**6,
    "random_states.numpy.1": [0] * 3,
    "random_states.torch": torch.zeros(3, dtype=torch.uint8),
    "pytorch-lightning_version": "x" * 5000,
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_wrong_states_are_sentences(content, resumed) -> None:
    accepted = []
    for place, value in WRONG_STATES.items():
        try:
            resumed(put(copy.deepcopy(content), place, value))
        except (CheckpointError, ConfigError) as error:
            assert place.split(".")[0] in str(error)  # noqa: PT017 - one of many
            assert len(str(error)) < 2000  # noqa: PT017
            continue
        accepted.append(place)
    assert accepted == []


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
@pytest.mark.parametrize(
    "place",
    ["loops.fit_loop.epoch_progress.current.increment_ready", "lr_schedulers.0.step",
     "optimizer_states.0.param_groups.0.lr", "random_states.numpy.2"],
)  # fmt: skip
def test_a_wrong_state_is_a_sentence(content, resumed, place: str) -> None:
    with pytest.raises(CheckpointError, match=place.split(".")[0]):
        resumed(put(copy.deepcopy(content), place, WRONG_STATES[place]))


def test_paths_in_the_own_folder(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    keeper = ModelCheckpoint(str(folder), monitor="val/loss")
    inside, outside = str(folder / "epoch_000.ckpt"), str(tmp_path / "x.ckpt")
    score = torch.tensor(1.0)

    def state(path: str, dirpath: Path = folder) -> dict[str, Any]:
        return {
            "dirpath": str(dirpath), "best_model_path": path, "kth_best_model_path": path,
            "last_model_path": "", "best_k_models": {path: score}, "best_model_score": score,
            "current_score": score, "kth_value": score, "monitor": "val/loss",
        }  # fmt: skip

    assert checked_files(keeper, state(inside), "c") == state(inside)
    for hostile in (state(outside), state(f"{folder}/../x.ckpt"), state(inside, tmp_path)):
        checked = checked_files(keeper, hostile, "c")
        assert checked["best_model_path"] == checked["kth_best_model_path"] == ""
        assert checked["best_k_models"] == {}
        assert checked["best_model_score"] is None
    for key, value in [
        ("best_model_path", 5), ("best_model_score", "x"), ("best_k_models", [inside]),
        ("kth_value", torch.zeros(3)), ("best_model_score", torch.tensor(math.nan)),
        ("best_k_models", {inside: "x"}), ("dirpath", "a\nb"), ("kth_best_model_path", ""),
    ]:  # fmt: skip
        with pytest.raises(CheckpointError, match=r"c\."):
            checked_files(keeper, {**state(inside), key: value}, "c")


def test_ways_out_of_a_folder() -> None:
    assert lies_in("/a/b/c.ckpt", "/a/b")
    for path in ("/a/c.ckpt", "/a/b/../c.ckpt", "/a/b", "", "..", "c.ckpt", "s3://a/b", "/a/bb/c"):
        assert not lies_in(path, "/a/b")


def test_states_of_random_generators() -> None:
    states = random_states()
    assert checked_random_states(states) is states
    assert checked_random_states(None) is None
    python, numpy = states["python"], states["numpy"]
    for key, value in [
        ("python", [3, python[1][:-1], None]), ("python", [3, [*python[1][:-1], 10**9], None]),
        ("python", [2, python[1], None]), ("python", [3, python[1], "x"]),
        ("numpy", [*numpy[:2], 625, *numpy[3:]]), ("numpy", [*numpy[:2], -1, *numpy[3:]]),
        ("numpy", ["PCG64", *numpy[1:]]), ("numpy", [numpy[0], [2**32] * 624, *numpy[2:]]),
        ("torch", [1]), ("torch", states["torch"].float()), ("torch", states["torch"][1:]),
        ("cuda", [5]), ("mps", 5), ("numpy", [*numpy[:4], math.inf]),
    ]:  # fmt: skip
        with pytest.raises(CheckpointError, match="random_states"):
            checked_random_states({**states, key: value})


@pytest.mark.parametrize(
    ("found", "own"),
    [
        (10**400, 1.0), (10**400, math.inf), (math.nan, 1.0), (math.inf, 1.0), ("1", 1), (True, 1),
        (None, 1), (1, True), (1, "a"), ("x" * 5000, "a"), ([], [1]), ({}, [1]), ([1], {"a": 1}),
        ({}, {"a": 1}), ({"a": 1, "b": 1}, {"a": 1}), (torch.zeros(2), torch.zeros(3)),
        (torch.zeros(2, dtype=torch.int64), torch.zeros(2)), (1, torch.zeros(())), ({}, None),
        (torch.zeros(()), 1.0),
    ],
)  # fmt: skip
def test_values_of_another_kind(found: Any, own: Any) -> None:
    with pytest.raises(CheckpointError, match=r"^key"):
        check_like(found, own, "key")


def test_values_of_the_same_kind() -> None:
    for found, own in [
        (1, 0.5), (0.5, 1), (math.inf, math.inf), (None, True), (False, True), ("b", "a"),
        ((0.9, 0.99), [1, 1]), ({"a": [1]}, {"a": [2]}), (None, None), (True, None), (1.5, None),
    ]:  # fmt: skip
        check_like(found, own, "key")


def test_early_stopping_takes_numbers_only(content) -> None:
    stopping = EarlyStopping("val/mae_jnd")
    state = content["callbacks"][state_key(content, "EarlyStopping")]
    assert checked_state(stopping, state) == state
    for key, value in [
        ("wait_count", "x"), ("patience", -1), ("best_score", [1]), ("stopping_reason", 99),
        ("stopped_epoch", 1.5), ("more", 1), ("best_score", torch.zeros(2)), ("wait_count", True),
    ]:  # fmt: skip
        with pytest.raises(CheckpointError, match=key):
            checked_state(stopping, {**state, key: value})


def test_a_run_that_has_stopped_early_takes_its_best_checkpoint_for_the_test(content) -> None:
    """It was saved before the run knew why it would stop."""
    state = content["callbacks"][state_key(content, "EarlyStopping")]
    stopping = EarlyStopping("val/mae_jnd")
    stopping.stopping_reason_message = "did not improve"
    before = {**state, "stopping_reason_message": None}
    assert checked_state(stopping, before)["stopping_reason_message"] is None
    with pytest.raises(CheckpointError, match="stopping_reason_message is a list"):
        checked_state(stopping, {**state, "stopping_reason_message": []})


@pytest.mark.parametrize(
    "version", ["1.9.0", "x", "", 2, None, "2.6.0\n", "2." + "1" * 5000, "3.0"]
)
def test_versions_of_lightning(version: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"pytorch-lightning_version": version}, path)
    with pytest.raises(CheckpointError, match="pytorch-lightning_version"):
        AtomicCheckpointIO().load_checkpoint(path)
    assert load_checkpoint(path)["pytorch-lightning_version"] == version
