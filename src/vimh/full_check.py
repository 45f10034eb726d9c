"""The whole check of a data set's files: every record, every exact value, every checksum."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from src.vimh.errors import VIMHError
from src.vimh.layout import RecordLayout, check_headers, check_values
from src.vimh.metadata import METADATA_FILE, Metadata
from src.vimh.plain import file_digest, shown
from src.vimh.value_files import RowFile, RowKind, check_exact

_CHUNK_BYTES = 16 * 2**20


def check_all_records(
    path: Path,
    descriptor: int,
    size: int,
    layout: RecordLayout,
    metadata: Metadata,
    beside: Mapping[RowKind, RowFile],
) -> None:
    """Check headers, labels, scale factors, exact values and checksums, in constant memory.

    Raises:
        VIMHError: The first that is wrong is named.
    """
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
        check_values_beside(beside, layout, metadata, rows[:, columns], first)
    check_digest(path, digest.hexdigest(), metadata)
    check_digests_beside(beside, metadata)


def check_values_beside(
    beside: Mapping[RowKind, RowFile],
    layout: RecordLayout,
    metadata: Metadata,
    labels: UInt8[np.ndarray, "n P"],
    first: int,
) -> None:
    """Compare the exact values, where there are some, with the bytes of consecutive samples.

    Raises:
        VIMHError: As :func:`~src.vimh.value_files.check_exact`.
    """
    if "values" in beside:
        file, samples = beside["values"], np.arange(first, first + len(labels))
        columns = layout.value_columns(metadata.parameter_ids)
        values = file.read(first, len(labels))[:, columns]
        check_exact(file.path, metadata.parameters, values, labels, samples)


def check_digests_beside(beside: Mapping[RowKind, RowFile], metadata: Metadata) -> None:
    """Check the checksums of the files beside the records."""
    for file in beside.values():
        check_digest(file.path, file_digest(file.path), metadata)


def check_digest(path: Path, found: str, metadata: Metadata) -> None:
    """Compare a file's SHA-256 with that of the metadata, if it has one.

    Raises:
        VIMHError: They differ.
    """
    expected = metadata.checksums.get(path.name)
    if expected is not None and expected != found:
        raise VIMHError(
            f"{path}: key 'checksums' of {METADATA_FILE} says SHA-256 {shown(expected)}, the "
            f"file has {found}"
        )
