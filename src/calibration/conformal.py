"""Split conformal prediction: quantiles and p-values of the scores of held-out samples.

V. Vovk, A. Gammerman, G. Shafer, "Algorithmic learning in a random world" (2005): where n samples
and a new one can change places, the new one's score is at most the k-th smallest of the n with a
probability of at least k/(n + 1), whatever the model and the scores are.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

MOST = 1024  # scores that are kept
_WHOLE = 1e-9  # what (n + 1)·confidence may be above a whole number by rounding alone


def ranks(count: int, kept: int) -> Int64[Tensor, "{kept}"]:
    """Return which of `count` sorted scores, from 1, the `kept` ones are; the last is the largest.

    Example:
        >>> ranks(10, 4).tolist()
        [3, 5, 8, 10]
    """
    return -((-torch.arange(1, kept + 1) * count) // kept)


def kept_scores(scores: Float[Tensor, "N P"], most: int = MOST) -> Float[Tensor, "M P"]:
    """Sort each column, and keep `most` evenly spaced ranks of it: all where there are no more.

    Example:
        >>> kept_scores(torch.tensor([[3.0], [1.0], [2.0], [4.0]]), most=2).flatten().tolist()
        [2.0, 4.0]
    """
    count = len(scores)
    return scores.sort(dim=0).values[ranks(count, min(most, count)) - 1]


def needed(confidence: float) -> int:
    """Return the fewest samples that a confidence can be had from: ``confidence / (1 − it)``.

    Example:
        >>> needed(0.9), needed(0.95)
        (9, 19)
    """
    return math.ceil(confidence / (1.0 - confidence) - _WHOLE)


def quantile(kept: Float[Tensor, "M"], count: int, confidence: float) -> float:
    """Return the score that a new sample does not exceed, with a confidence.

    The k-th smallest of `count` scores with ``k = ceil((count + 1)·confidence)``; where that rank
    was not kept the next one above it, which is larger; infinite where k is more than `count`.

    Args:
        kept: What :func:`kept_scores` kept of one column.
        count: The scores that there were.
        confidence: In 0…1.

    Example:
        >>> scores = torch.arange(1.0, 20.0)  # 19 of them
        >>> [quantile(scores, 19, confidence) for confidence in (0.9, 0.95, 0.96)]
        [18.0, 19.0, inf]
    """
    rank = math.ceil((count + 1) * confidence - _WHOLE)
    if rank > count:
        return math.inf
    place = torch.searchsorted(ranks(count, len(kept)), max(rank, 1))
    return float(kept[place])


def p_values(count: int, kept: int) -> Float[Tensor, "{kept}+1"]:
    """Return the p-value of a new score by how many of the kept ones are below it.

    ``(1 + m)/(count + 1)`` with m the number of scores that are no smaller; where ranks were left
    out the most that there may be.

    Example:
        >>> p_values(3, 3).tolist()
        [1.0, 0.75, 0.5, 0.25]
    """
    below = torch.cat([torch.zeros(1, dtype=torch.int64), ranks(count, kept)])
    return ((1 + count - below) / (count + 1)).float()
