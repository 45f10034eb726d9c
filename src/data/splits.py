"""Which samples train, validate and test."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64, Integer

from src.recordings.groups import GIVEN, SPLIT_KEY, divide_groups
from src.utils.errors import ConfigError
from src.vimh.records import OpenedDataset

STAGES = ("train", "val", "test")
AVIX_SHARE = 0.1
Groups = Integer[np.ndarray, "N"] | None  # of each sample; None: each is its own


@dataclass(frozen=True)
class Splits:
    """Sorted sample numbers of each split; the test file's follow the train file's.

    In AVIX mode the test samples are the validation samples.
    """

    train: Int64[np.ndarray, "N"]
    val: Int64[np.ndarray, "M"]
    test: Int64[np.ndarray, "K"]

    def __getitem__(self, stage: str) -> Int64[np.ndarray, "_"]:
        return {"train": self.train, "val": self.val, "test": self.test}[stage]

    @property
    def sizes(self) -> dict[str, int]:
        """Samples of each split."""
        return {stage: len(self[stage]) for stage in STAGES}


def splits_of(
    opened: OpenedDataset, shares: Sequence[float | int], seed: int, *, own: bool, avix: bool
) -> Splits:
    """Split a data set, whose groups stay whole: in AVIX mode, as its files do, or at random.

    Raises:
        ConfigError: A split gets no sample, or both files are to be joined although the labels of
            the recordings said what trains and tests.
    """
    num_train, num_test = len(opened.train), len(opened.test)
    groups = None
    if opened.train.groups is not None and opened.test.groups is not None:
        groups = np.concatenate([opened.train.groups, opened.test.groups])
    if avix and own:
        raise ConfigError(
            f"data.avix_training_mode is true; expected false: {opened.metadata.dataset_name} has "
            f"a split that its labels gave ({SPLIT_KEY}: {GIVEN}), and AVIX mode joins the files"
        )
    if own:
        groups = None if groups is None else groups[:num_train]
        return file_splits(num_train, num_test, shares[1], seed, groups)
    if avix:
        return avix_splits(num_train + num_test, seed, groups)
    return random_splits(num_train + num_test, shares, seed, groups)


def check_shares(shares: Sequence[float | int]) -> tuple[float, float, float]:
    """Return the three shares as floats.

    Raises:
        ConfigError: They are not three shares that add up to 1.
    """
    wrong = len(shares) != 3 or not all(isinstance(s, int | float) and s >= 0 for s in shares)
    if wrong or abs(sum(shares) - 1) > 1e-6:
        raise ConfigError(
            f"data.train_val_test_split is {list(shares)}; expected three shares of at least 0 "
            "that add up to 1, such as [0.7, 0.2, 0.1]"
        )
    train, val, test = (float(share) for share in shares)
    return train, val, test


def random_splits(
    num_samples: int, shares: Sequence[float | int], seed: int, groups: Groups = None
) -> Splits:
    """Split all samples at random.

    Sizes are the shares rounded down; the rest goes to the largest remainders. A share of 0 gets
    nothing. Groups stay whole: :func:`~src.recordings.groups.divide_groups`.

    Raises:
        ConfigError: A share above 0 gives no sample.

    Example:
        >>> random_splits(72, (0.7, 0.2, 0.1), seed=42).sizes
        {'train': 50, 'val': 15, 'test': 7}
        >>> random_splits(72, (0, 0, 1), seed=42).sizes
        {'train': 0, 'val': 0, 'test': 72}
    """
    if groups is not None:
        return Splits(*_divided(groups, check_shares(shares), seed))
    exact = np.array(check_shares(shares)) * num_samples
    # 0.1 * 30 is 3.0000000000000004: a share that is whole except for rounding counts as whole.
    sizes = np.floor(exact + 1e-6).astype(np.int64)
    for place in np.argsort(sizes - exact, kind="stable")[: num_samples - sizes.sum()]:
        sizes[place] += 1
    for stage, share, size in zip(STAGES, shares, sizes, strict=True):
        if share > 0 and size == 0:
            raise ConfigError(
                f"data.train_val_test_split: a {stage} share of {share:g} of {num_samples} samples "
                "is no sample; use a larger share, 0, or a larger data set"
            )
    train, val, test = np.split(_permutation(num_samples, seed), np.cumsum(sizes)[:-1])
    return Splits(np.sort(train), np.sort(val), np.sort(test))


def file_splits(
    num_train: int, num_test: int, val_share: float | int, seed: int, groups: Groups = None
) -> Splits:
    """Use the files' own split; validation is a seeded share of the train file.

    Groups of the train file's samples stay whole.

    Raises:
        ConfigError: Nothing would be left to train on.
    """
    num_val = max(1, round(val_share * num_train)) if val_share > 0 else 0
    if num_val >= num_train:
        raise ConfigError(
            f"data.train_val_test_split: a validation share of {val_share:g} of the train file's "
            f"{num_train} samples leaves none to train on"
        )
    test = np.arange(num_train, num_train + num_test, dtype=np.int64)
    if groups is not None:
        own_train, own_val = _divided(groups, (1 - val_share, val_share), seed)
        return Splits(own_train, own_val, test)
    order = _permutation(num_train, seed)
    return Splits(np.sort(order[num_val:]), np.sort(order[:num_val]), test)


def avix_splits(num_samples: int, seed: int, groups: Groups = None) -> Splits:
    """Split both files for AVIX mode: a seeded tenth validates and tests; the rest trains.

    Raises:
        ConfigError: There are fewer than two samples.
    """
    if num_samples < 2:
        raise ConfigError(
            f"data.avix_training_mode needs at least two samples, the data set has {num_samples}"
        )
    splits = file_splits(num_samples, 0, AVIX_SHARE, seed, groups)
    return replace(splits, test=splits.val)


def some_of(samples: Int64[np.ndarray, "N"], most: int | None, seed: int) -> Int64[np.ndarray, "M"]:
    """Return a seeded, sorted choice of `most` samples; all of them where there are no more."""
    if most is None or most >= len(samples):
        return samples
    return np.sort(_random(seed).choice(samples, most, replace=False))


def _divided(
    groups: Integer[np.ndarray, "N"], shares: Sequence[float | int], seed: int
) -> list[Int64[np.ndarray, "_"]]:
    count, needed = len(np.unique(groups)), sum(share > 0 for share in shares)
    if count < needed:
        raise ConfigError(
            f"data.train_val_test_split: {needed} splits need a group each, the samples that are "
            f"split have {count}; set a share to 0, or import recordings of more groups"
        )
    return divide_groups(groups, shares, seed)


def _permutation(count: int, seed: int) -> Int64[np.ndarray, "_"]:
    return _random(seed).permutation(count).astype(np.int64)


def _random(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed))
