"""A data set's files as arrays: opened as a memory map, checked, gathered by the batch.

Opening reads the metadata, the sizes of the files and a fixed number of record headers, whatever
the size of the data set. `DatasetWriter` (writer.py) writes a data set.
"""

import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, Integer, UInt8, UInt32

from src.vimh.errors import VIMHError
from src.vimh.full_check import check_all_records, check_digest, check_values_beside
from src.vimh.layout import (
    NO_SCALE_FACTORS,
    RecordLayout,
    check_values,
    find_layout,
    sampled_indices,
)
from src.vimh.metadata import METADATA_FILE, SPLITS, Metadata, Split
from src.vimh.pickles import MAX_PICKLE_BYTES, PICKLE_SUFFIX, read_pickle
from src.vimh.value_files import RowFile, RowKind, check_exact, row_path
from src.vimh.writer import DatasetWriter as DatasetWriter  # here is where people look for it

Check = Literal["fast", "full"]


class Records:
    """The samples of one file, read-only.

    A binary file is mapped, never read as a whole; a pickled one is held in memory. Pickling a
    `Records` keeps only its path and metadata; the other process opens the file again.
    """

    def __init__(
        self,
        path: Path,
        metadata: Metadata,
        layout: RecordLayout,
        items: np.ndarray,
        beside: Mapping[RowKind, RowFile],
    ) -> None:
        """Hold (N,) records of `layout.item_dtype`, and what lies beside; use `Records.open`."""
        self.path = path  # absolute
        self.metadata = metadata
        self.layout = layout
        self._records = items.view(layout.dtype)
        # One item an image and one a header: a fancy index on them is one memcpy a sample, images
        # straight into a contiguous batch, with no copy of whole records in between.
        self._images = items["image"]
        self._headers = items["header"]
        self._label_columns = np.array(layout.label_columns(metadata.parameter_ids), dtype=np.intp)
        self._value_columns = layout.value_columns(metadata.parameter_ids)
        self._codec = metadata.parameters.codec if metadata.parameters else None
        rows = {kind: file.mapped() for kind, file in beside.items()}
        self._rows: Float32[np.ndarray, "N n"] | None = rows.get("values")
        self.groups: UInt32[np.ndarray, "N"] | None = rows.get("groups")  # of each sample

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

    @cached_property
    def values(self) -> Float32[np.ndarray, "N P"] | None:
        """All exact values in units, in the order of `metadata.parameters`; None: only bytes.

        A memory map, but where a record holds fixed parameters too; then collected at first use.
        """
        return None if self._rows is None else self._rows[:, self._value_columns]

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

        Samples come in the order of their indices, with repetitions if wanted.

        Raises:
            IndexError: An index is beyond the file.
        """
        images = self._images[indices].view(np.uint8).reshape(-1, *self.layout.image_shape)
        headers = self._headers_at(indices)
        if self.has_scale_factors:
            scale_factors = headers[:, 6:14].copy().view("<f4")
        else:
            scale_factors = np.full((len(headers), 2), NO_SCALE_FACTORS, dtype=np.float32)
        return images, headers.take(self._label_columns, axis=1), scale_factors

    def gather_targets(
        self, indices: Integer[np.ndarray, "B"]
    ) -> tuple[
        UInt8[np.ndarray, "B C H W"],
        UInt8[np.ndarray, "B P"] | Float32[np.ndarray, "B P"],
        Float32[np.ndarray, "B 2"],
    ]:
        """Copy a batch to learn from: as `gather`, but with exact values where there are some.

        Returns:
            Images; exact values normalised to 0…1, or the labels' bytes; scale factors.
        """
        images, labels, scale_factors = self.gather(indices)
        return images, labels if self._rows is None else self.targets_at(indices), scale_factors

    def targets_at(
        self, indices: Integer[np.ndarray, "B"]
    ) -> UInt8[np.ndarray, "B P"] | Float32[np.ndarray, "B P"]:
        """Return what `gather_targets` has of the parameters, without the images."""
        if self._rows is None:
            return self._labels_at(indices)
        values = self.values_at(indices)
        if self._codec is not None:
            values = np.maximum(np.minimum(self._codec.normalise(values), 1.0), 0.0)
        return values.astype(np.float32)

    def values_at(self, indices: Integer[np.ndarray, "B"]) -> Float64[np.ndarray, "B P"]:
        """Return the values of samples in units: the exact ones, or those of their bytes."""
        if self._rows is not None:
            return self._rows.take(indices, axis=0)[:, self._value_columns].astype(np.float64)
        columns, parameters = self._labels_at(indices).T, self.metadata.parameters.values()
        values = [p.dequantise(q) for p, q in zip(parameters, columns, strict=True)]
        return np.stack(values, axis=1) if values else np.empty((len(indices), 0))

    def rows_at(self, indices: Integer[np.ndarray, "B"]) -> dict[RowKind, np.ndarray]:
        """Copy what lies beside the records: exact values in units, groups; as the writer takes."""
        found: dict[RowKind, np.ndarray] = {}
        if self._rows is not None:
            found["values"] = self._rows[indices][:, self._value_columns]
        if self.groups is not None:
            found["groups"] = self.groups[indices]
        return found

    def _labels_at(self, indices: Integer[np.ndarray, "B"]) -> UInt8[np.ndarray, "B P"]:
        return self._headers_at(indices).take(self._label_columns, axis=1)

    def _headers_at(self, indices: Integer[np.ndarray, "B"]) -> UInt8[np.ndarray, "B bytes"]:
        return self._headers[indices].view(np.uint8).reshape(-1, self.layout.header_size)

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
        if not os.path.isfile(path):  # False also for a name that the system does not take
            raise VIMHError(f"{path}: there is no such file")
        if path.name.endswith(PICKLE_SUFFIX):
            records = cls._open_pickle(path, metadata, check, max_pickle_bytes)
        else:
            records = cls._open_binary(path, metadata, check)
        if check == "fast":
            records._check_some_values()
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
            num_records = size // layout.record_size
            beside = _row_files(path, metadata, layout, num_records)
            if check == "full":
                check_all_records(path, descriptor, num_records, layout, metadata, beside)
            if size == 0:  # cannot be mapped
                return cls(path, metadata, layout, np.empty(0, dtype=layout.item_dtype), beside)
            # mapped only now that the size is known to be a whole number of records
            mapped = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
        return cls(path, metadata, layout, np.frombuffer(mapped, dtype=layout.item_dtype), beside)

    @classmethod
    def _open_pickle(
        cls, path: Path, metadata: Metadata, check: Check, max_bytes: int
    ) -> "Records":
        if check == "full":
            check_digest(path, metadata)
        layout, contents = read_pickle(path, metadata, max_bytes)
        beside = _row_files(path, metadata, layout, len(contents))
        records = cls(path, metadata, layout, contents.view(layout.item_dtype), beside)
        if check == "full":
            check_values(path, metadata.parameters, records.labels, records.scale_factors, 0)
            check_values_beside(beside, layout, metadata, records.labels, 0)
            for file in beside.values():
                check_digest(file.path, metadata)
        return records

    def _check_some_values(self) -> None:
        """Check the exact values of as many samples as opening looks at."""
        if self._rows is not None:
            some = np.array(sampled_indices(len(self)), dtype=np.intp)
            values, labels = self._rows[some][:, self._value_columns], self._labels_at(some)
            where = row_path(self.path, "values")
            check_exact(where, self.metadata.parameters, values, labels, some)


@dataclass(frozen=True)
class OpenedDataset:
    """An opened data set: what the JSON says, and the samples of both files."""

    metadata: Metadata
    train: Records
    test: Records


def open_dataset(dataset_dir: str | Path, check: Check = "fast") -> OpenedDataset:
    """Open a data set; prefer the binary to the pickled variant where both are there.

    A "fast" check has the same cost at any size, a "full" one reads all of it.

    Raises:
        VIMHError: Something is missing or does not fit.
    """
    dataset_dir = Path(dataset_dir)
    if not os.path.isdir(dataset_dir):  # False also for a name that is too long
        raise VIMHError(f"{dataset_dir}: there is no such data set directory")
    metadata = Metadata.load(dataset_dir)
    train, test = (Records.open(data_file(dataset_dir, s), metadata, check) for s in SPLITS)
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
            check_digest(pickled, opened.metadata)
    return opened


def data_file(dataset_dir: Path, split: Split) -> Path:
    """Return the binary file of a split; the pickled one if there is no other.

    Raises:
        VIMHError: There is neither.
    """
    binary, pickled = dataset_dir / split, dataset_dir / f"{split}{PICKLE_SUFFIX}"
    for path in (binary, pickled):
        if os.path.isfile(path):
            return path
    raise VIMHError(
        f"{dataset_dir}: expected a file {binary.name} or {pickled.name}, found neither"
    )


def _row_files(
    path: Path, metadata: Metadata, layout: RecordLayout, num_samples: int
) -> dict[RowKind, RowFile]:
    kinds, num_columns = metadata.row_kinds, len(layout.ids)
    return {kind: RowFile(path, kind, num_samples, num_columns) for kind in kinds}


def _reopen(path: Path, metadata: Metadata, num_records: int) -> Records:
    records = Records.open(path, metadata)
    if len(records) != num_records:
        raise VIMHError(
            f"{path}: changed while in use: expected {num_records} samples, found {len(records)}"
        )
    return records


def _compare(binary: Records, pickled: Records) -> None:
    """Check that two variants hold the same samples."""
    if len(binary) != len(pickled):
        raise VIMHError(
            f"{pickled.path}: holds {len(pickled)} samples, {binary.path} holds {len(binary)}; "
            "remove the one that is wrong"
        )
    for chunk in binary.layout.chunks(len(binary)):
        part = slice(chunk.start, chunk.stop)
        for what in ("images", "labels", "scale_factors"):
            ours, theirs = getattr(binary, what)[part], getattr(pickled, what)[part]
            differs = (ours != theirs).reshape(len(ours), -1).any(axis=1)
            if differs.any():
                sample = chunk.start + int(differs.argmax())
                raise VIMHError(
                    f"{pickled.path}: sample {sample}: {what} differ from those in {binary.path}"
                )
