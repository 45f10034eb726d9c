"""Every experiment composes, builds on a real (small) data set and trains."""

from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, open_dict

from src.train import train
from tests.helpers import needs_engine, shrink

EXPERIMENTS = sorted(p.stem for p in (Path(__file__).parents[1] / "configs/experiment").glob("*"))


# 28 M weights; 96 sounds of a second at 44.1 kHz; engines, for which faust_voice_cnn stands
LONG = {"convnext_v2_official_tiny_benchmark", "plate_cnn", "faust_fm_cnn", "faust_string_cnn"}
LONG |= {"dexed_cnn", "vital_cnn"}


@pytest.mark.parametrize(
    "experiment",
    [
        pytest.param(name, marks=[*needs_engine(name), *[pytest.mark.slow] * (name in LONG)])
        for name in EXPERIMENTS
    ],
)
@pytest.mark.sampled(4)
def test_experiment_takes_two_steps_and_validates(
    experiment: str, compose_config, data_root: Path
) -> None:
    cfg: DictConfig = compose_config("train", f"experiment={experiment}")
    shrink(cfg, data_root)
    with open_dict(cfg):
        cfg.trainer.max_epochs = 1
        cfg.trainer.limit_train_batches = 2
        cfg.trainer.limit_val_batches = 1
        cfg.test = False
    metrics, objects = train(cfg)

    assert objects["trainer"].global_step in (1, 2)
    assert torch.isfinite(metrics["train/loss"])
    assert torch.isfinite(metrics["val/loss"])
    logged = set(objects["model"].logged_names)
    assert {name for name in metrics if name.startswith("val/")} <= logged
    events = list(Path(cfg.paths.output_dir).rglob("events.out.tfevents*"))
    assert events, "no TensorBoard log was written"


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiment_file_is_short(experiment: str, project_root: Path) -> None:
    lines = (project_root / f"configs/experiment/{experiment}.yaml").read_text().splitlines()
    assert len(lines) <= 25
