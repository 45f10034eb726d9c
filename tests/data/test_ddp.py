"""Two CPU processes: every sample once, and nobody waits for ever."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from src.data.vimh_datamodule import VIMHDataModule
from src.inputs.batch import Batch, RawBatch
from src.inputs.preparation import Preparation

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:You have overridden `on_after_batch_transfer`"),
    # Lightning forks a process that has threads; these tests have none that matter
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded"),
]


class Seen(LightningModule):
    """Writes down which samples each rank saw; has buffers that DDP synchronises."""

    def __init__(self, preparation: Preparation, folder: Path) -> None:
        super().__init__()
        self.preparation = preparation
        self.folder = folder
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(24, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        self.seen: dict[str, list[list[int]]] = {"train": [], "val": []}

    def on_after_batch_transfer(self, batch: RawBatch, dataloader_idx: int) -> Batch:
        stage = "train" if self.training else "val"
        if not self.trainer.sanity_checking:
            self.seen[stage].append((batch.images[:, 0, 0, 0]).tolist())
        return self.preparation.prepare_batch(batch)

    def forward(self, batch: Batch) -> Tensor:
        return (self.net(batch.images) - batch.values).square().mean()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self(batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self(batch)

    def on_fit_end(self) -> None:
        (self.folder / f"rank{self.global_rank}.json").write_text(json.dumps(self.seen))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_two_processes_share_an_epoch(
    make_dataset: Callable[..., Path], tmp_path: Path, num_workers: int
) -> None:
    # 17 validation samples: one rank has 9, the other 8, which is one whole batch
    images = torch.arange(85, dtype=torch.uint8).reshape(85, 1, 1, 1).expand(85, 1, 4, 6)
    folder = make_dataset(num_train=70, num_test=15, images=images.contiguous().numpy())
    data = VIMHDataModule(folder, batch_size=8, num_workers=num_workers)
    model = Seen(data.build_preparation(), tmp_path)
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp_fork",
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(model, data)
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)]
    for epoch in range(2):
        seen = [rank["val"][2 * epoch : 2 * epoch + 2] for rank in ranks]
        assert [[len(batch) for batch in rank] for rank in seen] == [[8, 1], [7, 1]]
        together = [n for rank in seen for batch in rank for n in batch]
        assert sorted(together) == data.splits.val.tolist()
        seen = [rank["train"][3 * epoch : 3 * epoch + 3] for rank in ranks]
        assert [[len(batch) for batch in rank] for rank in seen] == [[8, 8, 8]] * 2
        together = [n for rank in seen for batch in rank for n in batch]
        assert len(set(together)) == 48
        assert set(together) <= set(data.splits.train.tolist())
