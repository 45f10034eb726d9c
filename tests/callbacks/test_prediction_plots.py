from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from omegaconf import open_dict
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.build import build
from src.callbacks.prediction_plots import PredictionPlots
from src.train import train
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError
from tests.helpers import shrink


@pytest.mark.slow
def test_a_run_has_pictures_and_sounds(compose_config, data_root: Path, tmp_path: Path) -> None:
    cfg = compose_config(
        "train", "experiment=vimh_cnn", "callbacks=[default,prediction_plots]", "test=false"
    )
    with open_dict(shrink(cfg, data_root)):
        cfg.trainer.max_epochs = 3
        cfg.callbacks.prediction_plots.every_n_epochs = 2
        cfg.callbacks.prediction_plots.sounds = 2
    train(cfg)
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0, "audio": 0})
    events.Reload()
    tags = events.Tags()
    names = ["predictions/log10_decay_time", "predictions/note_velocity", "predictions/worst"]
    assert set(names) <= set(tags["images"])
    assert len(events.Images(names[0])) == 2  # epochs 0 and 2 of three
    assert sorted(tags["audio"]) == [
        "sounds/0_predicted", "sounds/0_target", "sounds/1_predicted", "sounds/1_target",
    ]  # fmt: skip
    assert len(events.Audio("sounds/0_target")) == 1
    assert events.Audio("sounds/0_predicted")[0].sample_rate == 8000


def test_nan_predictions_end_no_training(compose_config, data_root: Path, tmp_path: Path) -> None:
    cfg = compose_config(
        "train", "experiment=vimh_cnn", "callbacks=[default,prediction_plots]", "loss=dg"
    )
    with open_dict(shrink(cfg, data_root)):
        cfg.callbacks.prediction_plots.sounds = 1
    built = build(cfg)
    next(iter(built.model.net.parameters())).data.fill_(torch.nan)
    plots, logger = PredictionPlots(sounds=1), TensorBoardLogger(tmp_path)
    trainer = Trainer(logger=logger, accelerator="cpu", default_root_dir=tmp_path)
    trainer.state.fn = TrainerFn.FITTING
    trainer.datamodule = built.datamodule
    plots.on_validation_epoch_end(trainer, built.model.eval())
    logger.experiment.flush()
    events = EventAccumulator(str(logger.log_dir)).Reload()
    assert set(events.Tags()["images"]) >= {"predictions/log10_decay_time", "predictions/worst"}
    assert sorted(events.Tags()["audio"]) == ["sounds/0_predicted", "sounds/0_target"]


@pytest.mark.slow
def test_the_end_of_a_test_has_square_pictures_and_pairs_of_sounds(
    compose_config, data_root: Path, tmp_path: Path
) -> None:
    cfg = shrink(compose_config("train", "experiment=vimh_cnn", "loss=dg"), data_root)
    built = build(cfg)
    settings = {k: v for k, v in cfg.callbacks.prediction_plots.items() if k != "_target_"}
    plots, logger = PredictionPlots(**{**settings, "at_end": True}), TensorBoardLogger(tmp_path)
    trainer = Trainer(logger=logger, accelerator="cpu", default_root_dir=tmp_path)
    trainer.datamodule = built.datamodule
    plots.on_validation_epoch_end(trainer, built.model.eval())  # nothing while training
    plots.on_test_end(trainer, built.model)
    events = EventAccumulator(str(logger.log_dir), size_guidance={"images": 0, "audio": 0})
    tags = events.Reload().Tags()
    names = ["log10_decay_time", "note_velocity"]
    heads = [f"final/{name}{part}" for name in names for part in ("", "_errors", "_histogram")]
    assert set(tags["images"]) == {*heads, "final/worst"}
    for tag in heads:
        (picture,) = events.Images(tag)
        assert picture.width == picture.height
    pairs = {f"final_sounds/{k}_{kind}" for k in range(4) for kind in ("target", "predicted")}
    assert set(tags["audio"]) == pairs


@pytest.mark.slow
def test_sounds_that_are_refused_end_no_test(
    compose_config, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(metadata: object) -> None:
        raise VIMHError("not trusted")

    monkeypatch.setattr("src.callbacks.prediction_plots.synthesizer_of", refuse)
    built = build(shrink(compose_config("train", "experiment=vimh_cnn", "loss=dg"), data_root))
    logger = TensorBoardLogger(tmp_path)
    trainer = Trainer(logger=logger, accelerator="cpu", default_root_dir=tmp_path)
    trainer.datamodule = built.datamodule
    quiet, loud = PredictionPlots(every_n_epochs=None, worst=0), PredictionPlots()
    quiet.on_fit_start(trainer, built.model)
    quiet.on_test_end(trainer, built.model.eval())
    tags = EventAccumulator(str(logger.log_dir)).Reload().Tags()
    assert tags["images"]
    assert not tags["audio"]
    with pytest.raises(VIMHError, match="not trusted"):
        loud.on_fit_start(trainer, built.model)


@pytest.mark.parametrize("wrong", [{"every_n_epochs": 0}, {"samples": 0}, {"worst": -1}])
def test_numbers_out_of_range(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        PredictionPlots(**wrong)
