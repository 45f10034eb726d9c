import numpy as np
import pytest
from scipy.stats import binom

from src.evaluation.scoring.intervals import bootstrap_means, interval, least_share


def test_a_share_has_the_interval_of_its_binomial() -> None:
    count, right = 200, 150
    column = (np.arange(count) < right).astype(float)[:, None]
    low, high = interval(bootstrap_means(column, 4000, seed=1)[:, 0])
    expected = binom.ppf([0.025, 0.975], count, right / count) / count
    assert (low, high) == pytest.approx(tuple(expected), abs=0.006)


def test_a_mean_has_the_interval_of_its_standard_error() -> None:
    column = np.random.default_rng(0).normal(3.0, 2.0, (500, 1))
    found = bootstrap_means(column, 4000, seed=1)[:, 0]
    error = column.std() / np.sqrt(500)
    assert found.mean() == pytest.approx(column.mean(), abs=4 * error / np.sqrt(4000))
    low, high = interval(found)
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.06)


def test_the_same_seed_draws_the_same_samples_for_all_columns(monkeypatch) -> None:
    columns = np.random.default_rng(0).normal(size=(50, 2))
    columns[:, 1] = 2 * columns[:, 0]
    found = bootstrap_means(columns, 300, seed=7)
    np.testing.assert_allclose(found[:, 1], 2 * found[:, 0])
    np.testing.assert_array_equal(found, bootstrap_means(columns, 300, seed=7))
    assert not np.array_equal(found, bootstrap_means(columns, 300, seed=8))
    # a part of the resamples at a time
    monkeypatch.setattr("src.evaluation.scoring.intervals._DRAWS_AT_ONCE", 50 * 7)
    np.testing.assert_allclose(found, bootstrap_means(columns, 300, seed=7))


def test_one_sample_and_a_nan() -> None:
    assert interval(bootstrap_means(np.array([[2.5]]), 100, seed=0)[:, 0]) == (2.5, 2.5)
    spoilt = bootstrap_means(np.array([[1.0, 1.0], [np.nan, 2.0]]), 100, seed=0)
    assert np.isnan(interval(spoilt[:, 0])).all()
    assert np.isfinite(interval(spoilt[:, 1])).all()


def test_what_all_right_ones_leave_possible() -> None:
    assert least_share(1) == pytest.approx(0.05)
    assert binom.pmf(30, 30, least_share(30)) == pytest.approx(0.05)
