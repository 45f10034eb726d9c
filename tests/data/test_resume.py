"""A run that was interrupted and resumed ends with the same weights as one that was not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from src.data.vimh_datamodule import VIMHDataModule
from src.inputs.batch import Batch, RawBatch
from src.inputs.preparation import Preparation

# Lightning warns of what is meant: the module prepares the batches that the data module brings.
pytestmark = pytest.mark.filterwarnings("ignore:You have overridden `on_after_batch_transfer`")

EPOCHS, STEPS = 3, 4  # 35 training samples by 8: 4 batches and a dropped rest


class Regression(LightningModule):
    """With momentum, so that the weights depend on the order of the batches."""

    def __init__(self, preparation: Preparation) -> None:
        super().__init__()
        self.preparation = preparation
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(24, 8), nn.ReLU(), nn.Linear(8, 2))
        self.seen: list[tuple[int, list[float]]] = []

    def on_after_batch_transfer(self, batch: RawBatch, dataloader_idx: int) -> Batch:
        return self.preparation.prepare_batch(batch)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.seen.append((batch_idx, batch.values[:, 0].tolist()))
        return (self.net(batch.images) - batch.values).square().mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.log("val/loss", self.net(batch.images).mean(), batch_size=len(batch.images))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


class KilledError(Exception):
    pass


class KillAt(Callback):
    """Saves a checkpoint and stops the run, at a place in Lightning's loop."""

    def __init__(self, hook: str, step: int, path: Path) -> None:
        self.hook, self.step, self.path = hook, step, path

    def kill(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.path)
        raise KilledError

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self.hook == "batch_end" and trainer.global_step == self.step:
            self.kill(trainer)

    def on_before_optimizer_step(self, trainer: Trainer, *_: Any) -> None:
        if self.hook == "in_step" and trainer.global_step == self.step:
            self.kill(trainer)

    def on_validation_end(self, trainer: Trainer, *_: Any) -> None:
        if self.hook == "validation_end" and trainer.global_step == self.step:
            self.kill(trainer)

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        if self.hook == "epoch_end" and trainer.global_step == self.step:
            self.kill(trainer)


def run(
    folder: Path,
    num_workers: int,
    callbacks: list[Callback] | None = None,
    ckpt_path: Path | None = None,
    **arguments: Any,
) -> Regression:
    torch.manual_seed(1)
    data = VIMHDataModule(folder, batch_size=8, num_workers=num_workers, **arguments)
    model = Regression(data.build_preparation())
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    try:
        trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
    except KilledError:
        assert callbacks
    return model


@pytest.mark.parametrize(
    ("num_workers", "hook", "step"),
    [
        (0, "batch_end", 1),
        (0, "batch_end", 6),
        (0, "batch_end", 8),
        (0, "in_step", 5),
        (0, "in_step", 8),
        (0, "validation_end", 4),
        (0, "epoch_end", 8),
        (2, "batch_end", 6),
        (2, "in_step", 5),
    ],
)
@pytest.mark.sampled(3)
def test_killed_and_resumed_ends_with_the_same_weights(
    make_dataset: Callable[..., Path], tmp_path: Path, num_workers: int, hook: str, step: int
) -> None:
    folder, path = make_dataset(), tmp_path / "killed.ckpt"
    whole = run(folder, num_workers=0)
    killed = run(folder, num_workers, [KillAt(hook, step, path)])
    resumed = run(folder, num_workers, ckpt_path=path)
    done = killed.seen[:-1] if hook == "in_step" else killed.seen
    assert done + resumed.seen == whole.seen
    assert len(whole.seen) == EPOCHS * STEPS
    assert len({str(values) for _, values in whole.seen}) == EPOCHS * STEPS
    for ours, theirs in zip(
        resumed.state_dict().values(), whole.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_bytes_on_the_device_train_the_same(make_dataset: Callable[..., Path]) -> None:
    folder = make_dataset()
    expected = run(folder, num_workers=0).state_dict()
    for residency in ("disk", "device"):
        found = run(folder, num_workers=0, residency=residency).state_dict()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_overfitting_takes_the_same_batch_every_epoch(make_dataset: Callable[..., Path]) -> None:
    data = VIMHDataModule(make_dataset(), batch_size=8)
    model = Regression(data.build_preparation())
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=3,
        overfit_batches=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(model, data)
    assert len({str(values) for _, values in model.seen}) == 1
