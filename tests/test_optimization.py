"""Another optimiser or scheduler in the config's place: its arguments are looked at."""

import inspect

import pytest
import torch
from omegaconf import OmegaConf

from src.config_check import TrainConfig, check_config
from src.model_settings import build_partial
from src.utils.errors import ConfigError

OPTIMIZERS = sorted(
    name
    for name, found in inspect.getmembers(torch.optim, inspect.isclass)
    if issubclass(found, torch.optim.Optimizer) and found is not torch.optim.Optimizer
)
WITHOUT_WEIGHT_DECAY = {"LBFGS", "Rprop", "SparseAdam"}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.sampled(3)
def test_every_optimizer_of_pytorch_takes_the_place_of_adamw(name: str, compose_config) -> None:
    said = [f"model.optimizer._target_=torch.optim.{name}"]
    if name in WITHOUT_WEIGHT_DECAY:
        with pytest.raises(ConfigError, match=r"~model\.optimizer\.weight_decay"):
            build_partial(compose_config("train", *said), "optimizer")
        said.append("~model.optimizer.weight_decay")
    made = build_partial(compose_config("train", *said), "optimizer")
    weights = [torch.nn.Parameter(torch.ones(2, 2))]
    optimizer = made(params=weights)
    assert type(optimizer).__name__ == name
    assert optimizer.defaults["lr"] == 0.002


def test_fused_stays_where_the_optimizer_has_it(compose_config) -> None:
    for name, fused in (("AdamW", True), ("SGD", True), ("RMSprop", None)):
        cfg = compose_config("train", f"model.optimizer._target_=torch.optim.{name}")
        assert build_partial(cfg, "optimizer").keywords.get("fused") == fused
    assert cfg.model.optimizer.fused is True  # the config itself stays


@pytest.mark.parametrize(
    ("key", "node", "message"),
    [
        ("optimizer", "sgd", r"model\.optimizer is 'sgd'.*model/optimizer=NAME"),
        ("optimizer", {"lr": 1}, r"it takes keys such as model\.optimizer\._target_"),
        (
            "optimizer",
            {"_target_": "torch.optim.SGDD", "_partial_": True},
            r"model\.optimizer\._target_ is 'torch\.optim\.SGDD': .*no attribute 'SGDD'",
        ),
        (
            "optimizer",
            {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 1, "momentum": 0.9},
            r"model\.optimizer\.momentum is unknown \(there are .*lr, .*~model\.optimizer\.mom",
        ),
        (
            "scheduler",
            {"_target_": "torch.optim.lr_scheduler.StepLR", "_partial_": True, "T_max": 3},
            r"model\.scheduler\.T_max is unknown .*step_size.*~model\.scheduler\.T_max",
        ),
        ("scheduler", {"_target_": "torch.optim.lr_scheduler.warnings"}, "which is no class"),
    ],
)
def test_what_does_not_fit_is_one_sentence(key: str, node: object, message: str) -> None:
    cfg = OmegaConf.create({"model": {key: node}})
    with pytest.raises(ConfigError, match=message):
        build_partial(cfg, key)


def test_null_is_none() -> None:
    assert build_partial(OmegaConf.create({"model": {"scheduler": None}}), "scheduler") is None
    assert build_partial(OmegaConf.create({"model": {}}), "scheduler") is None


def test_interpolations_still_reach_the_rest_of_the_config(compose_config) -> None:
    cfg = compose_config("train", "trainer.max_epochs=17")
    assert build_partial(cfg, "scheduler").keywords["T_max"] == 17


@pytest.mark.parametrize("group", ["optimizer", "scheduler"])
def test_the_check_before_a_run_points_to_the_group(compose_config, group: str) -> None:
    cfg = compose_config("train", f"model.{group}=sgd", "monitor.mode=min")
    with pytest.raises(ConfigError, match=rf"model\.{group} is 'sgd'.*model/{group}=NAME"):
        check_config(cfg, TrainConfig)


def test_a_time_between_checkpoints_is_refused_with_what_there_is(compose_config) -> None:
    key = "callbacks.model_checkpoint.train_time_interval"
    cfg = compose_config("train", f"{key}=00:00:01:00", "monitor.mode=min")
    with pytest.raises(ConfigError, match=rf"{key} is '00:00:01:00'.*every_n_train_steps"):
        check_config(cfg, TrainConfig)


def test_gradients_by_epoch_are_refused(compose_config) -> None:
    cfg = compose_config("train", "+trainer.accumulate_grad_batches={0:2}", "monitor.mode=min")
    with pytest.raises(ConfigError, match=r"trainer\.accumulate_grad_batches is \{0: 2\}"):
        check_config(cfg, TrainConfig)


def test_a_metric_for_a_scheduler_that_follows_none_is_refused(compose_config) -> None:
    monitor = "model.scheduler_monitor=val/acc"
    check_config(compose_config("train", monitor, "model/scheduler=plateau"), TrainConfig)
    for scheduler in ("model/scheduler=cosine", "model.scheduler=null"):
        with pytest.raises(ConfigError, match=r"model\.scheduler_monitor is 'val/acc', but model"):
            check_config(compose_config("train", monitor, scheduler), TrainConfig)
