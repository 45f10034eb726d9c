"""A data set's files as arrays: opened as a memory map, checked, gathered by the batch.

Opening reads the metadata, the sizes of the files and a fixed number of record headers, whatever
the size of the data set. `DatasetWriter` (writer.py) writes a data set.
"""

import hashlib
import mmap
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, Integer, UInt8

from src.vimh.errors import VIMHError
from src.vimh.layout import (
    NO_SCALE_FACTORS,
    RecordLayout,
    check_headers,
    check_values,
    find_layout,
    record_dtype,
)
from src.vimh.metadata import METADATA_FILE, Metadata
from src.vimh.pickles import MAX_PICKLE_BYTES, PICKLE_SUFFIX, read_pickle
from src.vimh.plain import is_regular_file, shown
from src.vimh.writer import DatasetWriter, recipe_hash

__all__ = [
    "Check",
    "DatasetWriter",
    "OpenedDataset",
    "Records",
    "check_dataset",
    "open_dataset",
    "recipe_hash",
    "record_dtype",
]

Check = Literal["fast", "full"]
_CHUNK_BYTES = 16 * 2**20


class Records:
    """The samples of one file, read-only.

    A binary file is mapped, never read as a whole; a pickled one is held in memory. Pickling a
    `Records` keeps only its path and metadata; the other process opens the file again.

    Attributes:
        path: The file, absolute.
        metadata: The metadata of its data set.
        layout: The layout of its records.
    """

    def __init__(
        self, path: Path, metadata: Metadata, layout: RecordLayout, items: np.ndarray
    ) -> None:
        """Hold the records; use `Records.open`.

        Args:
            path: The file, absolute.
            metadata: The metadata of its data set.
            layout: The layout of its records.
            items: The records, (N,) of `layout.item_dtype`.
        """
        self.path = path
        self.metadata = metadata
        self.layout = layout
        self._records = items.view(layout.dtype)
        # One item an image and one a header: a fancy index on them is one memcpy a sample, images
        # straight into a contiguous batch, with no copy of whole records in between.
        self._images = items["image"]
        self._headers = items["header"]
        self._label_columns = np.array(layout.label_columns(metadata.parameter_ids), dtype=np.intp)

    def __len__(self) -> int:
        return len(self._records)

    def __repr__(self) -> str:
        return f"Records({str(self.path)!r}, {len(self)} samples of {self.layout.size_text})"

    def __reduce__(self) -> tuple[object, tuple[Path, Metadata, int]]:
        return _reopen, (self.path, self.metadata, len(self))

    @property
    def has_scale_factors(self) -> bool:
        """Whether the records hold scale factors."""
        return self.layout.has_scale_factors

    @property
    def images(self) -> UInt8[np.ndarray, "N C H W"]:
        """All images: a view of the file, so its samples are `layout.record_size` bytes apart."""
        return np.asarray(self._records["pixels"])

    @cached_property
    def labels(self) -> UInt8[np.ndarray, "N P"]:
        """All quantised values, in the order of `metadata.parameters`.

        A view of the file where its ids are in that order, else collected at first use.
        """
        values = np.asarray(self._records["parameters"][:, :, 1])
        if self.layout.ids == self.metadata.parameter_ids:
            return values
        return values[:, [self.layout.ids.index(i) for i in self.metadata.parameter_ids]]

    @property
    def scale_factors(self) -> Float32[np.ndarray, "N 2"]:
        """`spec_min` and `spec_max` of all samples in dB, a view; 0 and 255 if there are none."""
        if self.has_scale_factors:
            return np.asarray(self._records["scale_factors"])
        return np.broadcast_to(np.array(NO_SCALE_FACTORS, dtype=np.float32), (len(self), 2))

    def gather(
        self, indices: Integer[np.ndarray, "B"]
    ) -> tuple[UInt8[np.ndarray, "B C H W"], UInt8[np.ndarray, "B P"], Float32[np.ndarray, "B 2"]]:
        """Copy a batch out of the file: images, labels and scale factors, contiguous and writable.

        Args:
            indices: Samples, in any order, with repetitions if wanted.

        Raises:
            IndexError: An index is beyond the file.
        """
        images = self._images[indices].view(np.uint8).reshape(-1, *self.layout.image_shape)
        headers = self._headers[indices].view(np.uint8).reshape(-1, self.layout.header_size)
        labels = headers.take(self._label_columns, axis=1)
        if self.has_scale_factors:
            scale_factors = headers[:, 6:14].copy().view("<f4")
        else:
            scale_factors = np.full((len(headers), 2), NO_SCALE_FACTORS, dtype=np.float32)
        return images, labels, scale_factors

    @classmethod
    def open(
        cls,
        path: str | Path,
        metadata: Metadata,
        check: Check = "fast",
        max_pickle_bytes: int = MAX_PICKLE_BYTES,
    ) -> "Records":
        """Open `train`, `test`, `train_batch` or `test_batch` of a data set.

        Args:
            path: The file. A name that ends in `_batch` is a pickle.
            metadata: Metadata of its data set.
            check: "fast": sizes, the first and last record and 16 between them. "full": every
                record and the checksum, in constant memory (a pickle is in memory anyway).
            max_pickle_bytes: Largest pickle that is read into memory.

        Raises:
            VIMHError: The file is missing or anything in it does not fit.
        """
        path = Path(os.path.abspath(path))
        if check not in ("fast", "full"):
            raise VIMHError(f"check must be 'fast' or 'full', found {check!r}")
        if not is_regular_file(path):
            raise VIMHError(f"{path}: there is no such file")
        if path.name.endswith(PICKLE_SUFFIX):
            records = cls._open_pickle(path, metadata, check, max_pickle_bytes)
        else:
            records = cls._open_binary(path, metadata, check)
        split = path.name.removesuffix(PICKLE_SUFFIX)
        expected = {"train": metadata.train_samples, "test": metadata.test_samples}.get(split)
        if expected is not None and expected != len(records):
            raise VIMHError(
                f"{path}: key '{split}_samples' of {METADATA_FILE} says {expected}, the file holds "
                f"{len(records)} samples"
            )
        return records

    @classmethod
    def _open_binary(cls, path: Path, metadata: Metadata, check: Check) -> "Records":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            size = os.fstat(descriptor).st_size
            layout = find_layout(path, descriptor, size, metadata)
            if check == "full":
                _check_all_records(path, descriptor, size, layout, metadata)
            if size == 0:  # cannot be mapped
                return cls(path, metadata, layout, np.empty(0, dtype=layout.item_dtype))
            # mapped only now that the size is known to be a whole number of records
            mapped = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
        return cls(path, metadata, layout, np.frombuffer(mapped, dtype=layout.item_dtype))

    @classmethod
    def _open_pickle(
        cls, path: Path, metadata: Metadata, check: Check, max_bytes: int
    ) -> "Records":
        if check == "full":
            _check_digest(path, _digest(path), metadata)
        layout, contents = read_pickle(path, metadata, max_bytes)
        records = cls(path, metadata, layout, contents.view(layout.item_dtype))
        if check == "full":
            check_values(path, metadata.parameters, records.labels, records.scale_factors, 0)
        return records


