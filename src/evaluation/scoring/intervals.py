"""How much a figure depends on the choice of samples: the bootstrap."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

CONFIDENCE = 0.95
_DRAWS_AT_ONCE = 2**22  # of sample numbers, so that memory does not grow with the resamples


class Estimate(NamedTuple):
    """A figure with its interval."""

    value: float
    low: float
    high: float


def bootstrap_means(
    columns: Float[np.ndarray, "N M"], resamples: int, seed: int
) -> Float64[np.ndarray, "{resamples} M"]:
    """Return means of N samples drawn with replacement, all columns from the same draws.

    B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7 (1979).
    For a column of zeros and ones these are binomial shares.

    The same seed and N give the same draws.

    Example:
        >>> bootstrap_means(np.ones((5, 1)), 3, seed=0).tolist()
        [[1.0], [1.0], [1.0]]
    """
    count = len(columns)
    generator = np.random.Generator(np.random.Philox(key=seed))
    means = np.empty((resamples, columns.shape[1]))
    size = max(1, _DRAWS_AT_ONCE // count)
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        drawn = generator.integers(0, count, (rows, count))
        drawn += np.arange(rows)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        means[start : start + rows] = times @ columns / count
    return means


def interval(replicates: Float64[np.ndarray, "R"]) -> tuple[float, float]:
    """Return the percentile interval of 95 %: NaN where a replicate is NaN.

    Example:
        >>> low, high = interval(np.arange(1001.0))
        >>> round(low), round(high)
        (25, 975)
    """
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(replicates, (tail, 1.0 - tail))
    return float(low), float(high)


def least_share(count: int) -> float:
    """Return the share that `count` right ones of `count` leave possible: ``0.05^(1/count)``.

    The one-sided limit of C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits
    illustrated in the case of the binomial", Biometrika 26 (1934). Resampling can not give one:
    drawn from samples that are all right, every resample is all right.

    Example:
        >>> round(least_share(7), 3)
        0.652
    """
    return float((1.0 - CONFIDENCE) ** (1.0 / count))
