"""A training that begins with the weights of another model."""

import logging
from pathlib import Path

import pytest
import torch
from omegaconf import open_dict

from src.build import Built, build
from src.checkpoint import read_checkpoint
from src.fine_tuning import begin
from src.train import train
from src.utils.errors import ConfigError
from tests.helpers import shrink

EXPERIMENT = "experiment=avix_cnn_72dss_jnd_dg_hybrid"
HEAD = "heads.layers.head_note_velocity"


def built_with(compose_config, data_root: Path, *words: str):
    cfg = shrink(compose_config("train", EXPERIMENT, *words), data_root)
    return cfg, build(cfg)


def saved(built: Built, path: Path) -> Path:
    content = {"state_dict": built.model.state_dict(), "epoch": 3, "global_step": 9}
    built.model.on_save_checkpoint(content)
    torch.save(content, path)
    return path


@pytest.fixture
def former(compose_config, data_root: Path, tmp_path: Path) -> Path:
    torch.manual_seed(1)
    return saved(built_with(compose_config, data_root)[1], tmp_path / "former.ckpt")


def test_all_weights_of_the_same_model_are_taken(
    former: Path, compose_config, data_root: Path
) -> None:
    cfg, built = built_with(compose_config, data_root, f"model.init_from={former}")
    assert begin(cfg, built.model) == []
    given = read_checkpoint(former).state_dict
    for name, tensor in built.model.net.state_dict().items():
        torch.testing.assert_close(tensor, given[f"net.{name}"], rtol=0, atol=0)


@pytest.mark.parametrize(
    "word", ["loss=hl_gauss", "+loss@model.losses.note_velocity=direct_regression"]
)
def test_a_head_of_another_loss_begins_anew_and_is_named(
    word: str, former: Path, compose_config, data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cfg, built = built_with(compose_config, data_root, f"model.init_from={former}", word)
    own = built.model.net.state_dict()[f"{HEAD}.weight"].clone()
    with caplog.at_level(logging.INFO):
        begin(cfg, built.model)
    after, given = built.model.net.state_dict(), read_checkpoint(former).state_dict
    torch.testing.assert_close(after[f"{HEAD}.weight"], own, rtol=0, atol=0)
    assert f"{HEAD} (another loss)" in caplog.text
    for name in after:
        if not name.startswith("heads."):
            torch.testing.assert_close(after[name], given[f"net.{name}"], rtol=0, atol=0)


def test_features_are_standardised_by_the_new_data(
    compose_config, data_root: Path, tmp_path: Path
) -> None:
    _, other = built_with(compose_config, data_root)
    other.model.required_preparation.auxiliary_mean.fill_(7.0)
    path = saved(other, tmp_path / "other.ckpt")
    cfg, built = built_with(compose_config, data_root, f"model.init_from={path}")
    own = built.model.required_preparation.auxiliary_mean.clone()
    begin(cfg, built.model)
    after = built.model.required_preparation.auxiliary_mean
    torch.testing.assert_close(after, own, rtol=0, atol=0)
    assert not (after == 7.0).any()


def test_another_network_is_refused(former: Path, compose_config, data_root: Path) -> None:
    words = (f"model.init_from={former}", "model=avix_vit_11k_jnd")
    cfg, built = built_with(compose_config, data_root, *words)
    with pytest.raises(ConfigError, match=r"init_from=.*no layer of VisionTransformer fits it"):
        begin(cfg, built.model)


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        ("[nowhere]", "model.freeze names 'nowhere', which SimpleCNN has not: it has block1"),
        ("block1", "model.freeze is 'block1'; expected a list"),
        ("[block1,block2,hidden,heads]", "model.freeze names all layers"),
    ],
)
def test_layers_that_cannot_be_frozen(
    freeze: str, message: str, compose_config, data_root: Path
) -> None:
    def frozen() -> None:
        cfg, built = built_with(compose_config, data_root, f"model.freeze={freeze}")
        begin(cfg, built.model)

    with pytest.raises(ConfigError, match=message):
        frozen()


@pytest.mark.slow
def test_frozen_layers_stay_and_all_else_starts_anew(
    former: Path, compose_config, data_root: Path
) -> None:
    words = (f"model.init_from={former}", "model.freeze=[block1]")
    cfg, _ = built_with(compose_config, data_root, *words)
    with open_dict(cfg):
        cfg.trainer.max_epochs = 2
    _, objects = train(cfg)
    assert objects["trainer"].current_epoch == 2
    given, after = read_checkpoint(former).state_dict, objects["model"].net.state_dict()
    for name, tensor in after.items():
        is_same = torch.equal(tensor, given[f"net.{name}"])
        if name.startswith("block1."):  # batch norm's running figures too
            assert is_same, name
    assert not torch.equal(after[f"{HEAD}.weight"], given[f"net.{HEAD}.weight"])


@pytest.mark.slow
def test_epochs_optimiser_schedule_and_best_figures_start_anew(
    compose_config, data_root: Path, tmp_path: Path
) -> None:
    def trained(name: str, epochs: int, *words: str):
        cfg, _ = built_with(compose_config, data_root, *words)
        with open_dict(cfg):
            cfg.paths.output_dir = str(tmp_path / name)
            cfg.trainer.max_epochs = epochs
        return train(cfg)[1]["trainer"]

    best = trained("first", 3).checkpoint_callback.best_model_path
    assert read_checkpoint(best).global_step > 0
    trainer = trained("second", 2, f"model.init_from={best}")
    steps = 2 * trainer.num_training_batches
    assert (trainer.current_epoch, trainer.global_step) == (2, steps)
    (optimizer,) = trainer.optimizers
    assert {float(state["step"]) for state in optimizer.state.values()} == {steps}
    assert trainer.lr_scheduler_configs[0].scheduler.last_epoch == 2
    (kept,) = trainer.checkpoint_callback.best_k_models
    assert Path(kept).parent == tmp_path / "second" / "checkpoints"
