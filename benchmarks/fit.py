"""What the training rows share: an experiment, a bare loop, callbacks that time epochs."""

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import hydra
import lightning.pytorch as pl
import rootutils
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from src.build import Built, build_model, fit_data_to_model
from src.monitor import resolve_monitor
from src.training.instantiators import (
    instantiate_callbacks,
    instantiate_loggers,
    instantiate_trainer,
)
from src.utils.utils import keep_freed_memory

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)
MANY_EPOCHS = 1000  # the timing callbacks stop before


def compose_training(work: Path, samples: int, *overrides: str) -> DictConfig:
    """CNN 64k on random samples, with the default callbacks and logger; it writes under `work`."""
    lines = [
        "experiment=avix_cnn_16kdss",
        "model=avix_cnn_64k",
        f"data.source.recipe.dataset.size={samples}",
        f"trainer.max_epochs={MANY_EPOCHS}",
        "trainer.accelerator=cpu",
        f"callbacks.early_stopping.patience={MANY_EPOCHS}",
        f"paths.log_dir={work}/logs",
        f"paths.vimh_dir={work}/data",
        f"paths.output_dir={work}/run",
        *overrides,
    ]
    with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "configs")):
        cfg = compose("train", lines)
    torch.manual_seed(cfg.seed)
    return cfg


def fit(cfg: DictConfig, built: Built, first: pl.Callback) -> None:
    """`Trainer.fit` as train.py runs it, with one more callback before all others."""
    if cfg.extras.keep_freed_memory:
        keep_freed_memory()
    resolve_monitor(cfg, built.model)
    callbacks = [first, *instantiate_callbacks(cfg.callbacks)]
    loggers = instantiate_loggers(cfg.logger)
    trainer = instantiate_trainer(cfg.trainer, callbacks, loggers)
    trainer.fit(built.model, datamodule=built.datamodule)


class BareLoop:
    """The same network, losses and optimiser over tensors in memory, without any framework.

    Args:
        cfg: The composed config; its data set is there already.
        plain: PyTorch as it comes, which is what such a loop is usually written with: no
            channels-last, no fused optimiser. False: all that as the config has it.
        device: Where network and data are.
    """

    def __init__(self, cfg: DictConfig, plain: bool, device: str = "cpu") -> None:
        datamodule = hydra.utils.instantiate(cfg.data)
        preparation = datamodule.build_preparation()
        self.model = build_model(cfg, datamodule.metadata, preparation)
        fit_data_to_model(datamodule, self.model)
        datamodule.setup("fit")
        batches = [preparation.prepare_batch(raw) for raw in datamodule.train_dataloader()]
        self.model.to(device)  # preparation included, which has prepared by now
        self.images = torch.cat([batch.images for batch in batches]).to(device)
        values = torch.cat([batch.values for batch in batches]).to(device)
        heads = self.model.heads.items()
        self.labels = {name: head.target(values[:, k]) for k, (name, head) in enumerate(heads)}
        arguments: dict[str, Any] = {}
        if plain:
            self.model.net.to(memory_format=torch.contiguous_format)
            arguments = {"fused": False}
        self.optimizer = self.model.optimizer(params=self.model.net.parameters(), **arguments)
        self.batch_size: int = cfg.data.batch_size

    @property
    def samples_per_epoch(self) -> int:
        """Samples in an epoch's whole batches."""
        return len(self.images) // self.batch_size * self.batch_size

    def epoch(self) -> None:
        """One epoch in a new order; the last small batch is dropped, as the data module does."""
        self.model.net.train()
        order = torch.randperm(len(self.images), device=self.images.device)
        order = order[: self.samples_per_epoch]
        for indices in order.split(self.batch_size):
            self.optimizer.zero_grad()
            outputs = self.model.net(self.images[indices])
            loss = torch.stack(
                [head(outputs[n], self.labels[n][indices]) for n, head in self.model.heads.items()]
            ).sum()
            loss.backward()
            self.optimizer.step()


