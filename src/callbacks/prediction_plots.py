"""Predictions to look at and to listen to in TensorBoard while training goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from src.data.preparation import Preparation
from src.data.vimh_datamodule import VIMHDataModule
from src.models.multihead_module import MultiheadLitModule
from src.synth.resynthesis import resynthesise, synthesizer_of
from src.synth.synthesizers import Synthesizer
from src.utils.errors import ConfigError
from src.vimh.parameters import Parameter


@dataclass(frozen=True)
class Predicted:
    """Validation samples and what the network makes of them.

    Attributes:
        images: stored pixels.
        true: true values by parameter, in its unit.
        predicted: predicted values, the same.
        is_sound: whether images are spectrograms, with the lowest frequency in row 0.
    """

    images: UInt8[np.ndarray, "N C H W"]
    true: dict[str, Float[np.ndarray, "N"]]
    predicted: dict[str, Float[np.ndarray, "N"]]
    is_sound: bool = True


class PredictionPlots(Callback):
    """Logs pictures and sounds of predictions at the end of validation.

    A picture for each head (predicted against true value with the band of ±1 JND, and the
    histogram of the errors), the samples that are furthest off, and, of synthesised data sets, the
    target and the resynthesised sound of a few samples. Without a TensorBoard logger and a VIMH
    data module it does nothing.

    Args:
        every_n_epochs: Epochs with validation from one logging to the next; the first counts.
        samples: The most validation samples that are looked at.
        worst: Samples in the grid of the worst.
        sounds: Samples that can be heard.

    Raises:
        ConfigError: If a number is out of range.
    """

    def __init__(
        self, every_n_epochs: int = 10, samples: int = 1024, worst: int = 8, sounds: int = 3
    ) -> None:
        for key, value, least in (
            ("every_n_epochs", every_n_epochs, 1),
            ("samples", samples, 1),
            ("worst", worst, 0),
            ("sounds", sounds, 0),
        ):
            if value < least:
                raise ConfigError(
                    f"prediction_plots.{key} is {value}; it has to be {least} or more"
                )
        self.every_n_epochs = every_n_epochs
        self.samples = samples
        self.worst = worst
        self.sounds = sounds
        self._validations = 0
        self._targets_logged = False

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run has to know: whose turn it is, and what is there already."""
        return {"validations": self._validations, "targets_logged": self._targets_logged}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from :meth:`state_dict`.

        Args:
            state_dict: What it gave.
        """
        self._validations = state_dict["validations"]
        self._targets_logged = state_dict["targets_logged"]

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs, if it is the turn of this epoch.

        Args:
            trainer: Its loggers are written to, its data module read.
            pl_module: What predicts.
        """
        if trainer.sanity_checking or trainer.state.fn is not TrainerFn.FITTING:
            return
        turn = self._validations % self.every_n_epochs == 0
        self._validations += 1
        writers = [
            logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)
        ]
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        if not (turn and writers and trainer.is_global_zero):
            return
        if isinstance(datamodule, VIMHDataModule) and isinstance(pl_module, MultiheadLitModule):
            found = predict_validation(pl_module, datamodule, self.samples)
            if found is None:
                return
            synthesizer = synthesizer_of(datamodule.metadata) if self.sounds else None
            for writer in writers:
                # The step of the epoch's scalars.
                self._log(writer, pl_module, found, synthesizer, trainer.global_step - 1)

    def _log(
        self,
        writer: SummaryWriter,
        module: MultiheadLitModule,
        found: Predicted,
        synthesizer: Synthesizer | None,
        step: int,
    ) -> None:
        parameters = list(module.parameters_by_head.values())
        for p in parameters:
            figure = head_figure(p, found.true[p.name], found.predicted[p.name])
            writer.add_figure(f"predictions/{p.name}", figure, step)
        if self.worst:
            writer.add_figure(
                "predictions/worst", worst_figure(parameters, found, self.worst), step
            )
        if synthesizer is None:
            return
        sets = {"predicted": found.predicted}
        if not self._targets_logged:  # they never change
            sets["target"] = found.true
        for name, values in sets.items():
            few = {key: column[: self.sounds] for key, column in values.items()}
            for number, sound in enumerate(resynthesise(synthesizer, few)):
                writer.add_audio(
                    f"sounds/{number}_{name}",
                    torch.from_numpy(sound)[None],
                    step,
                    sample_rate=synthesizer.sample_rate_hz,
                )
        self._targets_logged = True


