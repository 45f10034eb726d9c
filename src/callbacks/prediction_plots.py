"""Predictions to look at and to listen to in TensorBoard, while training goes on and at the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Interval
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import FSDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from matplotlib.figure import Figure

from src.data.vimh_datamodule import VIMHDataModule
from src.evaluation.presentation.pictures import head_panels, worst_picture
from src.evaluation.scoring.split_predictions import SplitPredictions, predict_split
from src.models.multihead_module import MultiheadLitModule
from src.schema.arguments import check_arguments
from src.schema.bounds import PositiveCount
from src.synth.resynthesis import resynthesise, synthesizer_of
from src.synth.synthesizers import Synthesizer
from src.utils.pylogger import RankedLogger
from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata
from src.vimh.parameters import Parameter

log = RankedLogger(__name__, rank_zero_only=True)


# Where the pictures and the sounds of a split stand in TensorBoard.
_PLACES = {"val": ("predictions", "sounds"), "test": ("final", "final_sounds")}


class PredictionPlots(Callback):
    """Log pictures and sounds of predictions at the end of validation, and of the test.

    Pictures of each head show predicted against true values and errors against true values with
    the band of ±1 JND, and the histogram of the errors; of classes the confusion matrix. Another
    shows the samples with the largest errors. Of synthesised data sets it logs the target and the
    resynthesised sound of a few samples (silence where a prediction is NaN). Without a TensorBoard
    logger and a VIMH data module the callback does nothing.

    Args:
        every_n_epochs: Epochs with validation from one logging to the next; the first counts.
            None: nothing is logged while training.
        at_end: Whether the test samples are shown at the end of the test.
        samples: The most samples that are predicted.
        worst: Samples in the picture of the largest errors.
        sounds: Samples with sounds.

    Raises:
        ConfigError: If a number is out of range.
    """

    def __init__(
        self,
        every_n_epochs: PositiveCount | None = 10,
        at_end: bool = True,
        samples: PositiveCount = 1024,
        worst: Annotated[int, Interval(ge=0, le=1024)] = 8,
        sounds: Annotated[int, Interval(ge=0, le=1024)] = 3,
    ) -> None:
        self.every_n_epochs = every_n_epochs
        self.at_end = at_end
        self.samples = samples
        self.worst = worst
        self.sounds = sounds
        check_arguments(PredictionPlots, vars(self), "callbacks.prediction_plots")
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
        if self.every_n_epochs is not None and self.sounds and datamodule is not None:
            synthesizer_of(datamodule.metadata)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log at every ``every_n_epochs``-th validation of a training."""
        if trainer.sanity_checking or trainer.state.fn is not TrainerFn.FITTING:
            return
        if self.every_n_epochs is None:
            return
        turn = self._validations % self.every_n_epochs == 0
        self._validations += 1
        if turn:
            # The step of the epoch's scalars.
            self._log(trainer, pl_module, "val", trainer.global_step - 1)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the test samples, predicted by the weights that were tested."""
        if self.at_end and not isinstance(trainer.strategy, FSDPStrategy):
            self._log(trainer, pl_module, "test", trainer.global_step)

    def _log(self, trainer: Trainer, module: LightningModule, split: str, step: int) -> None:
        """Log pictures and sounds of a split with every TensorBoard logger."""
        writers = [
            logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)
        ]
        datamodule = _datamodule(trainer)
        if not (writers and trainer.is_global_zero) or datamodule is None:
            return
        if not isinstance(module, MultiheadLitModule):
            return
        found = predict_split(module, datamodule, split, limit=self.samples)
        if found is None:
            return
        parameters = list(module.parameters_by_head.values())
        pictures, sounds = _PLACES[split]
        for tag, picture in self._pictures(datamodule.metadata, parameters, found):
            for writer in writers:
                writer.add_figure(f"{pictures}/{tag}", picture, step)
        synthesizer = self._synthesizer(datamodule, may_refuse=split == "test")
        if synthesizer is None:
            return
        sets = {"predicted": found.predicted}
        if split == "test" or not self._targets_logged:  # they never change
            sets["target"] = found.true
        self._targets_logged |= split == "val"
        for name, values in sets.items():
            few = {p.name: values[: self.sounds, k] for k, p in enumerate(parameters)}
            for number, sound in enumerate(np.nan_to_num(resynthesise(synthesizer, few))):
                for writer in writers:
                    writer.add_audio(
                        f"{sounds}/{number}_{name}",
                        torch.from_numpy(sound)[None],
                        step,
                        sample_rate=synthesizer.sample_rate_hz,
                    )
        for writer in writers:
            writer.flush()

    def _pictures(
        self, metadata: Metadata, parameters: list[Parameter], found: SplitPredictions
    ) -> Iterator[tuple[str, Figure]]:
        for column, p in enumerate(parameters):
            panels = head_panels(p, found.true[:, column], found.predicted[:, column])
            for ending, picture in panels.items():
                yield f"{p.name}{ending}", picture
        worst = worst_picture(metadata, parameters, found, self.worst) if self.worst else None
        if worst is not None:
            yield "worst", worst

    def _synthesizer(self, datamodule: VIMHDataModule, may_refuse: bool) -> Synthesizer | None:
        """Return the data set's synthesiser; None without sounds, or for a refusal that may be."""
        if not self.sounds:
            return None
        try:
            return synthesizer_of(datamodule.metadata)
        except VIMHError as error:
            if not may_refuse:
                raise
            log.info("No sounds in TensorBoard: %s", error)
            return None


def _datamodule(trainer: Trainer) -> VIMHDataModule | None:
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    return datamodule if isinstance(datamodule, VIMHDataModule) else None
