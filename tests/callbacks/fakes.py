"""A small module with two heads, and a logger that remembers, for the tests of this room."""

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class TwoHeads(nn.Module):
    image_shape = (1, 4, 4)

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(16, 5)
        self.heads = nn.ModuleDict({"level": nn.Linear(5, 3), "decay": nn.Linear(5, 2)})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = torch.relu(self.body(images.flatten(1)))
        return {name: head(features) for name, head in self.heads.items()}


class SmallModule(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = TwoHeads()
        self.gradients: list[list[Tensor]] = []

    def _loss(self, batch: list[Tensor]) -> Tensor:
        images, labels = batch
        return sum(nn.functional.cross_entropy(o, labels) for o in self.net(images).values())

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss = self._loss(batch)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val/loss", self._loss(batch))
        self.log("val/level_mae_jnd", 0.25)

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("test/loss", self._loss(batch))

    def predict_step(self, batch: list[Tensor], batch_idx: int) -> dict[str, Tensor]:
        return self.net(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Remembers(Logger):
    """Keeps `(step, metrics)` of everything logged."""

    name = "remembers"
    version = 0

    def __init__(self) -> None:
        super().__init__()
        self.logged: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.logged.append((-1 if step is None else step, dict(metrics)))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        self.hyperparams = args[0]

    def gradient_stats(self) -> dict[int, dict[str, float]]:
        """The gradient statistics by step, without their prefix."""
        found: dict[int, dict[str, float]] = {}
        for step, metrics in self.logged:
            own = {k.split("/")[1]: v for k, v in metrics.items() if k.startswith("grad_stats/")}
            if own:
                found.setdefault(step, {}).update(own)
        return found


def loader(num_batches: int = 6, batch_size: int = 4) -> DataLoader:
    images = torch.rand(num_batches * batch_size, 1, 4, 4)
    labels = torch.randint(0, 2, (len(images),))
    return DataLoader(TensorDataset(images, labels), batch_size=batch_size)


def trainer(tmp_path: Any, **kwargs: Any) -> Trainer:
    defaults: dict[str, Any] = {
        "max_epochs": 2,
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "default_root_dir": tmp_path,
        "log_every_n_steps": 2,
    }
    return Trainer(**(defaults | kwargs))