@torch.no_grad()
def predict_validation(
    module: MultiheadLitModule, datamodule: VIMHDataModule, limit: int
) -> Predicted | None:
    """Predicts the first validation samples; None where there are none.

    Args:
        module: On any device.
        datamodule: Set up.
        limit: The most samples.
    """
    preparation = module.preparation
    assert isinstance(preparation, Preparation)
    images, normalised, columns = [], [], []
    for raw in datamodule.raw_batches("val", limit=limit):
        pixels, scalars = raw.images.to(module.device), raw.scalars.to(module.device)
        values = module.predict(*preparation(pixels, scalars[:, :2]))
        images.append(raw.images.cpu().numpy())
        normalised.append(raw.scalars[:, 2:].double().cpu().numpy())
        columns.append(torch.stack(list(values.values()), dim=1).double().cpu().numpy())
    if not images:
        return None
    q, predicted = np.concatenate(normalised), np.concatenate(columns)
    heads = module.parameters_by_head
    order = list(datamodule.metadata.parameters)
    return Predicted(
        np.concatenate(images),
        {n: heads[n].dequantise((q[:, order.index(n)] * 255).round()) for n in heads},
        {n: predicted[:, k] for k, n in enumerate(heads)},
        is_sound=datamodule.metadata.sample_rate is not None,
    )


def head_figure(
    parameter: Parameter, true: Float[np.ndarray, "N"], predicted: Float[np.ndarray, "N"]
) -> Figure:
    """Predicted against true value with the band of ±1 JND, and the errors' histogram."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    ends = np.array([parameter.min, parameter.max])
    errors = predicted - true
    left.plot(ends, ends, color="gray", linewidth=1)
    if parameter.step is not None and parameter.is_ordered:
        reach = parameter.tolerance()
        left.fill_between(ends, ends - reach, ends + reach, alpha=0.2, label="±1 JND")
        right.axvspan(-reach, reach, alpha=0.2)
        share = float((np.abs(errors) <= reach).mean())
        right.set_title(f"{100 * share:.1f} % within 1 JND", fontsize=10)
        left.legend(loc="upper left")
    left.scatter(true, predicted, s=6)
    unit = f" [{parameter.unit}]" if parameter.unit else ""
    left.set(xlabel=f"true {parameter.name}{unit}", ylabel=f"predicted{unit}")
    widest = max(float(np.abs(errors).max()), 1e-9 * parameter.range)
    right.hist(errors, bins=41, range=(-widest, widest))
    right.set(xlabel=f"error{unit}", ylabel="samples")
    return figure


def worst_figure(parameters: list[Parameter], found: Predicted, count: int) -> Figure:
    """The samples whose worst head is furthest off, measured in shares of its range."""
    errors = np.stack([np.abs(found.predicted[p.name] - found.true[p.name]) for p in parameters])
    furthest = (errors / np.array([[p.range] for p in parameters])).max(axis=0)
    order = np.argsort(-furthest, kind="stable")[:count]
    columns = min(4, len(order))
    rows = -(-len(order) // columns)
    height = 2.6 + 0.17 * len(parameters)
    figure = Figure(figsize=(3.2 * columns, height * rows), layout="constrained")
    for place, index in enumerate(order):
        axes = figure.add_subplot(rows, columns, place + 1)
        origin: Literal["lower", "upper"] = "lower" if found.is_sound else "upper"
        axes.imshow(found.images[index, 0], vmin=0, vmax=255, cmap="magma", origin=origin)
        axes.set_axis_off()
        lines = (
            f"{p.name} {found.predicted[p.name][index]:.4g}, true {found.true[p.name][index]:.4g}"
            for p in parameters
        )
        axes.set_title("\n".join(lines), fontsize=7)
    return figure
