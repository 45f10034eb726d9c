"""A training that goes on has the settings of its own config, and its place in the schedule.

A checkpoint brings the settings of optimiser and scheduler along with their state. Where the config
says others now, those of the config count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import Metric

from src.going_on import Former, changed_arguments
from src.models.multihead_module import MultiheadLitModule
from src.schema.plain import plain_node
from src.utils.errors import CheckpointError
from src.utils.pylogger import RankedLogger

log = RankedLogger(__name__, rank_zero_only=True)

MAX_REPLAYED = 1_000_000  # steps of a scheduler, one for each epoch
# What a plateau scheduler has found out; the rest of its state are settings.
PLATEAU_STATE = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")


class NewSettings(Callback):
    """Applies the config's settings to an optimiser and a scheduler that were restored.

    Where no setting differs, nothing is touched: the run ends as the uninterrupted one, to the
    last bit. Otherwise the optimiser keeps its moments and gets the new settings, and the scheduler
    is brought to the same epoch with the new ones: from then on the learning rate is that of a run
    which had them from the beginning. A plateau scheduler keeps the reductions that it has made.

    A run in a folder of its own forgets the best epoch of the former one, whose file is elsewhere.

    Args:
        former: What the checkpoint says of its settings.
        optimizer: The keys of ``model.optimizer`` in the config.
        scheduler: The keys of ``model.scheduler`` in the config; empty where there is none.
    """

    def __init__(
        self, former: Former, optimizer: Mapping[str, Any], scheduler: Mapping[str, Any]
    ) -> None:
        self.former = former
        self.of_optimizer = list(changed_arguments(former.optimizer, optimizer))
        self.of_scheduler = (
            list(changed_arguments(former.scheduler, scheduler)) if scheduler else []
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Apply the settings: the checkpoint is restored by now.

        Raises:
            CheckpointError: If the scheduler's place in the checkpoint is none.
        """
        assert isinstance(pl_module, MultiheadLitModule)
        if not self.former.own_folder:
            _forget_best(trainer, pl_module)
        if not self.of_optimizer and not self.of_scheduler:
            return
        (optimizer,) = trainer.optimizers
        schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
        self._apply(optimizer, schedulers[0] if schedulers else None, pl_module)
        for group, changes in (("optimizer", self.of_optimizer), ("scheduler", self.of_scheduler)):
            for name, before, after in changes:
                log.info("Going on with model.%s.%s %s, not %s", group, name, after, before)
        log.info(
            "The learning rate is %.6g from epoch %d on",
            optimizer.param_groups[0]["lr"],
            trainer.current_epoch,
        )

    def _apply(self, optimizer: Optimizer, scheduler: Any, module: MultiheadLitModule) -> None:
        """Give optimiser and scheduler the state that the new settings have at the same place."""
        assert module.optimizer is not None
        twin = _twin(optimizer, module.optimizer)
        if scheduler is not None:
            assert module.scheduler is not None
            twin_scheduler = module.scheduler(optimizer=twin)
            if isinstance(scheduler, ReduceLROnPlateau):
                found = {name: vars(scheduler)[name] for name in PLATEAU_STATE}
                scheduler.load_state_dict({**twin_scheduler.state_dict(), **found})
                twin.param_groups[0]["lr"] = self._reduced(optimizer, twin, scheduler)
                vars(scheduler)["_last_lr"] = [twin.param_groups[0]["lr"]]
            else:
                _replay(twin, twin_scheduler, scheduler.last_epoch, self.former)
                scheduler.load_state_dict(twin_scheduler.state_dict())
        settings = {name: v for name, v in twin.param_groups[0].items() if name != "params"}
        for group in optimizer.param_groups:
            group.update(settings)
        # Once more, since `fused` and `capturable` decide where the count of steps lies.
        optimizer.load_state_dict(optimizer.state_dict())

    def _reduced(self, optimizer: Optimizer, twin: Optimizer, scheduler: Any) -> float:
        """Return the new learning rate with the reductions so far, but not below the smallest."""
        now: float = optimizer.param_groups[0]["lr"]
        for name, before, after in self.of_optimizer:
            if name == "lr":
                now *= after / before
        return max(now, scheduler.min_lrs[0])


def new_settings(cfg: DictConfig, former: Former | None) -> list[Callback]:
    """Make the callback for a training that goes on; none for one that begins."""
    if former is None:
        return []
    model = plain_node(cfg, "model")
    return [NewSettings(former, model["optimizer"], model.get("scheduler") or {})]


def _twin(optimizer: Optimizer, make: Callable[..., Optimizer]) -> Optimizer:
    """Make an optimiser of one weight with the config's settings, on the real one's device."""
    real = optimizer.param_groups[0]["params"][0]
    return make(params=[nn.Parameter(torch.zeros(1, dtype=real.dtype, device=real.device))])


def _replay(twin: Optimizer, scheduler: Any, place: int, former: Former) -> None:
    """Bring a new scheduler to a place step by step: few of torch's have a closed form."""
    if not 0 <= place <= MAX_REPLAYED:
        raise CheckpointError(
            f"ckpt_path={former.path}: its scheduler has made {place} steps; expected 0 to "
            f"{MAX_REPLAYED}"
        )
    twin.step(lambda: 0.0)  # a scheduler warns where its optimiser has not made a step
    while scheduler.last_epoch < place:
        scheduler.step()


def _forget_best(trainer: Trainer, module: MultiheadLitModule) -> None:
    for metric in module.best.values():
        assert isinstance(metric, Metric)
        metric.reset()
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint):
            callback.best_model_path = ""