@dataclass(frozen=True)
class OpenedDataset:
    """An opened data set.

    Attributes:
        metadata: What the JSON says.
        train: The samples of `train`.
        test: The samples of `test`.
    """

    metadata: Metadata
    train: Records
    test: Records


def open_dataset(dataset_dir: str | Path, check: Check = "fast") -> OpenedDataset:
    """Open a data set; prefer the binary to the pickled variant where both are there.

    Args:
        dataset_dir: The directory with `vimh_dataset_info.json`.
        check: "fast" (the same cost at any size) or "full" (reads all of it).

    Raises:
        VIMHError: Something is missing or does not fit.
    """
    dataset_dir = Path(dataset_dir)
    if not os.path.isdir(dataset_dir):  # False also for a name that is too long
        raise VIMHError(f"{dataset_dir}: there is no such data set directory")
    metadata = Metadata.load(dataset_dir)
    train, test = (
        Records.open(_data_file(dataset_dir, split), metadata, check) for split in ("train", "test")
    )
    return OpenedDataset(metadata, train, test)


def check_dataset(dataset_dir: str | Path) -> OpenedDataset:
    """Check all of a data set: every record, checksums, label ranges, and pickle against binary.

    Compare a pickle with the binary file beside it sample by sample up to 1 GiB, the largest pickle
    that is read into memory; check only the checksum of a larger one.

    Raises:
        VIMHError: Something does not fit; the message names the first such thing.
    """
    opened = open_dataset(dataset_dir, check="full")
    for records in (opened.train, opened.test):
        pickled = records.path.with_name(records.path.name + PICKLE_SUFFIX)
        if records.path.name.endswith(PICKLE_SUFFIX) or not pickled.is_file():
            continue
        if pickled.stat().st_size <= MAX_PICKLE_BYTES:
            _compare(records, Records.open(pickled, opened.metadata, check="full"))
        else:
            _check_digest(pickled, _digest(pickled), opened.metadata)
    return opened


