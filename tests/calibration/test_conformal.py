"""Quantiles and p-values against their definitions, and coverage on seeded draws."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import binom

from src.calibration.conformal import kept_scores, needed, p_values, quantile, ranks


def by_definition(scores: list[float], confidence: float) -> float:
    """The smallest score whose share of n + 1 is the confidence; infinite where none has it."""
    ordered = sorted(scores)
    for place, score in enumerate(ordered):
        if (place + 1) / (len(scores) + 1) >= confidence - 1e-12:
            return score
    return math.inf


@pytest.mark.parametrize("count", [1, 2, 9, 10, 99, 100, 333, 1024])
def test_the_quantile_is_the_definitions(count: int) -> None:
    scores = torch.from_numpy(np.random.default_rng(count).random(count))
    kept = kept_scores(scores[:, None])[:, 0]
    assert len(kept) == count
    for confidence in (0.01, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 1 / 3, count / (count + 1)):
        assert quantile(kept, count, confidence) == by_definition(scores.tolist(), confidence)


@pytest.mark.parametrize("count", [1025, 5000, 100_003])
def test_of_many_scores_the_next_rank_that_was_kept(count: int) -> None:
    scores = torch.from_numpy(np.random.default_rng(count).random(count))
    kept = kept_scores(scores[:, None])[:, 0]
    assert len(kept) == 1024
    ordered = scores.sort().values
    assert kept[-1] == ordered[-1]
    for confidence in (0.1, 0.8, 0.9, 0.95, 0.999):
        exact = by_definition(scores.tolist(), confidence)
        found = quantile(kept, count, confidence)
        place = int(torch.searchsorted(ordered, found))
        assert exact <= found
        assert place - int(torch.searchsorted(ordered, exact)) <= count / 1024 + 1


def test_ranks_rise_to_the_last() -> None:
    for count, kept in ((1, 1), (7, 7), (8, 7), (10_000, 1024)):
        found = ranks(count, kept).tolist()
        assert found[-1] == count
        assert all(a < b for a, b in pairwise([0, *found]))


@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.95, 0.99])
def test_fewer_samples_than_needed_give_no_quantile(confidence: float) -> None:
    least = needed(confidence)
    assert by_definition([1.0] * least, confidence) == 1.0
    assert by_definition([1.0] * (least - 1), confidence) == math.inf
    for count, found in ((least, 1.0), (least - 1, math.inf)):
        assert quantile(torch.ones(count), count, confidence) == found


def test_coverage_is_the_confidence() -> None:
    """Of 1,000 calibrations of 199 samples with a new one each: within the binomial interval."""
    scores = torch.from_numpy(np.abs(np.random.default_rng(1).standard_t(3, (200, 1000))))
    kept, new = kept_scores(scores[:199]), scores[199]
    for confidence in (0.8, 0.9, 0.95):
        ends = [quantile(column, 199, confidence) for column in kept.unbind(1)]
        count = int((new <= torch.tensor(ends, dtype=torch.float64)).sum())
        low, high = binom.interval(0.99, 1000, confidence)
        assert low <= count <= high, (confidence, count)


@pytest.mark.parametrize("count", [1, 5, 150, 1024, 3000])
def test_p_values_are_shares_of_scores_that_are_no_smaller(count: int) -> None:
    rng = np.random.default_rng(count)
    scores = torch.from_numpy(rng.random(count))
    kept = kept_scores(scores[:, None])[:, 0]
    table = p_values(count, len(kept))
    for new in (-1.0, 0.3, 0.97, 0.995, 2.0, float(kept[len(kept) // 2])):
        exact = (1 + int((scores >= new).sum())) / (count + 1)
        found = float(table[int((kept < new).sum())])
        slack = 0.0 if count <= 1024 else 1 / 1024 + 2 / count
        assert exact - 1e-6 <= found <= exact + slack + 1e-6
