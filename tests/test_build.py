"""Configs that do not fit their data set are errors before training, and say what to change."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from omegaconf import open_dict

from src.build import build, build_model, fit_data_to_model
from src.checkpoint import load_model, read_checkpoint
from src.config_check import TrainConfig, check_config
from src.data.vimh_datamodule import VIMHDataModule
from src.monitor import resolve_monitor
from src.utils.errors import ConfigError
from src.utils.trust import trusting
from src.vimh.metadata import METADATA_FILE
from src.vimh.parameters import ParameterSpace
from tests.helpers import shrink


@pytest.fixture
def config(compose_config, data_root: Path):
    def composed(*overrides: str):
        return shrink(compose_config("train", *overrides), data_root)

    return composed


def test_data_set_decides_heads_shapes_and_weights(config) -> None:
    built = build(config("experiment=avix_cnn_72dss_jnd_dg_hybrid"))
    model = built.model
    assert list(model.heads) == ["note_velocity", "log10_decay_time"]
    assert model.net.image_shape == (3, 32, 32)
    assert model.net.output_mode == "regression"
    assert model.net.heads_config == {"note_velocity": 1, "log10_decay_time": 1}
    assert {head.loss.target for head in model.heads.values()} == {"value"}


def test_loss_on_the_command_line_follows_through_to_network_and_labels(config) -> None:
    built = build(config("experiment=avix_cnn_72dss_jnd_dg_hybrid", "loss=ce"))
    assert built.model.net.heads_config == {"note_velocity": 3, "log10_decay_time": 24}
    target = built.model.heads["note_velocity"].target(torch.tensor([0.0, 1.0]))
    assert target.tolist() == [0, 2]


def test_one_loss_weight_can_be_set_and_the_other_is_derived(config) -> None:
    built = build(config("experiment=avix_cnn_72dss_jnd", "model.loss_weights.log10_decay_time=3"))
    assert built.model.heads["log10_decay_time"].weight == 3.0
    # 2 JND steps beside the decay's 23, the largest of which counts 1
    assert built.model.heads["note_velocity"].weight == pytest.approx(2 / 23)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.output_mode=classification"], "model.output_mode is 'classification'"),
        (["data.target_width=1.0"], "data.target_width is 1.0"),
        (["model.net.input_channels=1"], "model.net.input_channels is 1, but the data set"),
        (["+model.loss_weights.resonance=2.0"], r"loss_weights names \['resonance'\]"),
        (["+model.net.no_such_argument=1"], "no_such_argument"),
        (["loss=soft_target"], "data.target_width"),
        (["data.channel_selection=[Gray*,Blue]"], "Blue"),
        (["data.auxiliary_features=[loudness]"], "loudness"),
    ],
)
def test_misfit_is_one_clear_error(config, overrides: list[str], message: str) -> None:
    cfg = config("experiment=avix_cnn_72dss_jnd_dg_hybrid", *overrides)
    with pytest.raises(ConfigError, match=message):
        build(cfg)


def test_monitor_is_derived_and_names_are_checked(config) -> None:
    cfg = config("experiment=avix_cnn_72dss_jnd_dg_hybrid")
    model = build(cfg).model
    resolve_monitor(cfg, model)
    assert (cfg.monitor.metric, cfg.monitor.mode) == ("val/mae_jnd", "min")

    with open_dict(cfg):
        cfg.optimized_metric = "val/accuracy"
    with pytest.raises(ConfigError, match=r"optimized_metric is 'val/accuracy'.*val/mae_jnd"):
        resolve_monitor(cfg, model)


def test_same_seed_gives_the_same_weights(config) -> None:
    weights = []
    for _ in range(2):
        torch.manual_seed(7)
        model = build(config("experiment=avix_cnn_72dss")).model
        weights.append(torch.cat([p.flatten() for p in model.net.parameters()]))
    assert torch.equal(*weights)


def test_a_data_set_with_the_parameters_in_another_order_is_refused(config, tmp_path: Path) -> None:
    """Values travel as columns: another order would be measured against the wrong head."""
    built = build(config("experiment=vimh_cnn"))
    shutil.copytree(built.datamodule.data_dir, tmp_path / "other")
    described = built.datamodule.metadata.to_json()
    described["parameter_names"] = described["parameter_names"][::-1]
    del described["label_encoding"]["values"]  # they would say first that the records do not fit
    (tmp_path / "other" / METADATA_FILE).write_text(json.dumps(described))
    other = VIMHDataModule(tmp_path / "other")
    with pytest.raises(ConfigError, match="in another order, log10_decay_time, note_velocity"):
        fit_data_to_model(other, built.model)


@pytest.mark.parametrize("spelled", ["null", "{}"])
def test_heads_of_every_vimh_model_are_weighed_by_their_steps(config, spelled: str) -> None:
    built = build(config("experiment=vimh_cnn", f"model.loss_weights={spelled}"))
    weights = {name: head.weight for name, head in built.model.heads.items()}
    assert weights == pytest.approx({"note_velocity": 2 / 23, "log10_decay_time": 1.0})


def test_the_simple_experiment_counts_its_heads_the_same(config) -> None:
    built = build(config("experiment=avix_densenet_72dss_64k_jnd_dg_simple"))
    assert {head.weight for head in built.model.heads.values()} == {1.0}


def test_outputs_are_in_units_where_the_command_line_names_a_range(config) -> None:
    ranges = "model.net.parameter_ranges={log10_decay_time: [-2.0, 0.3]}"
    built = build(config("experiment=avix_cnn_72dss_jnd_dg_hybrid", ranges))
    assert built.model.net.parameter_ranges == {"log10_decay_time": (-2.0, 0.3)}
    assert built.model.heads["log10_decay_time"].in_units
    with pytest.raises(ConfigError, match=r"parameter_ranges.log10_decay_time: only a head that"):
        build(config("experiment=vimh_cnn", ranges))


def test_names_of_parameters_that_collide_are_said_before_training(config) -> None:
    """A head called `mae` would overwrite the mean error of all."""
    cfg = config("experiment=vimh_cnn")
    built = build(cfg)
    velocity, decay = built.datamodule.metadata.parameters.values()
    parameters = ParameterSpace([velocity, replace(decay, name="mae")])
    metadata = replace(built.datamodule.metadata, parameters=parameters)
    with pytest.raises(ConfigError, match="head 'mae' and the mae_jnd of all heads"):
        build_model(cfg, metadata, built.model.preparation)


OWN_MODULE = """
from src.models.multihead_module import MultiheadLitModule


