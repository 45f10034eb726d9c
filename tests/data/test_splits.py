import numpy as np
import pytest

from src.data.splits import avix_splits, file_splits, random_splits
from src.utils.errors import ConfigError


@pytest.mark.parametrize("total", [10, 72, 999, 16384])
def test_random_splits_part_all_samples(total: int) -> None:
    splits = random_splits(total, (0.7, 0.2, 0.1), seed=42)
    together = np.concatenate([splits.train, splits.val, splits.test])
    np.testing.assert_array_equal(np.sort(together), np.arange(total))
    for size, share in zip(splits.sizes.values(), (0.7, 0.2, 0.1), strict=True):
        assert abs(size - share * total) < 1


def test_random_splits_are_random_seeded_and_no_others() -> None:
    first, same, other = (random_splits(1000, (0.5, 0.3, 0.2), seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.train, same.train)
    assert not np.array_equal(first.train, other.train)
    assert 300 < np.mean(first.test) < 700  # no tail of the file


@pytest.mark.parametrize(
    ("shares", "sizes"),
    [((0, 0, 1), (0, 0, 30)), ((1, 0, 0), (30, 0, 0)), ((0.9, 0.1, 0), (27, 3, 0))],
)
def test_shares_of_zero_get_nothing(shares: tuple[float, ...], sizes: tuple[int, ...]) -> None:
    assert tuple(random_splits(30, shares, seed=0).sizes.values()) == sizes


@pytest.mark.parametrize(
    "shares", [(0.7, 0.2), (0.7, 0.2, 0.2), (1.1, -0.1, 0), (float("nan"), 1, 0)]
)
def test_shares_must_be_of_one_whole(shares: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="train_val_test_split"):
        random_splits(100, shares, seed=0)


def test_a_share_that_is_no_sample_is_told() -> None:
    with pytest.raises(ConfigError, match=r"test share of 0\.1 of 3 samples"):
        random_splits(3, (0.6, 0.3, 0.1), seed=0)


def test_the_files_own_split_never_validates_on_the_test_file() -> None:
    splits = file_splits(num_train=40, num_test=10, val_share=0.2, seed=0)
    assert splits.sizes == {"train": 32, "val": 8, "test": 10}
    np.testing.assert_array_equal(splits.test, np.arange(40, 50))
    np.testing.assert_array_equal(np.sort([*splits.train, *splits.val]), np.arange(40))
    assert file_splits(40, 10, 0.0, seed=0).sizes["val"] == 0
    assert file_splits(40, 10, 0.001, seed=0).sizes["val"] == 1


def test_the_train_file_cannot_all_validate() -> None:
    with pytest.raises(ConfigError, match="leaves none to train on"):
        file_splits(num_train=4, num_test=1, val_share=1.0, seed=0)


@pytest.mark.parametrize(("total", "held_out"), [(72, 7), (5, 1), (2, 1)])
def test_avix_mode_holds_out_a_tenth(total: int, held_out: int) -> None:
    splits = avix_splits(total, seed=3)
    assert splits.sizes == {"train": total - held_out, "val": held_out, "test": held_out}
    np.testing.assert_array_equal(splits.val, splits.test)
    assert not set(splits.train) & set(splits.val)


def test_avix_mode_needs_two_samples() -> None:
    with pytest.raises(ConfigError, match="at least two"):
        avix_splits(1, seed=0)
