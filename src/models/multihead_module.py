"""The one LightningModule: any network, any number of heads, any mixture of losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import MaxMetric, MinMetric

from src.calibration.calibration import Calibration
from src.checkpoints.resumable import ResumableModule
from src.inputs.batch import Batch, RawBatch
from src.inputs.preparation import Preparation
from src.inputs.targets import TargetMaker, widened
from src.models.components.heads import HeadsMode
from src.models.components.network import MultiheadNetwork
from src.models.metrics import DIRECTIONS, Direction, ParameterMetrics
from src.models.parameter_head import HeadArguments, ParameterHead, check_fit
from src.models.stage_metrics import StageMetrics, StepOutputs, StepResult
from src.schema.bounds import Margin, NonNegative, Text
from src.utils.errors import ConfigError
from src.vimh.parameters import Parameter

STAGES = ("train", "val", "test")
SCHEDULER_MONITOR = "val/loss"  # unless the config names another metric
# The validation metrics whose best over the epochs is logged, and under which name.
BEST_METRICS: dict[str, tuple[str, type[MaxMetric] | type[MinMetric]]] = {
    "acc": ("val/acc_best", MaxMetric),
    "jnd": ("val/jnd_best", MaxMetric),
    "mae_jnd": ("val/mae_best", MinMetric),
}


class MultiheadLitModule(ResumableModule):
    """Learn the parameters of a sound (or of anything else) from its image, one head each.

    The module only loops over its heads; what a head's output means is the business of the
    head's loss. :func:`src.build.build` makes network and heads for a data set. By hand, a
    network, an optimiser and a criterion are enough for a single head::

        MultiheadLitModule(
            net=SimpleCNN(output_size=10), optimizer=partial(Adam, lr=1e-3),
            criterion=nn.CrossEntropyLoss(),
        )

    Args:
        net: The network; it maps ``(images, auxiliary)`` to a dict of outputs by head, or to a
            tensor where there is one head.
        optimizer: Makes the optimiser: ``optimizer(params=...)``.
        scheduler: Makes the learning-rate scheduler: ``scheduler(optimizer=...)``, or None.
        criterion: The loss of a single head.
        criteria: A loss for each head, by name.
        loss: Makes the loss of a head from its parameter.
        loss_weights: The factor of each head's loss. None for a head, or None or an empty dict for
            all: proportional to its number of JND steps, the largest 1 (heads that are just
            classes of a network have no JND and count 1).
        compile: Whether to compile the network with ``torch.compile`` when training starts.
        auto_configure_from_dataset: Whether each head may take its loss from ``loss``, or, without
            a ``loss``, cross-entropy where the network is for classes. False: ``criterion`` or
            ``criteria`` is needed.
        output_mode: "classification" or "regression", as every head's loss is; or "mixed".
        heads: What :func:`src.build.build` gives in place of ``criterion``, ``criteria``,
            ``loss``, ``loss_weights``, ``output_mode``, ``head_margin``, ``target_width`` and
            ``parameters``, in the order of the values' columns.
        head_margin: Spread of sigmoid outputs; see :class:`ParameterHead`.
        target_width: Standard deviation of the soft targets that heads make, in classes; 0: none.
        parameters: The parameters of the heads. None: classes 0...K-1 as the network has them,
            or values in its ``parameter_ranges``.
        preparation: Bytes to float images and auxiliary features; None: batches come ready.
        scheduler_monitor: The metric that a plateau scheduler follows.
        provenance: Plain containers that say how the module was built; saved in checkpoints, so
            that prediction needs nothing else.

    Raises:
        ValueError: If there is no way to a loss, ``heads`` stand beside what they replace, or
            heads, losses and network disagree.
        ConfigError: If two heads would log metrics of one name.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: Callable[..., torch.optim.Optimizer] | None = None,
        scheduler: Callable[..., Any] | None = None,
        criterion: nn.Module | None = None,
        criteria: Mapping[str, nn.Module] | None = None,
        loss: Callable[[Parameter], nn.Module] | None = None,
        loss_weights: Mapping[str, NonNegative | None] | None = None,
        compile: bool = False,
        auto_configure_from_dataset: bool = True,
        output_mode: HeadsMode = "classification",
        *,
        heads: Sequence[ParameterHead] | None = None,
        head_margin: Margin = 0.0,
        target_width: NonNegative = 0.0,
        parameters: Sequence[Parameter] | None = None,
        preparation: Preparation | None = None,
        scheduler_monitor: Text = SCHEDULER_MONITOR,
        provenance: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.scheduler_monitor = scheduler_monitor
        self.compile_net = compile
        # For the sizes in Lightning's summary; a compiled network would be compiled for them first.
        if isinstance(net, MultiheadNetwork) and not compile:
            self.example_input_array = net.example_inputs()
        self.preparation = preparation
        self.provenance = provenance or {}
        self.calibration: Calibration | None = None  # see src/models/intervals.py

        spelled = HeadArguments(
            criterion=criterion,
            criteria=criteria,
            loss=loss,
            loss_weights=loss_weights,
            auto_configure_from_dataset=auto_configure_from_dataset,
            output_mode=output_mode,
            head_margin=head_margin,
            target_width=target_width,
            parameters=parameters,
        )
        if heads is None:
            heads = spelled.build_heads(net)
        else:
            spelled.refuse_any()
        check_fit(net, heads)
        # By name, in order. A list registers them: a ModuleDict takes neither dots nor names of
        # its own as keys.
        self.heads = {head.parameter.name: head for head in heads}
        self.head_list = nn.ModuleList(heads)
        metrics = ParameterMetrics(
            [head.parameter for head in heads],
            with_accuracy=self.learnt_as_classes,
        )
        self._stages = {stage: StageMetrics(metrics, self._decoded) for stage in STAGES}
        self.metrics = nn.ModuleList(self._stages.values())
        self._best = {
            metric: kind() for metric, (_, kind) in BEST_METRICS.items() if metric in metrics.names
        }
        for best in self._best.values():
            best.persistent(True)
        self.best = nn.ModuleDict(self._best)

    @property
    def parameters_by_head(self) -> dict[str, Parameter]:
        """The parameter of each head, in the heads' order."""
        return {name: head.parameter for name, head in self.heads.items()}

    @property
    def learnt_as_classes(self) -> list[bool]:
        """Whether each head's loss is for classes, in the heads' order."""
        return [head.loss.has_accuracy(head.parameter) for head in self.heads.values()]

    @property
    def logged_names(self) -> list[str]:
        """Every metric that fitting and testing will log, by its full name."""
        return list(self.metric_directions)

    @property
    def metric_directions(self) -> dict[str, Direction]:
        """Every metric that will be logged, by its full name, and which way it is better.

        "max" where it rises while learning goes well (shares of samples that are right), "min"
        where it falls (losses and errors).
        """
        of_stages = {
            f"{stage}/{name}": direction
            for stage in STAGES
            for name, direction in self._stages[stage].directions.items()
        }
        of_best = {BEST_METRICS[metric][0]: DIRECTIONS[metric] for metric in self._best}
        return {"train/loss_step": "min", **of_stages, **of_best}

    @property
    def required_preparation(self) -> Preparation:
        """The preparation, which batches of stored bytes need.

        Raises:
            ValueError: If the module was built without one.
        """
        if self.preparation is None:
            raise ValueError(
                "The batches hold stored bytes, but this module has no preparation: give it "
                "preparation=datamodule.build_preparation(), or batches of float images."
            )
        return self.preparation

    @property
    def default_monitor(self) -> str:
        """The metric that chooses the best epoch unless the config names one.

        The error in JND steps, where it says something of every head.
        """
        all_have_steps = all(head.parameter.has_jnd for head in self.heads.values())
        return "val/mae_jnd" if all_have_steps else "val/loss"

    def judge_as(self, parameters: Mapping[str, Parameter]) -> None:
        """Judge errors by whether the labels of other data of these heads are exact values."""
        for name, head in self.heads.items():
            head.judge(exact=parameters[name].exact)
        for stage in self._stages.values():
            stage.heads.judge([head.parameter for head in self.heads.values()])
        self.__dict__.pop("_make_targets", None)

    def num_measured(self, stage: str) -> int:
        """Return how many samples a stage's latest figures are of, on all ranks."""
        return self._stages[stage].num_samples

    def forward(self, images: Tensor, auxiliary: Tensor | None = None) -> dict[str, Tensor]:
        """Compute the outputs by head, not yet decoded, of float32 images (B, C, H, W) in 0...1.

        Auxiliary features are standardised, (B, A).
        """
        try:
            outputs = self.net(images) if auxiliary is None else self.net(images, auxiliary)
        except ValueError as error:  # torch's BatchNorm had nothing to normalise over
            if "more than 1 value per channel" not in str(error):
                raise
            raise ConfigError(
                f"{type(self.net).__name__} normalises over the batch (BatchNorm) and cannot train "
                "on a batch of one sample: set data.batch_size to 2 or more and have more than one "
                "training sample, or take model/net=simple_mlp, which has no BatchNorm."
            ) from error
        return self._by_head(outputs, "outputs of the network")

    def decode(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert outputs by head to values in the parameters' units, (B,) each."""
        return {name: head.decode(outputs[name]) for name, head in self.heads.items()}

    def probabilities(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert outputs to the classes' probabilities (B, K), by the heads that have them."""
        found = {name: head.loss.probabilities(outputs[name]) for name, head in self.heads.items()}
        return {name: own for name, own in found.items() if own is not None}

    def predict(self, images: Tensor, auxiliary: Tensor | None = None) -> dict[str, Tensor]:
        """Predict values in the parameters' units, (B,) each, of images (B, C, H, W) in 0...1."""
        return self.decode(self(images, auxiliary))

    def model_step(self, batch: Sequence[Any]) -> StepResult:
        """Compute outputs, loss and values of one batch.

        It is a :class:`~src.inputs.batch.Batch`; or plain ``(images, labels)`` or ``(images,
        labels, auxiliary)``, whose values are the class centres, or the same with ``values``.
        ``labels`` is a dict by head, or a tensor where there is one head; ``values`` (B, P) is
        normalised to 0...1 in the heads' order.
        """
        return self._decoded(self._step_outputs(batch))

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Make floats of bytes and derive the features, per batch and on the device."""
        if not isinstance(batch, RawBatch):
            return batch
        return self.required_preparation.prepare_batch(batch)

    def setup(self, stage: str) -> None:
        """Compile the network in place, so that checkpoints keep their names."""
        if self.compile_net and stage == "fit":
            self.net.compile()

    def training_step(self, batch: Sequence[Any], batch_idx: int) -> Tensor:
        """Take one step, and log the loss every ``trainer.log_every_n_steps`` steps.

        Without a trainer nothing is logged.
        """
        loss = self._step(batch, "train")
        if self._trainer is None:
            return loss
        # Lightning drops what is logged on other steps, but the call would cost time.
        interval: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if interval and (self.trainer.global_step + 1) % interval == 0:
            self.log("train/loss_step", loss.detach(), on_step=True, prog_bar=True)
        return loss

    def validation_step(self, batch: Sequence[Any], batch_idx: int) -> None:
        """Take one batch of the validation split."""
        self._step(batch, "val")

    def test_step(self, batch: Sequence[Any], batch_idx: int) -> None:
        """Take one batch of the test split."""
        self._step(batch, "test")

    def on_train_epoch_end(self) -> None:
        """Log the epoch's training metrics."""
        self._log_epoch("train")

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics and the best so far."""
        values = self._log_epoch("val")
        if self.trainer.sanity_checking:
            return
        for metric, best in self._best.items():
            best.update(values[metric])
            self.log(BEST_METRICS[metric][0], best.compute())

    def on_test_epoch_end(self) -> None:
        """Log the test metrics."""
        self._log_epoch("test")

    def configure_optimizers(self) -> Any:
        """Make the optimiser, and the scheduler, which steps once an epoch."""
        if self.optimizer is None:
            raise ValueError("This module was built for prediction: it has no optimizer.")
        optimizer = self.optimizer(params=self.net.parameters())
        scheduler = None if self.scheduler is None else self.scheduler(optimizer=optimizer)
        self.check_resumed_optimizers(optimizer, scheduler, self.optimizer)
        if scheduler is None:
            return {"optimizer": optimizer}
        # A plateau shows after validations, which not every epoch has.
        plateau = isinstance(scheduler, ReduceLROnPlateau)
        validated = plateau and self.scheduler_monitor.startswith("val/")
        every = self._trainer.check_val_every_n_epoch if validated and self._trainer else None
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": scheduler,
                "monitor": self.scheduler_monitor,
                "interval": "epoch",
                "frequency": every or 1,
            },
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what prediction needs: the config, the parameters, the data set's description."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["avix"] = self.provenance

    def _step_outputs(self, batch: Sequence[Any]) -> StepOutputs:
        if isinstance(batch, Batch):
            images, values, auxiliary = batch
            labels = dict(zip(self.heads, self._make_targets(values), strict=True))
        else:
            images, labels, auxiliary, values = (*batch, None, None)[:4]
            labels = self._by_head(labels, "labels")
        outputs = self(images, auxiliary)
        losses = [head(outputs[name], labels[name]) for name, head in self.heads.items()]
        loss = losses[0] if len(losses) == 1 else torch.stack(losses).sum()
        return StepOutputs(loss, outputs, labels, values)

    @cached_property
    def _make_targets(self) -> TargetMaker:
        return TargetMaker([head.wanted for head in self.heads.values()])

    def _by_head(self, tensors: Tensor | Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
        """Return tensors by head, none missing; a tensor alone is the only head's."""
        names = list(self.heads)
        if isinstance(tensors, Tensor):
            if len(names) != 1:
                raise ValueError(
                    f"The {what} are one tensor, but there are {len(names)} heads "
                    f"({', '.join(names)}): give a dict by head."
                )
            return {names[0]: tensors}
        if missing := [name for name in names if name not in tensors]:
            raise ValueError(
                f"The {what} lack {', '.join(missing)}: there are {', '.join(tensors) or 'none'}, "
                f"and the heads are {', '.join(names)}."
            )
        return dict(tensors)

    def _decoded(self, step: StepOutputs) -> StepResult:
        predictions = self.decode(step.outputs)
        if step.values is None:
            targets = {n: head.values_of(step.labels[n]) for n, head in self.heads.items()}
        else:
            columns = widened(step.values, self.parameters_by_head.values()).unbind(1)
            targets = {
                name: head.codec.denormalise(column)
                for (name, head), column in zip(self.heads.items(), columns, strict=True)
            }
        return StepResult(step.loss, predictions, targets)

    def _step(self, batch: Sequence[Any], stage: str) -> Tensor:
        step = self._step_outputs(batch)
        self._stages[stage].update(step)
        return step.loss

    def _log_epoch(self, stage: str) -> dict[str, Tensor]:
        values = self._stages[stage].compute()
        on_bar = {"loss", "jnd", "mae_jnd", "acc"}
        for shown in (True, False):
            self.log_dict(
                {f"{stage}/{k}": v for k, v in values.items() if (k in on_bar) is shown},
                prog_bar=shown,
            )
        return values
