"""A checkpoint on a split: the network beside the baselines, in parameters and in sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Float64

from src.evaluation.scoring.audio_metrics import audio_distances
from src.evaluation.scoring.baselines import baseline_predictions
from src.evaluation.scoring.figures import (
    Figure,
    Measured,
    figures_of,
    joint_figures,
    measure,
    published_figures,
    sample_columns,
    sound_figures,
)
from src.evaluation.scoring.split_predictions import SplitPredictions, first, predict_split
from src.synth.parallel import progress_bar
from src.synth.resynthesis import resynthesise, synthesizer_of
from src.synth.synthesizers import Synthesizer
from src.utils.errors import ConfigError
from src.vimh.metadata import Metadata
from src.vimh.parameters import Parameter

if TYPE_CHECKING:
    from src.build import Built
    from src.data.vimh_datamodule import VIMHDataModule

NETWORK = "network"


@dataclass(frozen=True)
class Evaluation:
    """The predictions of a network and the baselines on a split, measured."""

    metadata: Metadata  # of the data set
    parameters: list[Parameter]  # of the heads, in their order
    found: SplitPredictions  # the samples and the network's predictions
    # By method the predictions (N, P); the network is the first
    predicted: dict[str, Float64[np.ndarray, "N P"]]
    measured: dict[str, Measured]  # by method the figures
    # By method and metric the distance of each resynthesised sound; empty where there are no sounds
    distances: dict[str, dict[str, Float64[np.ndarray, "S"]]]

    @property
    def num_sounds(self) -> int:
        """Number of sounds that were compared."""
        return len(next(iter(self.distances[NETWORK].values()))) if self.distances else 0

    @property
    def figures(self) -> list[Figure]:
        """All figures, in the order of the report."""
        own = [figure for p in self.parameters for figure in figures_of(p)]
        sounds = sound_figures() + published_figures() if self.distances else []
        return own + joint_figures(self.parameters) + sounds

    @property
    def not_better(self) -> dict[str, list[Figure]]:
        """By baseline the figures in which the network is not better beyond chance."""
        network = self.measured[NETWORK]
        compared = [figure for figure in self.figures if figure.better]
        return {
            method: [figure for figure in compared if not network.beats(other, figure)]
            for method, other in self.measured.items()
            if method != NETWORK
        }


def evaluate_split(
    built: Built,
    split: str,
    trained_on: VIMHDataModule | None = None,
    *,
    sounds: int,
    resamples: int,
    seed: int,
    count: int | None = None,
    progress: bool = False,
) -> Evaluation:
    """Predict a split, measure and resynthesise.

    Args:
        built: The data module and the module, on any device; it is left on the CPU.
        split: "val" or "test"; there are samples in it.
        trained_on: The data whose training split the baselines learn from; None: ``built``'s own.
        sounds: The most samples to resynthesise, chosen by the seed; 0: none.
        resamples: Of the bootstrap.
        seed: Of the bootstrap and of the choice.
        count: How many of the first samples; None: all.
        progress: Whether to show a progress bar while sounds are compared.

    Raises:
        ConfigError: If a number is out of range, or two figures have one name.
        VIMHError: If the sounds cannot be made or compared.
    """
    if sounds < 0 or resamples < 1:
        raise ConfigError(
            f"report.sounds is {sounds} and report.resamples {resamples}; expected 0 or more and "
            "1 or more"
        )
    metadata = built.datamodule.metadata
    parameters = list(metadata.parameters.values())
    refuse_collisions([f for p in parameters for f in figures_of(p)] + joint_figures(parameters))
    found = predict_split(built.model.eval(), built.datamodule, split)
    assert found is not None, "an empty split"
    built.model.cpu()
    if count is not None:
        found = first(found, count)
    guessed = baseline_predictions(built.model, trained_on or built.datamodule, found)
    predicted = {NETWORK: found.predicted, **guessed}
    columns = {m: sample_columns(own, found.true, parameters) for m, own in predicted.items()}
    measured = measure(columns, parameters, resamples, seed)
    distances = {}
    synthesizer = synthesizer_of(metadata) if sounds else None
    if synthesizer is not None:
        few = choice(len(found), sounds, seed)
        chosen = {method: own[few] for method, own in predicted.items()}
        distances = sound_distances(synthesizer, parameters, found.true[few], chosen, progress)
        heard = measure(distances, [], resamples, seed)
        measured = {method: own | heard[method] for method, own in measured.items()}
    return Evaluation(metadata, parameters, found, predicted, measured, distances)


def refuse_collisions(figures: Sequence[Figure]) -> None:
    """Refuse figures of one name: one would overwrite the other.

    Raises:
        ConfigError: If two groups have a figure of the same name; names both.
    """
    groups: dict[str, str] = {}
    for figure in figures:
        other = groups.setdefault(figure.name, figure.group)
        if other != figure.group:
            raise ConfigError(
                f"{other!r} and {figure.group!r} would both have a figure called {figure.name!r}, "
                "and one would overwrite the other: give the parameter another name in the data set"
            )


def choice(count: int, wanted: int, seed: int) -> np.ndarray:
    """Choose at most so many of the samples, in their order."""
    order = np.random.Generator(np.random.Philox(key=seed))
    return np.sort(order.choice(count, min(count, wanted), replace=False))


def sound_distances(
    synthesizer: Synthesizer,
    parameters: list[Parameter],
    true: Float64[np.ndarray, "S P"],
    predicted: Mapping[str, Float64[np.ndarray, "S P"]],
    progress: bool = False,
) -> dict[str, dict[str, Float64[np.ndarray, "S"]]]:
    """Compute the distances of the sounds of predicted values to those of the true ones.

    Noise that a recipe adds to its sounds is on neither side: it is no parameter, and the same
    noise on both would hide differences. Noise that a synthesiser is excited by is part of it.
    """

    def rendered(values: Float64[np.ndarray, "S P"]) -> Float32[np.ndarray, "S T"]:
        columns = {p.name: values[:, column] for column, p in enumerate(parameters)}
        return resynthesise(synthesizer, columns)

    sounds = {method: rendered(values) for method, values in predicted.items()}
    with progress_bar(progress) as advance:
        return audio_distances(rendered(true), sounds, synthesizer.sample_rate_hz, advance)
