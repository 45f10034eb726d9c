"""What the comparison trains: data sets, networks, settings, and the tables they fill."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
SEEDS = (1, 2, 3)
# Every loss that there is, also one that was added since.
LOSSES = tuple(sorted(path.stem for path in (ROOT / "configs" / "loss").glob("*.yaml")))
DATA = {
    "simple_noisy": "vimh_simple_noisy",
    "simple_3p": "vimh_simple_3p",
    "simple 16k": "avix_16kdss",
}
HEADS = {
    "simple_noisy": ("note_number", "note_velocity", "log10_decay_time"),
    "simple_3p": ("note_number", "note_velocity", "log10_decay_time"),
    "simple 16k": ("note_velocity", "log10_decay_time"),
}
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "image only": ("data.auxiliary_features=null",),
    "image + level": ("data.auxiliary_features=[level]",),
    "hybrid": ("data.auxiliary_features=[decay_time,level]",),
    "hybrid, joint layer of 128": (
        "data.auxiliary_features=[decay_time,level]",
        "model.net.joint_size=128",
    ),
}

CNN = "CNN 64k"
VIT = "ViT 64k"
# Images of 64x64 have four times the pixels; coarser patches and stems keep the work in hand.
NETWORKS: Mapping[str, tuple[str, ...]] = {
    CNN: ("model=avix_cnn_64k_jnd",),
    "SimpleDenseNet 64k": ("model=avix_densenet_64k_jnd",),
    "MLP 64k": ("model=avix_mlp_64k_jnd",),
    "ViT 64k, patches of 8": ("model=avix_vit_64k_jnd", "model.net.patch_size=8"),
    "ConvNeXt 210k, stem of 4": ("model=avix_convnext_210k", "model.net.stem_size=4"),
    "EfficientNet 210k, stem stride 2": (
        "model=cifar10_efficientnet_210k",
        "model.net.stem_stride=2",
    ),
    VIT: ("model=avix_vit_64k_jnd",),
}
COMPARED_NETWORKS = tuple(name for name in NETWORKS if name != VIT)  # too slow on 64x64
# Training epochs: 179 steps of 128 samples on simple_noisy and simple_3p, 89 on simple 16k.
EPOCHS = {"simple_noisy": 6, "simple_3p": 12, "simple 16k": 20}
LONG_EPOCHS = 30

COMMON = (
    "callbacks=model_checkpoint",  # no early stopping: everybody takes the same number of steps
    "logger=csv",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
    "+trainer.enable_progress_bar=false",
    "+trainer.enable_model_summary=false",
    "extras.print_config=false",
    "extras.enforce_tags=false",
    "model.head_margin=0.05",
)


@dataclass(frozen=True)
class Job:
    """One training, or the baselines of a data set.

    Attributes:
        data: One of DATA.
        network: One of NETWORKS; None: the baselines.
        loss: One of LOSSES.
        setting: One of SETTINGS.
        epochs: How long it trains.
        seed: Of weights and the order of samples; the split's is the data set's own.
        size: Samples of the data set; None: its own number. Small for a trial of the suite.
    """

    data: str
    network: str | None
    loss: str = "ce"
    setting: str = "hybrid"
    epochs: int = 1
    seed: int = 1
    size: int | None = None

    @property
    def overrides(self) -> list[str]:
        """What is typed behind ``python src/train.py`` for the same training."""
        lines = [f"data={DATA[self.data]}", *NETWORKS[self.network or CNN], f"loss={self.loss}"]
        lines += SETTINGS[self.setting]
        # By JND steps, for every network.
        lines += [f"++model.loss_weights.{name}=null" for name in HEADS[self.data]]
        lines += ["data.target_width=1.0"] * (self.loss == "soft_target")
        lines += [f"data.source.recipe.dataset.size={self.size}"] * (self.size is not None)
        return [*lines, f"trainer.max_epochs={self.epochs}", f"seed={self.seed}", *COMMON]

    @property
    def name(self) -> str:
        """Its folder: readable, and another one when anything about it changes."""
        text = " ".join([str(self.network), *self.overrides])
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        words = [self.data, self.network or "baselines"]
        words += [self.loss, self.setting, f"s{self.seed}"] if self.network else []
        slug = "".join(c if c.isalnum() else "_" for c in "-".join(words).replace("-", "__"))
        return f"{slug}-{digest}"


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes:
        title: Its heading.
        first_column: What its rows are.
        rows: The jobs of each row, one a seed.
        baselines: The job with the baselines below them.
    """

    title: str
    first_column: str
    rows: Mapping[str, Sequence[Job]]
    baselines: Job

    @property
    def jobs(self) -> list[Job]:
        """All of them, baselines first."""
        return [self.baselines, *(job for row in self.rows.values() for job in row)]


