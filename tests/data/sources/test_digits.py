"""The bundled digits, against scikit-learn's own."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from src.data.sources import Source
from src.data.sources.digits import DigitsSource
from src.vimh.errors import VIMHError
from src.vimh.records import open_dataset


def test_every_digit_is_there_once_and_whole(tmp_path: Path) -> None:
    source = DigitsSource(tmp_path)
    assert isinstance(source, Source)
    source.make()
    data = open_dataset(source.dataset_dir, check="full")
    assert (len(data.train), len(data.test)) == (1438, 359)
    # Classes are bytes: nothing is to be had of exact values.
    assert (data.metadata.raw["version"], data.train.values) == ("2.1", None)
    names = {"train", "test", "vimh_dataset_info.json"}
    assert {path.name for path in source.dataset_dir.iterdir()} == names
    images = np.concatenate([data.train.images[:, 0], data.test.images[:, 0]])
    labels = np.concatenate([data.train.labels[:, 0], data.test.labels[:, 0]])
    theirs = load_digits()
    ours = sorted((label, image.tobytes()) for image, label in zip(images, labels, strict=True))
    expected = (theirs.images * 255 / 16).round().astype(np.uint8)
    assert ours == sorted(
        (label, image.tobytes()) for image, label in zip(expected, theirs.target, strict=True)
    )


def test_order_follows_the_seed(tmp_path: Path) -> None:
    DigitsSource(tmp_path / "a").make()
    DigitsSource(tmp_path / "b").make()
    DigitsSource(tmp_path / "c", seed=7).make()
    a, b, c = (open_dataset(tmp_path / n / "vimh-8x8x1_digits").train.labels[:] for n in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    with pytest.raises(VIMHError, match="made from something else"):
        DigitsSource(tmp_path / "a", seed=7).make()


@pytest.mark.parametrize("seed", [-1, 2**64, 10**40])
def test_a_seed_out_of_range_is_told(tmp_path: Path, seed: int) -> None:
    with pytest.raises(VIMHError, match=rf"data.source.seed must be .*got {seed}"):
        DigitsSource(tmp_path, seed=seed)
