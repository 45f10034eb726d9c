"""The whole check of a data set's files: every record, every exact value, every checksum."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from src.vimh.errors import VIMHError
from src.vimh.layout import RecordLayout, check_headers, check_values
from src.vimh.metadata import METADATA_FILE, Metadata
from src.vimh.plain import file_digest, shown
from src.vimh.value_files import RowFile, RowKind, check_exact


def check_all_records(
    path: Path,
    descriptor: int,
    num_records: int,
    layout: RecordLayout,
    metadata: Metadata,
    beside: Mapping[RowKind, RowFile],
) -> None:
    """Check headers, labels, scale factors, exact values and checksums, in constant memory.

    Raises:
        VIMHError: The first that is wrong is named.
    """
    columns = layout.label_columns(metadata.parameter_ids)
    digest = hashlib.sha256()
    for part in layout.chunks(num_records):
        rows = layout.read(descriptor, part)
        digest.update(rows.reshape(-1).data)
        check_headers(path, layout, rows, part.start)
        scale_factors = rows[:, 6:14].copy().view("<f4") if layout.has_scale_factors else None
        check_values(path, metadata.parameters, rows[:, columns], scale_factors, part.start)
        check_values_beside(beside, layout, metadata, rows[:, columns], part.start)
    check_digest(path, metadata, digest.hexdigest())
    for file in beside.values():
        check_digest(file.path, metadata)


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


def check_digest(path: Path, metadata: Metadata, found: str | None = None) -> None:
    """Compare a file's SHA-256, which may be known already, with the metadata's, if there is one.

    Raises:
        VIMHError: They differ.
    """
    expected, found = metadata.checksums.get(path.name), found or file_digest(path)
    if expected is not None and expected != found:
        raise VIMHError(
            f"{path}: key 'checksums' of {METADATA_FILE} says SHA-256 {shown(expected)}, the "
            f"file has {found}"
        )
