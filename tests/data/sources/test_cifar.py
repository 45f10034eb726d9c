"""CIFAR from archives of the true format, pickled as Python 2 did."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from src.data.sources.cifar import CIFAR10, CIFAR100, DERIVED_CLASSES, VARIANTS, CIFARSource
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError
from src.vimh.records import open_dataset
from tests.fakes import (
    CIFAR10_CLASSES,
    Python2Pickle,
    cifar10_members,
    cifar100_members,
    patterned,
    write_cifar,
    write_tar,
)

HEADS = {
    "cifar10": {"label": 10},
    "multihead_cifar10": {"label": 10, "domain": 2, "mobility": 3, "size": 3},
    "cifar100": {"fine": 100},
    "cifar100_coarse": {"coarse": 20},
    "cifar100mh": {"fine": 100, "coarse": 20},
}


def source(tmp_path: Path, variant: str, root: Path | None) -> CIFARSource:
    return CIFARSource(tmp_path / "vimh", tmp_path / "cache", variant, root)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_cifar(tmp_path_factory.mktemp("originals"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_heads_pixels_and_labels(variant: str, root: Path, tmp_path: Path) -> None:
    made = source(tmp_path, variant, root)
    made.make()
    assert made.dataset_dir.name == f"vimh-32x32x3_{variant}"
    data = open_dataset(made.dataset_dir, check="full")
    parameters = data.metadata.parameters
    assert {name: p.num_classes for name, p in parameters.items()} == HEADS[variant]
    count = 10 if "cifar100" not in variant else 100
    labels = np.arange(100) % count
    assert np.array_equal(data.train.images, patterned(labels, (3, 32, 32)))  # planar R, G, B
    first = data.train.labels[:, 0]
    assert first.tolist() == (labels // 5 if variant == "cifar100_coarse" else labels).tolist()


def test_what_follows_from_the_label(root: Path, tmp_path: Path) -> None:
    made = source(tmp_path, "multihead_cifar10", root)
    made.make()
    records = open_dataset(made.dataset_dir).train
    names = {
        CIFAR10_CLASSES[row[0]]: [
            classes[k] for classes, k in zip(DERIVED_CLASSES.values(), row[1:], strict=True)
        ]
        for row in records.labels
    }
    assert names["frog"] == ["animal", "water", "small"]
    assert names["airplane"] == ["vehicle", "air", "large"]


def test_an_unpacked_folder_is_as_good(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    for name, content in cifar10_members().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for place in (folder, folder / "cifar-10-batches-py"):
        made = source(tmp_path / place.name, "cifar10", place)
        made.make()
        packed = source(tmp_path / "packed", "cifar10", root)
        packed.make()
        ours, theirs = (made.dataset_dir / "train", packed.dataset_dir / "train")
        assert ours.read_bytes() == theirs.read_bytes()


def archive(tmp_path: Path, name: str, **changed: bytes | None) -> Path:
    """CIFAR-10 with members exchanged (or, if None, left out)."""
    members = cifar10_members() if name == CIFAR10.file.name else cifar100_members()
    folder = next(iter(members)).split("/")[0]
    members |= {f"{folder}/{key}": content for key, content in changed.items() if content}
    for key, content in changed.items():
        if content is None:
            del members[f"{folder}/{key}"]
    write_tar(tmp_path / name, members)
    return tmp_path


def batch(**values) -> bytes:
    content = {"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1], **values}
    return Python2Pickle().dump(content)


class Hostile:
    def __reduce__(self):
        return (open, ("/tmp/avix-was-here", "w"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "test_batch is not in cifar-10-batches-py/"),
        (b"", "broken before byte"),
        (batch()[:-40], "broken before byte"),
        (pickle.dumps({"data": Hostile()}, protocol=2), "global .*open is not allowed"),
        (batch(labels=[0]), "1 labels, but 2 images"),
        (batch(labels=[0, 10]), "sample 1 has label 10, expected 0 to 9"),
        (batch(labels=[0, "a"]), "labels has to be a list of whole numbers"),
        (batch(data=np.zeros((2, 3071), np.uint8)), "expected 3072 values a sample"),
        (batch(data=[1, 2]), "expected data of uint8"),
        (Python2Pickle().dump({"labels": [0]}), "key 'data' is missing"),
    ],
)
def test_broken_and_hostile_batches(content: bytes | None, message: str, tmp_path: Path) -> None:
    root = archive(tmp_path, CIFAR10.file.name, test_batch=content)
    if content == b"":
        folder = cifar10_members() | {"cifar-10-batches-py/test_batch": b""}
        write_tar(root / CIFAR10.file.name, folder)
    with pytest.raises(VIMHError, match=message):
        source(tmp_path, "cifar10", root).make()
    assert not Path("/tmp/avix-was-here").exists()
    assert not (tmp_path / "vimh" / "vimh-32x32x3_cifar10").exists()


def test_broken_class_names(tmp_path: Path) -> None:
    meta = Python2Pickle().dump({"fine_label_names": ["a"], "coarse_label_names": ["b"] * 20})
    root = archive(tmp_path, CIFAR100.file.name, meta=meta)
    with pytest.raises(VIMHError, match="fine_label_names holds 1 names, expected 100"):
        source(tmp_path, "cifar100", root).make()
    strange = Python2Pickle().dump({"label_names": ["cow", *CIFAR10_CLASSES[1:]]})
    root = archive(tmp_path, CIFAR10.file.name, **{"batches.meta": strange})
    with pytest.raises(VIMHError, match=r"nothing is known of the classes \['cow'\]"):
        source(tmp_path, "multihead_cifar10", root).make()


def test_a_broken_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / CIFAR10.file.name).write_bytes(b"not an archive")
    with pytest.raises(VIMHError, match=r"cifar-10-python\.tar\.gz: truncated"):
        source(tmp_path, "cifar10", tmp_path).make()


def test_an_unknown_variant_and_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="variant is 'cifar20'; expected one of cifar10"):
        source(tmp_path, "cifar20", None)
    with pytest.raises(ConfigError, match=r"no cifar-10-python\.tar\.gz and no cifar-10-batches"):
        source(tmp_path, "cifar10", tmp_path).make()
