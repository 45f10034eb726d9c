"""Simple methods whose errors show what a network's errors are worth.

Each baseline maps the training split to a prediction for each test sample, in parameter units.
A network that does not beat them is not worth its training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from src.evaluation.scoring.split_predictions import SplitArrays, first, split_arrays
from src.vimh.parameters import ParameterSpace

if TYPE_CHECKING:
    from src.data.vimh_datamodule import VIMHDataModule
    from src.models.multihead_module import MultiheadLitModule

MAX_TRAINING_SAMPLES = 20_000  # brute-force neighbours in 1024 dimensions: a second, not a minute


def baseline_predictions(
    model: MultiheadLitModule, trained_on: VIMHDataModule, tried: SplitArrays
) -> dict[str, Float[np.ndarray, "N P"]]:
    """Predict samples with every baseline, by name; none where there is nothing to learn from."""
    if trained_on.get_dataset_info()["split_sizes"]["train"] == 0:
        return {}
    parameters = list(model.parameters_by_head.values())
    categorical, codec = [p.is_categorical for p in parameters], ParameterSpace(parameters).codec
    train = split_arrays(model, trained_on, "train", limit=MAX_TRAINING_SAMPLES)
    # Means of what is evenly spaced: where the spacing is log, of logarithms.
    train = replace(train, true=codec.to_axis(train.true))
    return {
        name: codec.from_axis(predicted) for name, predicted in baselines(train, tried, categorical)
    }


def baselines(
    train: SplitArrays, test: SplitArrays, categorical: Sequence[bool]
) -> Iterator[tuple[str, Float[np.ndarray, "N P"]]]:
    """Yield the name and the predictions (N_test, P) of every baseline that applies.

    Those marked "(aux)" see the auxiliary features alone, the nearest neighbour the image alone.
    Of more than 20,000 training samples the first are used. Of a categorical parameter the most
    frequent class stands for the mean, also among neighbours, and least squares fit an indicator of
    each class.
    """
    train = first(train, MAX_TRAINING_SAMPLES)
    name = "most frequent class" if all(categorical) else "always the mean"
    yield name, constant(train.true, categorical, len(test.true))
    yield "nearest image", nearest_neighbours(train.inputs, train.true, test.inputs, 1)
    if train.auxiliary is not None and test.auxiliary is not None:
        columns, elect = votes(train.true, categorical)
        fitted = least_squares(train.auxiliary, columns, test.auxiliary)
        yield "least squares (aux)", elect(fitted)
        means = nearest_neighbours(train.auxiliary, columns, test.auxiliary, 3)
        yield "3 neighbours (aux)", elect(means)


def votes(
    values: Float[np.ndarray, "M P"], categorical: Sequence[bool]
) -> tuple[Float[np.ndarray, "M E"], Callable[[np.ndarray], np.ndarray]]:
    """Give each class a column of its own, 1 where it is the sample's: a mean of classes is none.

    The columns of other parameters stay as they are.

    Returns:
        The columns, and what takes predictions (N, E) of them to (N, P): the class with the most.

    Example:
        >>> columns, elect = votes(np.array([[2.0, 0.5], [7.0, 0.1]]), [True, False])
        >>> columns.tolist()
        [[1.0, 0.0, 0.5], [0.0, 1.0, 0.1]]
        >>> elect(np.array([[0.3, 0.4, 0.2]])).tolist()
        [[7.0, 0.2]]
    """
    classes = [
        np.unique(column) if has_classes else None
        for column, has_classes in zip(values.T, categorical, strict=True)
    ]
    parts = [
        column[:, None] if own is None else (column[:, None] == own).astype(float)
        for column, own in zip(values.T, classes, strict=True)
    ]
    ends = np.cumsum([part.shape[1] for part in parts])[:-1]

    def elect(predicted: Float[np.ndarray, "N E"]) -> Float[np.ndarray, "N P"]:
        split = zip(np.split(predicted, ends, axis=1), classes, strict=True)
        found = [part[:, 0] if own is None else own[part.argmax(axis=1)] for part, own in split]
        return np.column_stack(found)

    return np.hstack(parts), elect


def constant(
    values: Float[np.ndarray, "M P"], categorical: Sequence[bool], count: int
) -> Float[np.ndarray, "{count} P"]:
    """Predict the mean of the training values, or the most frequent class, for any image."""
    guesses = values.mean(axis=0)
    for column in np.flatnonzero(categorical):
        classes, counts = np.unique(values[:, column], return_counts=True)
        guesses[column] = classes[counts.argmax()]
    return np.tile(guesses, (count, 1))


def nearest_neighbours(
    train_features: Float[np.ndarray, "M D"],
    train_values: Float[np.ndarray, "M P"],
    test_features: Float[np.ndarray, "N D"],
    neighbours: int,
) -> Float[np.ndarray, "N P"]:
    """Predict the mean of the values of the nearest training samples (Euclidean distance)."""
    from sklearn.neighbors import KNeighborsRegressor  # a second to import; few runs need it

    model = KNeighborsRegressor(min(neighbours, len(train_values)), algorithm="brute")
    return model.fit(train_features, train_values).predict(test_features)


def least_squares(
    train_features: Float[np.ndarray, "M A"],
    train_values: Float[np.ndarray, "M P"],
    test_features: Float[np.ndarray, "N A"],
) -> Float[np.ndarray, "N P"]:
    """Predict by an affine map of the features, fitted by least squares."""
    design = np.column_stack([train_features, np.ones(len(train_features))])
    solution, *_ = np.linalg.lstsq(design, train_values, rcond=None)
    return np.column_stack([test_features, np.ones(len(test_features))]) @ solution
