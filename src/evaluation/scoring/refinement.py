"""A network's values with a synthesiser fitted from them, beside the same without the network."""

from copy import copy
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from src.evaluation.scoring.evaluation import NETWORK, Evaluation, choice, sound_distances
from src.evaluation.scoring.figures import measure, sample_columns
from src.evaluation.scoring.refiners import refined_values
from src.evaluation.scoring.split_predictions import rows_of
from src.refining.refiner import Refined, Refiner
from src.synth.parallel import progress_bar
from src.synth.resynthesis import resynthesise

REFINED, UNAIDED = "refined", "random start + refined"


@dataclass(frozen=True)
class Refinement:
    """Some sounds of a split, refined: from the network's values, and from anywhere.

    Attributes:
        evaluation: of these sounds alone: the network, both ways of refining, the baselines.
        refined: by method, what became of each sound; None of a silent one, and where the network's
            values are no numbers.
    """

    evaluation: Evaluation
    refined: dict[str, list[Refined | None]]

    def converged(self, method: str) -> int:
        """Return the number of sounds that converged."""
        return sum(found is not None and found.converged for found in self.refined[method])


def refine_split(
    evaluation: Evaluation,
    refiner: Refiner,
    *,
    limit: int,
    resamples: int,
    seed: int,
    progress: bool = True,
) -> Refinement:
    """Refine some sounds of an evaluation, and measure all its methods on them again.

    The sound of the true values is the target. Each search that starts anywhere has as many renders
    as the one from the network's values took. A sound that does not converge keeps the values it
    began with: the network's; without a network the best found.

    Args:
        evaluation: of a synthesised split.
        refiner: of its synthesiser.
        limit: the most sounds, chosen by the seed.
        resamples: of the bootstrap.
        seed: of the bootstrap and of the choice.
        progress: whether to show a progress bar.
    """
    few = choice(len(evaluation.found), limit, seed)
    found, parameters = rows_of(evaluation.found, few), evaluation.parameters
    names = [p.name for p in parameters]
    columns = dict(zip(names, found.true.T, strict=True))
    targets = resynthesise(refiner.synthesizer, columns)
    refined: dict[str, list[Refined | None]] = {REFINED: [], UNAIDED: []}
    with progress_bar(progress) as advance:
        for number, (sound, values) in enumerate(zip(targets, found.predicted, strict=True)):
            start = dict(zip(names, values.tolist(), strict=True))
            aided = refined_values(refiner, sound, start)
            refined[REFINED].append(aided)
            unaided = copy(refiner)
            if aided is not None:
                unaided.max_renders = aided.renders
            refined[UNAIDED].append(refined_values(unaided, sound, None))
            advance("refining", number + 1, len(few))
    predicted = {NETWORK: found.predicted}
    for method, results in refined.items():
        predicted[method] = _values(results, names, found.predicted)
    predicted |= {m: own[few] for m, own in evaluation.predicted.items() if m != NETWORK}
    columns = {m: sample_columns(own, found.true, parameters) for m, own in predicted.items()}
    distances = sound_distances(refiner.synthesizer, parameters, found.true, predicted)
    heard = measure(distances, [], resamples, seed)
    measured = {
        method: own | heard[method]
        for method, own in measure(columns, parameters, resamples, seed).items()
    }
    own = replace(
        evaluation, found=found, predicted=predicted, measured=measured, distances=distances
    )
    return Refinement(own, refined)


def _values(
    results: list[Refined | None], names: list[str], otherwise: Float64[np.ndarray, "S P"]
) -> Float64[np.ndarray, "S P"]:
    """Return the values of each sound, of one that was not refined the network's."""
    return np.array(
        [
            row if found is None else [found.values[name] for name in names]
            for found, row in zip(results, otherwise, strict=True)
        ]
    ).reshape(otherwise.shape)