@dataclass(frozen=True)
class Plan:
    """Which jobs there are; the later tables depend on what won in the earlier ones.

    Attributes:
        losses: Losses to compare.
        networks: Networks to compare.
        seeds: Seeds of each row.
        epochs: By data set.
        long_epochs: Of the long run of the winner.
        size: Samples of each data set; None: its own number.
    """

    losses: Sequence[str] = LOSSES
    networks: Sequence[str] = COMPARED_NETWORKS
    seeds: Sequence[int] = SEEDS
    epochs: Mapping[str, int] = field(default_factory=lambda: EPOCHS)
    long_epochs: int = LONG_EPOCHS
    size: int | None = None

    def of_losses(self) -> Table:
        """Every loss with the CNN on simple_noisy."""
        rows = {loss: self._row("simple_noisy", CNN, loss) for loss in self.losses}
        title = f"Losses: {CNN} on simple_noisy, hybrid"
        return Table(title, "loss", rows, self._baselines("simple_noisy"))

    def of_networks(self, loss: str) -> Table:
        """Every network with the best loss on simple_noisy."""
        rows = {name: self._row("simple_noisy", name, loss) for name in self.networks}
        title = f"Networks: loss {loss} on simple_noisy, hybrid"
        return Table(title, "network", rows, self._baselines("simple_noisy"))

    def of_settings(self, network: str, loss: str) -> Table:
        """The best network and loss with and without auxiliary features."""
        rows = {
            setting: self._row("simple_noisy", network, loss, setting=setting)
            for setting in SETTINGS
        }
        title = f"Settings: {network}, loss {loss} on simple_noisy"
        return Table(title, "network sees", rows, self._baselines("simple_noisy"))

    def of_best(self, data: str, losses: Sequence[str], network: str) -> Table:
        """The best losses with the CNN, and the best network, on another data set."""
        rows = {f"{CNN}, {loss}": self._row(data, CNN, loss) for loss in losses}
        if data == "simple 16k":
            rows[f"{VIT}, {losses[0]}"] = self._row(data, VIT, losses[0])
        else:
            rows[f"{network}, {losses[0]}"] = self._row(data, network, losses[0])
        return Table(
            f"{data}: the best losses, hybrid", "network, loss", rows, self._baselines(data)
        )

    def of_long_run(self, network: str, loss: str) -> Table:
        """The winner for longer, one seed."""
        (job, *_) = self._row("simple_noisy", network, loss)
        job = replace(job, epochs=self.long_epochs)
        title = f"The winner for {self.long_epochs} epochs on simple_noisy, one seed"
        rows = {f"{network}, {loss}": [job]}
        return Table(title, "network, loss", rows, self._baselines("simple_noisy"))

    def _row(self, data: str, network: str, loss: str, setting: str = "hybrid") -> list[Job]:
        return [
            Job(data, network, loss, setting, self.epochs[data], seed, self.size)
            for seed in self.seeds
        ]

    def _baselines(self, data: str) -> Job:
        return Job(data, None, size=self.size)


QUICK = Plan(
    losses=("ce", "dg"),
    networks=(CNN, "MLP 64k"),
    seeds=(1, 2),
    epochs=dict.fromkeys(DATA, 1),
    long_epochs=2,
    size=320,
)
