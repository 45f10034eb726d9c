"""Two CPU processes (trainer=ddp_sim): the metrics of one process, and weights that stay equal."""

import json
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig, open_dict

from src.eval import evaluate
from src.train import train
from tests.helpers import shrink

pytestmark = pytest.mark.slow

# 8 samples a rank and batch: 31 test samples are 4 batches of one rank, 3 and a rest of the other.
BATCH = 8


class WritesWeights(Callback):
    """Each rank writes its weights and losses down, so that the test can compare them."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.losses: list[float] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx
    ) -> None:
        self.losses.append(float(outputs["loss"]))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        rank = trainer.global_rank
        torch.save(dict(pl_module.net.named_parameters()), self.folder / f"weights{rank}.pt")
        (self.folder / f"losses{rank}.json").write_text(json.dumps(self.losses))


def in_two_processes(cfg: DictConfig) -> DictConfig:
    with open_dict(cfg):
        cfg.trainer.strategy = "ddp_spawn"
        cfg.trainer.devices = 2
    return cfg


@pytest.fixture
def trained(compose_config, data_root: Path, tmp_path: Path):
    def run(*overrides: str):
        cfg = shrink(compose_config("train", *overrides), data_root)
        with open_dict(cfg):
            cfg.data.batch_size = BATCH
            cfg.paths.output_dir = str(tmp_path / "run")
            Path(cfg.paths.output_dir).mkdir()
            cfg.callbacks.writes = {
                "_target_": f"{__name__}.WritesWeights",
                "folder": str(tmp_path),
            }
        return cfg

    return run


@pytest.mark.parametrize("experiment", ["multihead_cnn_mnist", "avix_cnn_72dss_jnd_dg_hybrid"])
@pytest.mark.parametrize("split", ["val", "test"])
def test_a_checkpoint_has_the_same_metrics_in_two_processes(
    experiment: str, split: str, trained, compose_config
) -> None:
    cfg = trained(
        f"experiment={experiment}", "trainer.max_epochs=1", "+trainer.limit_val_batches=1"
    )
    with open_dict(cfg):
        cfg.callbacks.pop("writes")
        cfg.test = False
        cfg.trainer.check_val_every_n_epoch = 1
    checkpoint = train(cfg)[1]["trainer"].checkpoint_callback.best_model_path
    found = []
    for processes in (1, 2):
        ours = compose_config("eval", f"ckpt_path='{checkpoint}'", f"split={split}")
        with open_dict(ours):
            ours.data.batch_size = BATCH
            ours.paths.vimh_dir = cfg.paths.vimh_dir
            ours.trainer.accelerator = "cpu"
            ours.trainer.enable_progress_bar = False
        metrics, objects = evaluate(in_two_processes(ours) if processes == 2 else ours)
        assert objects["trainer"].world_size == processes
        found.append(metrics)
    one, two = found
    assert {name for name in one if name.startswith(f"{split}/")} == set(two)
    for name, value in one.items():
        assert float(two[name]) == pytest.approx(float(value), rel=1e-6, abs=1e-6), name


def test_weights_stay_equal_and_the_loss_falls(trained, tmp_path: Path) -> None:
    cfg = trained("experiment=digits_cnn", "trainer.max_epochs=3")
    metrics, _ = train(in_two_processes(cfg))
    weights = [torch.load(tmp_path / f"weights{rank}.pt") for rank in range(2)]
    assert weights[0]
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name
    losses = [json.loads((tmp_path / f"losses{rank}.json").read_text()) for rank in range(2)]
    assert losses[0] != losses[1]  # each has samples of its own
    for ours in losses:
        assert sum(ours[-10:]) < 0.7 * sum(ours[:10])
    assert metrics["test/acc"] > 0.5
