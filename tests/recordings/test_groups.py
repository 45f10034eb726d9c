"""Groups stay whole in every split, and shares are as near as whole groups allow."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from src.data.splits import avix_splits, file_splits, random_splits
from src.recordings.groups import divide_groups
from src.utils.errors import ConfigError

sizes_of_groups = st.lists(st.integers(1, 40), min_size=3, max_size=60)
three_shares = st.tuples(*[st.integers(1, 20)] * 3).map(
    lambda parts: [p / sum(parts) for p in parts]
)
seeds = st.integers(0, 2**32 - 1)


def mixed(sizes: list[int], seed: int) -> np.ndarray:
    """Groups of these sizes, with any numbers as names, in any order."""
    rng = np.random.default_rng(seed)
    names = rng.choice(2**32, len(sizes), replace=False).astype(np.uint32)
    return rng.permutation(np.repeat(names, sizes))


def check_whole(parts: list[np.ndarray], groups: np.ndarray) -> None:
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(groups)))
    names = [set(groups[part].tolist()) for part in parts]
    assert sum(map(len, names)) == len(set(groups.tolist())), "a group is in two parts"
    assert all(np.all(np.diff(part) > 0) for part in parts)


@given(sizes=sizes_of_groups, shares=three_shares, seed=seeds)
@settings(max_examples=150, deadline=None)
def test_no_group_is_torn_and_no_move_of_one_comes_nearer(
    sizes: list[int], shares: list[float], seed: int
) -> None:
    groups = mixed(sizes, seed)
    parts = divide_groups(groups, shares, seed)
    check_whole(parts, groups)
    assert all(len(part) for part in parts)
    lacking = [share * len(groups) - len(part) for share, part in zip(shares, parts, strict=True)]
    assert max(map(abs, lacking)) <= 2 * max(sizes)
    for source, part in enumerate(parts):
        counts = np.unique(groups[part], return_counts=True)[1]
        if len(counts) == 1:
            continue  # its only group has to stay
        for target in {0, 1, 2} - {source}:
            now = abs(lacking[source]) + abs(lacking[target])
            for size in counts.tolist():
                moved = abs(lacking[source] + size) + abs(lacking[target] - size)
                assert moved >= now - 1e-6


@given(sizes=sizes_of_groups, shares=three_shares, seed=seeds)
@settings(max_examples=50, deadline=None)
def test_every_way_to_split_keeps_groups(sizes: list[int], shares: list[float], seed: int) -> None:
    groups = mixed(sizes, seed)
    count = len(groups)
    assume(round(shares[1] * count) < count)  # of the train file; all of it is refused
    both = random_splits(count, shares, seed, groups)
    check_whole([both.train, both.val, both.test], groups)
    avix = avix_splits(count, seed, groups)
    check_whole([avix.train, avix.val], groups)
    np.testing.assert_array_equal(avix.val, avix.test)
    own = file_splits(count, 7, shares[1], seed, groups)
    check_whole([own.train, own.val], groups)
    np.testing.assert_array_equal(own.test, np.arange(count, count + 7))
    again = random_splits(count, shares, seed, groups)
    np.testing.assert_array_equal(both.train, again.train)


def test_groups_are_dealt_at_random() -> None:
    groups = np.repeat(np.arange(100), 3)
    tests = [set(divide_groups(groups, (0.9, 0.1), seed)[1].tolist()) for seed in range(3)]
    assert len(tests[0]) == 30
    assert tests[0] != tests[1] != tests[2]


def test_too_few_groups_are_told() -> None:
    groups = np.array([1, 1, 1, 2, 2], np.uint32)
    with pytest.raises(ConfigError, match=r"3 splits need a group each, the samples .* have 2"):
        random_splits(5, (0.7, 0.2, 0.1), 0, groups)
    assert random_splits(5, (0.6, 0.4, 0.0), 0, groups).sizes == {"train": 3, "val": 2, "test": 0}
    with pytest.raises(ConfigError, match="2 splits need a group each"):
        file_splits(3, 2, 0.1, 0, groups[:3])
