from pathlib import Path

import numpy as np
import pytest
from omegaconf import open_dict
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.callbacks.prediction_plots import Predicted, PredictionPlots, head_figure, worst_figure
from src.train import train
from src.utils.errors import ConfigError
from src.vimh.parameters import Parameter
from tests.helpers import shrink

DECAY = Parameter("decay", min=0.0, max=10.0, step=1.0, unit="s")


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
    (folder,) = {path.parent for path in tmp_path.rglob("events.out.tfevents.*")}
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "audio": 0})
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


def test_the_band_is_the_tolerance_that_is_counted() -> None:
    true = np.array([5.0, 5.0, 5.0, 5.0])
    figure = head_figure(DECAY, true, np.array([5.0, 6.0, 6.1, 2.0]))
    assert figure.axes[1].get_title() == "50.0 % within 1 JND"
    assert figure.axes[0].get_xlabel() == "true decay [s]"


def test_the_worst_come_first() -> None:
    images = np.zeros((3, 1, 2, 2), np.uint8)
    predicted = {"decay": np.array([1.0, 9.0, 4.0])}
    found = Predicted(images, {"decay": np.array([1.0, 1.0, 1.0])}, predicted)
    titles = [axes.get_title() for axes in worst_figure([DECAY], found, 2).axes]
    assert titles == ["decay 9, true 1", "decay 4, true 1"]


@pytest.mark.parametrize("wrong", [{"every_n_epochs": 0}, {"samples": 0}, {"worst": -1}])
def test_numbers_out_of_range(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        PredictionPlots(**wrong)
