"""What a number means: the same errors, made by methods that anybody could write in a line.

Each baseline maps the training split to a prediction for each test sample, in parameter units.
A network that does not beat them has learnt nothing that is worth a network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

MAX_TRAINING_SAMPLES = 20_000  # brute-force neighbours in 1024 dimensions: a second, not a minute


@dataclass(frozen=True)
class SplitArrays:
    """One split as arrays.

    Attributes:
        images: Pixels as the network sees them, one row a sample, float32 (N, C*H*W).
        auxiliary: Standardised auxiliary features (N, A), or None.
        values: True values in parameter units (N, P).
    """

    images: Float[np.ndarray, "N D"]
    auxiliary: Float[np.ndarray, "N A"] | None
    values: Float[np.ndarray, "N P"]

    def first(self, count: int) -> SplitArrays:
        """The first samples."""
        auxiliary = None if self.auxiliary is None else self.auxiliary[:count]
        return SplitArrays(self.images[:count], auxiliary, self.values[:count])


def baselines(
    train: SplitArrays, test: SplitArrays, categorical: Sequence[bool]
) -> Iterator[tuple[str, Float[np.ndarray, "N P"]]]:
    """Yields the name and the predictions (N_test, P) of every baseline that applies.

    Those marked "(aux)" see the auxiliary features alone, the nearest neighbour the image alone.

    Args:
        train: What the baselines learn from; of more than 20,000 samples the first are used.
        test: What they are tried on.
        categorical: Whether each parameter is: then its most frequent class stands for the mean.
    """
    train = SplitArrays(
        train.images[:MAX_TRAINING_SAMPLES],
        None if train.auxiliary is None else train.auxiliary[:MAX_TRAINING_SAMPLES],
        train.values[:MAX_TRAINING_SAMPLES],
    )
    name = "most frequent class" if all(categorical) else "always the mean"
    yield name, constant(train.values, categorical, len(test.values))
    yield "nearest image", nearest_neighbours(train.images, train.values, test.images, 1)
    if train.auxiliary is not None and test.auxiliary is not None:
        yield (
            "least squares (aux)",
            least_squares(train.auxiliary, train.values, test.auxiliary),
        )
        yield (
            "3 neighbours (aux)",
            nearest_neighbours(train.auxiliary, train.values, test.auxiliary, 3),
        )


def constant(
    values: Float[np.ndarray, "M P"], categorical: Sequence[bool], count: int
) -> Float[np.ndarray, "{count} P"]:
    """The mean of the training values, of categorical ones the most frequent, for any image."""
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
    """The mean of the values of the nearest training samples (Euclidean distance)."""
    from sklearn.neighbors import KNeighborsRegressor  # a second to import; few runs need it

    model = KNeighborsRegressor(min(neighbours, len(train_values)), algorithm="brute")
    return model.fit(train_features, train_values).predict(test_features)


def least_squares(
    train_features: Float[np.ndarray, "M A"],
    train_values: Float[np.ndarray, "M P"],
    test_features: Float[np.ndarray, "N A"],
) -> Float[np.ndarray, "N P"]:
    """An affine map of the features, fitted by least squares."""
    design = np.column_stack([train_features, np.ones(len(train_features))])
    solution, *_ = np.linalg.lstsq(design, train_values, rcond=None)
    return np.column_stack([test_features, np.ones(len(test_features))]) @ solution