class LoopApart:
    """A bare loop in a process of its own, so that no setting of ours reaches it.

    Args:
        cfg: The composed config; its data set is there already.
        plain: As for `BareLoop`; False also keeps freed memory, as training does.
    """

    def __init__(self, cfg: DictConfig, plain: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(cfg, plain, theirs), daemon=True)
        policy = os.environ.pop("OMP_WAIT_POLICY", None) if plain else None
        self._process.start()
        if policy is not None:
            os.environ["OMP_WAIT_POLICY"] = policy
        theirs.close()
        self.samples_per_epoch: int = self._connection.recv()

    def epoch(self) -> None:
        """One epoch there, while this process waits."""
        self._connection.send(None)
        self._connection.recv()

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join()


def _serve(cfg: DictConfig, plain: bool, connection: Connection) -> None:
    if not plain:
        keep_freed_memory()
    loop = BareLoop(cfg, plain)
    loop.epoch()  # warms up
    connection.send(loop.samples_per_epoch)
    with contextlib.suppress(EOFError):  # the other end was closed
        while True:
            connection.recv()
            loop.epoch()
            connection.send(None)


class TimedEpochs(pl.Callback):
    """Time each training epoch from its start to the next one's, without the validation.

    What validation causes (checkpoints, logging) and every other callback's work is counted. The
    first epoch warms up. Subclasses say what happens between epochs, which is not counted.

    Attributes:
        epochs: How many are timed.
        warm_ups: How many come before them.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.warm_ups = 1
        self.started = 0.0
        self.validation_started = 0.0
        self.validation_seconds = 0.0

    def between(self, trainer: pl.Trainer, seconds: float | None) -> None:
        """Called between epochs with the last one's seconds; None after none or the warm-up."""
        raise NotImplementedError

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End one timing and start the next."""
        seconds = time.perf_counter() - self.started - self.validation_seconds
        self.between(trainer, seconds if trainer.current_epoch > self.warm_ups else None)
        if trainer.current_epoch >= self.epochs + self.warm_ups:
            trainer.should_stop = True
        self.validation_seconds = 0.0
        self.started = time.perf_counter()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validation is no training."""
        self.validation_started = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The other callbacks' part of this hook comes after, and is counted."""
        self.validation_seconds += time.perf_counter() - self.validation_started


class EpochTurns(TimedEpochs):
    """Run other things between the epochs of a fit, so that all are timed in turns."""

    def __init__(self, others: Sequence[Callable[[], None]], epochs: int) -> None:
        super().__init__(epochs)
        self.others = others
        self.fit_seconds: list[float] = []
        self.other_seconds: list[list[float]] = [[] for _ in others]

    def between(self, trainer: pl.Trainer, seconds: float | None) -> None:
        """One epoch of each other after each of the fit."""
        for other, taken in zip(self.others, self.other_seconds, strict=True):
            start = time.perf_counter()
            other()
            if seconds is not None:
                taken.append(time.perf_counter() - start)
        if seconds is not None:
            self.fit_seconds.append(seconds)


class ToggledCallback(TimedEpochs):
    """Take a callback out of every other epoch of a fit: with and without, in turns."""

    def __init__(self, kind: type[pl.Callback], pairs: int) -> None:
        super().__init__(2 * pairs)
        self.kind = kind
        self.present = True
        self.everyone: list[pl.Callback] = []
        self.seconds_with: list[float] = []
        self.seconds_without: list[float] = []

    def between(self, trainer: pl.Trainer, seconds: float | None) -> None:
        """A new list each time: Lightning may be going through the old one."""
        if not self.everyone:
            self.everyone = list(trainer.callbacks)
            assert any(isinstance(callback, self.kind) for callback in self.everyone)
        if seconds is not None:
            (self.seconds_with if self.present else self.seconds_without).append(seconds)
        self.present = not self.present
        trainer.callbacks = [
            callback
            for callback in self.everyone
            if self.present or not isinstance(callback, self.kind)
        ]


class ExitAfterFirstStep(pl.Callback):
    """End the process after the first training step."""

    def on_train_batch_end(self, *_args: Any, **_kwargs: Any) -> None:
        """Without any farewell: only the way to the first step is measured."""
        os._exit(0)