def _data_file(dataset_dir: Path, split: str) -> Path:
    binary, pickled = dataset_dir / split, dataset_dir / f"{split}{PICKLE_SUFFIX}"
    for path in (binary, pickled):
        if is_regular_file(path):
            return path
    raise VIMHError(
        f"{dataset_dir}: expected a file {binary.name} or {pickled.name}, found neither"
    )


def _reopen(path: Path, metadata: Metadata, num_records: int) -> Records:
    records = Records.open(path, metadata)
    if len(records) != num_records:
        raise VIMHError(
            f"{path}: changed while in use: expected {num_records} samples, found {len(records)}"
        )
    return records


def _check_all_records(
    path: Path, descriptor: int, size: int, layout: RecordLayout, metadata: Metadata
) -> None:
    """Check headers, labels, scale factors and the checksum in one pass over the file."""
    step = max(1, _CHUNK_BYTES // layout.record_size)
    columns = layout.label_columns(metadata.parameter_ids)
    digest = hashlib.sha256()
    for first in range(0, size // layout.record_size, step):
        start = first * layout.record_size
        chunk = os.pread(descriptor, min(step * layout.record_size, size - start), start)
        digest.update(chunk)
        rows = np.frombuffer(chunk, dtype=np.uint8).reshape(-1, layout.record_size)
        check_headers(path, layout, rows, first)
        scale_factors = None
        if layout.has_scale_factors:
            scale_factors = rows[:, 6:14].copy().view("<f4")
        check_values(path, metadata.parameters, rows[:, columns], scale_factors, first)
    _check_digest(path, digest.hexdigest(), metadata)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_digest(path: Path, found: str, metadata: Metadata) -> None:
    expected = metadata.checksums.get(path.name)
    if expected is not None and expected != found:
        raise VIMHError(
            f"{path}: key 'checksums' of {METADATA_FILE} says SHA-256 {shown(expected)}, the "
            f"file has {found}"
        )


def _compare(binary: Records, pickled: Records) -> None:
    """Check that two variants hold the same samples."""
    if len(binary) != len(pickled):
        raise VIMHError(
            f"{pickled.path}: holds {len(pickled)} samples, {binary.path} holds {len(binary)}; "
            "remove the one that is wrong"
        )
    step = max(1, _CHUNK_BYTES // binary.layout.record_size)
    for first in range(0, len(binary), step):
        part = slice(first, first + step)
        for what in ("images", "labels", "scale_factors"):
            ours, theirs = getattr(binary, what)[part], getattr(pickled, what)[part]
            differs = (ours != theirs).reshape(len(ours), -1).any(axis=1)
            if differs.any():
                sample = first + int(differs.argmax())
                raise VIMHError(
                    f"{pickled.path}: sample {sample}: {what} differ from those in {binary.path}"
                )
