"""Predictions to look at and to listen to in TensorBoard while training goes on."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Interval
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from torch.utils.tensorboard import SummaryWriter

from src.data.vimh_datamodule import VIMHDataModule
from src.evaluation.presentation.pictures import head_picture, worst_picture
from src.evaluation.scoring.split_predictions import SplitPredictions, predict_split
from src.models.multihead_module import MultiheadLitModule
from src.schema.arguments import check_arguments
from src.schema.bounds import PositiveCount
from src.synth.resynthesis import resynthesise, synthesizer_of
from src.synth.synthesizers import Synthesizer
from src.vimh.metadata import Metadata
from src.vimh.parameters import Parameter


class PredictionPlots(Callback):
    """Log pictures and sounds of predictions at the end of validation.

    A picture for each head shows predicted against true values and errors against true values with
    the band of ±1 JND, and the histogram of the errors; of classes the confusion matrix. Another
    shows the samples with the largest errors. Of synthesised data sets it logs the target and the
    resynthesised sound of a few samples (silence where a prediction is NaN). Without a TensorBoard
    logger and a VIMH data module the callback does nothing.

    Args:
        every_n_epochs: Epochs with validation from one logging to the next; the first counts.
        samples: The most validation samples that are predicted.
        worst: Samples in the picture of the largest errors.
        sounds: Samples with sounds.

    Raises:
        ConfigError: If a number is out of range.
    """

    def __init__(
        self,
        every_n_epochs: PositiveCount = 10,
        samples: PositiveCount = 1024,
        worst: Annotated[int, Interval(ge=0, le=1024)] = 8,
        sounds: Annotated[int, Interval(ge=0, le=1024)] = 3,
    ) -> None:
        given = {
            "every_n_epochs": every_n_epochs,
            "samples": samples,
            "worst": worst,
            "sounds": sounds,
        }
        check_arguments(PredictionPlots, given, "callbacks.prediction_plots")
        self.every_n_epochs = every_n_epochs
        self.samples = samples
        self.worst = worst
        self.sounds = sounds
        self._validations = 0
        self._targets_logged = False

    def state_dict(self) -> dict[str, Any]:
        """Return the number of validations so far, and whether the targets are logged."""
        return {"validations": self._validations, "targets_logged": self._targets_logged}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self._validations = state_dict["validations"]
        self._targets_logged = state_dict["targets_logged"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Build the data set's synthesiser once, so that a refusal comes before training.

        Raises:
            VIMHError: As :func:`~src.synth.resynthesis.synthesizer_of`.
        """
        datamodule = _datamodule(trainer)
        if self.sounds and datamodule is not None:
            synthesizer_of(datamodule.metadata)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log at every ``every_n_epochs``-th validation of a training."""
        if trainer.sanity_checking or trainer.state.fn is not TrainerFn.FITTING:
            return
        turn = self._validations % self.every_n_epochs == 0
        self._validations += 1
        writers = [
            logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)
        ]
        datamodule = _datamodule(trainer)
        if not (turn and writers and trainer.is_global_zero):
            return
        if datamodule is not None and isinstance(pl_module, MultiheadLitModule):
            found = predict_split(pl_module, datamodule, "val", limit=self.samples)
            if found is None:
                return
            parameters = list(pl_module.parameters_by_head.values())
            for writer in writers:
                # The step of the epoch's scalars.
                self._log_pictures(
                    writer, datamodule.metadata, parameters, found, trainer.global_step - 1
                )
            synthesizer = synthesizer_of(datamodule.metadata) if self.sounds else None
            if synthesizer is not None:
                self._log_sounds(writers, synthesizer, parameters, found, trainer.global_step - 1)

    def _log_pictures(
        self,
        writer: SummaryWriter,
        metadata: Metadata,
        parameters: list[Parameter],
        found: SplitPredictions,
        step: int,
    ) -> None:
        for column, p in enumerate(parameters):
            picture = head_picture(p, found.true[:, column], found.predicted[:, column])
            writer.add_figure(f"predictions/{p.name}", picture, step)
        if self.worst:
            worst = worst_picture(metadata, parameters, found, self.worst)
            if worst is not None:
                writer.add_figure("predictions/worst", worst, step)

    def _log_sounds(
        self,
        writers: list[SummaryWriter],
        synthesizer: Synthesizer,
        parameters: list[Parameter],
        found: SplitPredictions,
        step: int,
    ) -> None:
        sets = {"predicted": found.predicted}
        if not self._targets_logged:  # they never change
            sets["target"] = found.true
        for name, values in sets.items():
            few = {p.name: values[: self.sounds, k] for k, p in enumerate(parameters)}
            sounds = resynthesise(synthesizer, few)
            for number, sound in enumerate(np.nan_to_num(sounds)):
                for writer in writers:
                    writer.add_audio(
                        f"sounds/{number}_{name}",
                        torch.from_numpy(sound)[None],
                        step,
                        sample_rate=synthesizer.sample_rate_hz,
                    )
        self._targets_logged = True


def _datamodule(trainer: Trainer) -> VIMHDataModule | None:
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    return datamodule if isinstance(datamodule, VIMHDataModule) else None
