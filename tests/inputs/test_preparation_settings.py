"""The one list of what a network sees: the data module's arguments and a checkpoint's keys."""

import inspect
from dataclasses import fields

import pytest

from src.data.vimh_datamodule import VIMHDataModule
from src.data.vimh_dataset import VIMHDataset
from src.inputs.preparation_settings import PreparationSettings
from src.utils.errors import ConfigError


def test_the_data_module_takes_each_setting_under_its_name_and_type() -> None:
    arguments = inspect.signature(VIMHDataModule).parameters
    for field in fields(PreparationSettings):
        assert arguments[field.name].annotation == field.type
        assert arguments[field.name].default is None


def test_the_data_set_takes_all_but_augmentation() -> None:
    names = {field.name for field in fields(PreparationSettings)}
    assert names - inspect.signature(VIMHDataset).parameters.keys() == {"augmentation"}


def test_settings_are_read_out_of_a_config_whose_other_keys_are_left() -> None:
    data = {"batch_size": 3, "auxiliary_features": ["level"], "feature_config": {"kernel_size": 4}}
    with pytest.raises(ConfigError, match=r"^data\.feature_config\.kernel_size is 4"):
        PreparationSettings.of(data)
    data["feature_config"] = None
    assert PreparationSettings.of(data) == PreparationSettings(auxiliary_features=["level"])


def test_a_value_of_another_type_is_told_by_its_key() -> None:
    with pytest.raises(ConfigError, match=r"^data\.auxiliary_features is 'level'; expected a list"):
        PreparationSettings.of({"auxiliary_features": "level"})


def test_unknown_and_repeated_features_are_told() -> None:
    PreparationSettings(auxiliary_features=["decay_time", "level", "range"])
    with pytest.raises(ConfigError, match=r"'pitch'.*decay_time, level, range"):
        PreparationSettings(auxiliary_features=["pitch"])
    with pytest.raises(ConfigError, match="twice"):
        PreparationSettings(auxiliary_features=["level", "level"])
