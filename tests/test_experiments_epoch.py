"""Every AVIX and VIMH experiment runs one whole epoch on its own data set, and is tested."""

from pathlib import Path

import pytest
import torch
from omegaconf import open_dict
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.train import train

EXPERIMENTS = sorted(
    path.stem
    for path in (Path(__file__).parents[1] / "configs" / "experiment").glob("*.yaml")
    if path.stem.startswith(("avix_", "vimh_", "simple_", "direct_"))
)


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiment_runs_a_whole_epoch(experiment: str, compose_config) -> None:
    cfg = compose_config("train", f"experiment={experiment}", "extras.print_config=false")
    with open_dict(cfg):
        cfg.trainer.max_epochs = 1
        cfg.trainer.check_val_every_n_epoch = 1
        cfg.trainer.accelerator = "cpu"
        cfg.data.source.root = cfg.paths.vimh_dir
    metrics, objects = train(cfg)

    trainer, datamodule = objects["trainer"], objects["datamodule"]
    samples = datamodule.get_dataset_info()["num_train_samples"]
    batches, rest = divmod(samples, cfg.data.batch_size)
    # The last small batch is dropped where there are more than two.
    assert trainer.global_step == (batches if rest == 0 or batches >= 2 else batches + 1)
    for name in ("train/loss", "val/loss", "val/mae_jnd", "test/loss", "test/mae_jnd", "test/jnd"):
        assert torch.isfinite(metrics[name])
    run = Path(trainer.logger.log_dir)
    logged = {path.parent for path in Path(cfg.paths.output_dir).rglob("events.out.tfevents*")}
    assert logged == {run, run / "train", run / "val", run / "test"}
    accumulator = EventAccumulator(str(run))
    accumulator.Reload()
    assert accumulator.Tags()["graph"]
