"""Which metric chooses the best epoch, and which way it is better."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from src.build import build
from src.models.multihead_module import MultiheadLitModule
from src.monitor import resolve_monitor
from src.utils.errors import ConfigError
from tests.conftest import ROOT
from tests.helpers import shrink

EXPERIMENT = "experiment=avix_cnn_72dss_jnd"


@pytest.fixture
def config(compose_config, data_root: Path):
    def composed(*overrides: str) -> DictConfig:
        return shrink(compose_config("train", *overrides), data_root)

    return composed


@pytest.fixture
def model(config) -> MultiheadLitModule:
    return build(config(EXPERIMENT)).model


def test_the_default_is_the_error_in_steps(config, model: MultiheadLitModule) -> None:
    cfg = config(EXPERIMENT)
    resolve_monitor(cfg, model)
    assert (cfg.monitor.metric, cfg.monitor.mode) == ("val/mae_jnd", "min")
    assert cfg.callbacks.model_checkpoint.mode == "min"


def test_a_share_rises_without_being_told(config, model: MultiheadLitModule) -> None:
    cfg = config(EXPERIMENT, "monitor.metric=val/jnd")
    resolve_monitor(cfg, model)
    assert cfg.monitor.mode == "max"
    assert cfg.callbacks.model_checkpoint.mode == "max"
    assert cfg.callbacks.early_stopping.mode == "max"


def test_a_head_without_a_step_makes_it_the_loss(config) -> None:
    """Every head has to have a step: an error in steps says nothing of the others."""
    overrides = ["~data.source.recipe.synth.parameters.note_velocity.step"]
    overrides += ["data.source.recipe.avix=false", "data.source.recipe.dataset.size=64"]
    cfg = config(EXPERIMENT, *overrides)
    with open_dict(cfg):
        velocity = cfg.data.source.recipe.synth.parameters.note_velocity
        velocity.kind, velocity.class_names = "categorical", [f"v{i}" for i in range(256)]
        velocity.min, velocity.max = 0, 255
        cfg.loss = {"_target_": "torch.nn.CrossEntropyLoss"}
    mixed = build(cfg).model
    resolve_monitor(cfg, mixed)
    assert (cfg.monitor.metric, cfg.monitor.mode) == ("val/loss", "min")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["monitor.metric=val/jnd", "monitor.mode=min"], r"monitor\.mode is min, but val/jnd"),
        (["monitor.mode=max"], r"monitor\.mode is max, but val/mae_jnd .*smaller"),
        (
            ["callbacks.model_checkpoint.monitor=val/jnd"],
            r"callbacks\.model_checkpoint\.mode is min, but val/jnd .*larger",
        ),
        (
            ["callbacks.early_stopping.monitor=val/jnd", "callbacks.early_stopping.mode=min"],
            r"callbacks\.early_stopping\.mode is min",
        ),
        (["callbacks.early_stopping.monitor=val/typo"], r"early_stopping\.monitor is 'val/typo'"),
        (
            ["model/scheduler=plateau", "model.scheduler_monitor=val/jnd"],
            r"model\.scheduler\.mode is min, but val/jnd",
        ),
        (
            ["callbacks.model_checkpoint.every_n_train_steps=5"],
            "every_n_train_steps is 5, but val/mae_jnd is only known after a validation",
        ),
    ],
)
@pytest.mark.sampled(3)
def test_a_contradiction_is_told(
    config, model: MultiheadLitModule, overrides: list[str], message: str
) -> None:
    cfg = config(EXPERIMENT, *overrides)
    with pytest.raises(ConfigError, match=message):
        resolve_monitor(cfg, model)


@pytest.mark.parametrize(
    ("metric", "direction", "right"),
    [
        ("val/jnd", "minimize", "maximize"),
        ("val/mae_jnd", "maximize", "minimize"),
        ("val/jnd", "maximize", None),
        ("val/mae_jnd", "minimize", None),
        ("val/jnd", None, None),
    ],
)
@pytest.mark.sampled(3)
def test_a_search_goes_the_way_of_its_metric(
    metric: str,
    direction: str | None,
    right: str | None,
    config,
    model: MultiheadLitModule,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "configs")):
        search = compose("train", ["hparams_search=avix_optuna"], return_hydra_config=True)
    with open_dict(search):
        search.hydra.mode = "MULTIRUN"
        search.hydra.sweeper.direction = direction
    monkeypatch.setattr(HydraConfig.instance(), "cfg", search)
    cfg = config(EXPERIMENT, f"optimized_metric={metric}")
    if right is None:
        resolve_monitor(cfg, model)
        return
    with pytest.raises(ConfigError, match=rf"set hydra\.sweeper\.direction={right}$"):
        resolve_monitor(cfg, model)
