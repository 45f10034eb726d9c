import importlib.util
import logging
from pathlib import Path

import pytest
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.profilers import SimpleProfiler
from omegaconf import OmegaConf

from src.training.instantiators import (
    instantiate_callbacks,
    instantiate_loggers,
    instantiate_trainer,
)
from src.training.profiler import NoProfiler
from src.utils.errors import ConfigError

EARLY = {
    "_target_": "lightning.pytorch.callbacks.EarlyStopping",
    "monitor": "val/loss",
    "patience": 7,
}
TRAINER = {
    "_target_": "lightning.pytorch.trainer.Trainer",
    "accelerator": "cpu",
    "devices": 1,
}


def test_callbacks_in_order_without_those_that_are_null() -> None:
    cfg = OmegaConf.create({"a": EARLY, "b": None, "c": EARLY | {"patience": 8}})
    callbacks = instantiate_callbacks(cfg)
    assert [type(callback) for callback in callbacks] == [EarlyStopping, EarlyStopping]
    assert [callback.patience for callback in callbacks] == [7, 8]


@pytest.mark.parametrize("cfg", [None, OmegaConf.create({})])
def test_none(cfg: object) -> None:
    assert instantiate_callbacks(cfg) == []
    assert instantiate_loggers(cfg) == []


@pytest.mark.parametrize("entry", ["early", 3, ["a"], {"patience": 3}])
def test_entries_that_are_none(entry: object) -> None:
    with pytest.raises(ConfigError, match=r"callbacks\.a: expected .* _target_"):
        instantiate_callbacks(OmegaConf.create({"a": entry}))


def test_a_list_instead_of_names() -> None:
    with pytest.raises(ConfigError, match="logger: expected entries by name"):
        instantiate_loggers(OmegaConf.create([EARLY]))


def test_loggers(tmp_path: object) -> None:
    cfg = OmegaConf.create(
        {"csv": {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": str(tmp_path)}}
    )
    (logger,) = instantiate_loggers(cfg)
    assert isinstance(logger, CSVLogger)


@pytest.mark.parametrize("name", ["wandb", "mlflow", "comet", "aim"])
def test_a_missing_package_is_named(
    name: str, compose_config: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger_cfg = compose_config("train", f"logger={name}").logger
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    with pytest.raises(ConfigError, match=rf"logger\.{name}: .*\[loggers\]"):
        instantiate_loggers(logger_cfg)


def test_neptune_has_ended(compose_config: object) -> None:
    with pytest.raises(ConfigError, match=r"logger\.neptune: .* logger=mlflow"):
        instantiate_loggers(compose_config("train", "logger=neptune").logger)


def test_a_trainer_gets_the_objects_that_no_config_holds(tmp_path: Path) -> None:
    cfg = OmegaConf.create(TRAINER)
    callback = EarlyStopping("val/loss")
    trainer = instantiate_trainer(cfg, [callback], [CSVLogger(tmp_path)])
    assert callback in trainer.callbacks
    assert [type(logger) for logger in trainer.loggers] == [CSVLogger]


def test_checkpoints_are_saved_by_the_callbacks_that_were_named_alone() -> None:
    cfg = OmegaConf.create(TRAINER)
    assert instantiate_trainer(cfg).checkpoint_callback is None
    named = ModelCheckpoint()
    assert instantiate_trainer(cfg, [named]).checkpoint_callback is named


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accelerator": "abacus"}, r"trainer \(accelerator=abacus, devices=1\): .*abacus"),
        ({"devices": 0}, r"trainer \(accelerator=cpu, devices=0\): .*not a valid input"),
        ({"max_epohcs": 3}, "unexpected keyword argument 'max_epohcs'"),
    ],
)
def test_what_lightning_refuses_is_one_sentence(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        instantiate_trainer(OmegaConf.create(TRAINER | changes))


def test_what_a_callback_refuses_names_it() -> None:
    cfg = OmegaConf.create({"early": EARLY | {"patiense": 3}})
    with pytest.raises(ConfigError, match=r"callbacks\.early: .*'patiense'"):
        instantiate_callbacks(cfg)


def test_only_a_profiler_that_is_asked_for_times_anything() -> None:
    assert isinstance(instantiate_trainer(OmegaConf.create(TRAINER)).profiler, NoProfiler)
    asked = OmegaConf.create(TRAINER | {"profiler": "simple"})
    assert isinstance(instantiate_trainer(asked).profiler, SimpleProfiler)


def test_lightning_says_nothing_twice() -> None:
    own = logging.getLogger("lightning")
    own.addHandler(logging.StreamHandler())
    assert logging.getLogger().hasHandlers()  # pytest's here, Hydra's in a run
    instantiate_trainer(OmegaConf.create(TRAINER))
    assert own.handlers == []