class Patient(MultiheadLitModule):
    def __init__(self, *args, patience: int = 1, **kwargs):
        super().__init__(*args, **kwargs)
        self.patience = patience


class Other: ...
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_module.py").write_text(OWN_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_module"


def test_the_module_that_the_config_names_is_built(config, own_module: str, tmp_path: Path) -> None:
    named = f"model._target_={own_module}.Patient"
    cfg = config("experiment=digits_cnn", named, "+model.patience=3", "model.head_margin=0.1")
    check_config(cfg, TrainConfig)
    model = build(cfg).model
    assert type(model).__name__ == "Patient"
    assert model.patience == 3
    assert model.provenance["config"]["model"]["_target_"] == f"{own_module}.Patient"
    trainer = Trainer(accelerator="cpu", logger=False, barebones=True)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "own.ckpt")
    refused = r"_target_ is 'own_module.Patient', which was not imported: a checkpoint may name"
    with pytest.raises(ConfigError, match=refused):
        read_checkpoint(tmp_path / "own.ckpt")
    with trusting([own_module]):
        loaded = load_model(read_checkpoint(tmp_path / "own.ckpt"))
    assert type(loaded).__name__ == "Patient"
    assert loaded.patience == 3
    assert loaded.heads["digit"].margin == model.heads["digit"].margin


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model._target_=own_module.Other"], "model._target_ is 'own_module.Other'; expected a"),
        (["model._target_=own_module.No"], "model._target_ is 'own_module.No': .*no attribute"),
        (["model._target_=null"], "model._target_ is null; expected the import path"),
        (["+model.heads=[]"], "model.heads is unknown"),
        (["+model.patience=3"], "model.patience is unknown"),
        (
            ["model._target_=own_module.Patient", "+model.patience=a"],
            "model.patience is 'a'; expected a whole number",
        ),
    ],
)
def test_another_module_or_argument_is_one_sentence(
    config, own_module: str, overrides: list[str], message: str
) -> None:
    cfg = config("experiment=digits_cnn", *overrides)
    for refuses in (build, partial(check_config, schema=TrainConfig)):
        with pytest.raises(ConfigError, match=message):
            refuses(cfg)
