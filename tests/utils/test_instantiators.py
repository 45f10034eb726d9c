import importlib.util

import pytest
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger
from omegaconf import OmegaConf

from src.utils import ConfigError, instantiate_callbacks, instantiate_loggers

EARLY = {
    "_target_": "lightning.pytorch.callbacks.EarlyStopping",
    "monitor": "val/loss",
    "patience": 7,
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
