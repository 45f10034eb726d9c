"""The layout of a binary record: found from the first record and the metadata, then checked.

These functions read a few bytes at known places. They allocate and map nothing that a header asks
for before it agrees with the metadata and with the size of the file.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from src.vimh.errors import VIMHError
from src.vimh.metadata import METADATA_FILE, Metadata, parameter_label
from src.vimh.parameters import ParameterSpace

NUM_SAMPLED_RECORDS = 18  # the first, the last and 16 between them, at any size of the file
MAX_RECORD_BYTES = 2**31 - 4096  # what Linux reads at once; numpy's limit for one item is 2^31
NO_SCALE_FACTORS = (0.0, 255.0)  # of a source that is not a sound
_MAX_HEADER_BYTES = 15 + 2 * 255
_CHUNK_BYTES = 16 * 2**20


def record_dtype(
    image_shape: tuple[int, int, int], num_parameters: int, has_scale_factors: bool
) -> np.dtype[np.void]:
    """Make the structured dtype of one record, little-endian, packed, of an image (C, H, W).

    N parameters are (id, value) pairs. Versions 2.0 and 1.x have no scale factors.

    Example:
        >>> record_dtype((3, 32, 32), 2, has_scale_factors=True).itemsize  # 15 + 2 N + C H W
        3091
    """
    scale_factors = [("scale_factors", "<f4", (2,))] if has_scale_factors else []
    return np.dtype(
        [
            ("height", "<u2"),
            ("width", "<u2"),
            ("channels", "<u2"),
            *scale_factors,  # spec_min, spec_max in dB
            ("num_parameters", "u1"),
            ("parameters", "u1", (num_parameters, 2)),  # (id, quantised value)
            ("pixels", "u1", image_shape),
        ]
    )


@dataclass(frozen=True)
class RecordLayout:
    """The places of all fields in the records of one data set."""

    image_shape: tuple[int, int, int]  # (C, H, W)
    ids: tuple[int, ...]  # of the parameters, in the order in which every record holds them
    has_scale_factors: bool  # `spec_min` and `spec_max`

    @property
    def num_parameters_offset(self) -> int:
        """Byte of a record that holds N."""
        return 14 if self.has_scale_factors else 6

    @property
    def header_size(self) -> int:
        """Bytes of a record before its pixels."""
        return self.num_parameters_offset + 1 + 2 * len(self.ids)

    @property
    def image_bytes(self) -> int:
        """Bytes of an image."""
        channels, height, width = self.image_shape
        return channels * height * width

    @property
    def record_size(self) -> int:
        """Bytes of a record."""
        return self.header_size + self.image_bytes

    @property
    def size_text(self) -> str:
        """The image size as "HxWxC"."""
        channels, height, width = self.image_shape
        return f"{height}x{width}x{channels}"

    @property
    def scale_text(self) -> str:
        """Whether there are scale factors, for a message."""
        return f"{'with' if self.has_scale_factors else 'without'} scale factors"

    @cached_property
    def dtype(self) -> np.dtype[np.void]:
        """The record dtype."""
        return record_dtype(self.image_shape, len(self.ids), self.has_scale_factors)

    @cached_property
    def item_dtype(self) -> np.dtype[np.void]:
        """The same bytes as two opaque items, `header` and `image`."""
        return np.dtype(
            {
                "names": ["header", "image"],
                "formats": [f"V{self.header_size}", f"V{self.image_bytes}"],
                "offsets": [0, self.header_size],
                "itemsize": self.record_size,
            }
        )

    @cached_property
    def constant_columns(self) -> np.ndarray:
        """Bytes that are the same in all records: height, width, channels, N and the ids."""
        first = self.num_parameters_offset
        ids = [first + 1 + 2 * slot for slot in range(len(self.ids))]
        return np.array([0, 1, 2, 3, 4, 5, first, *ids])

    @cached_property
    def constants(self) -> np.ndarray:
        """The values that `constant_columns` must hold."""
        channels, height, width = self.image_shape
        size = np.array([height, width, channels], dtype="<u2").view(np.uint8)
        return np.concatenate([size, np.array([len(self.ids), *self.ids], dtype=np.uint8)])

    def assemble(
        self,
        images: UInt8[np.ndarray, "n C H W"],
        labels: UInt8[np.ndarray, "n N"],
        scale_factors: Float[np.ndarray, "n 2"] | None,
    ) -> np.ndarray:
        """Make records of this layout; `labels` are in the order of `ids`."""
        records = np.empty(len(images), dtype=self.dtype)
        records["channels"], records["height"], records["width"] = self.image_shape
        if self.has_scale_factors:
            records["scale_factors"] = NO_SCALE_FACTORS if scale_factors is None else scale_factors
        records["num_parameters"] = len(self.ids)
        records["parameters"][:, :, 0] = self.ids
        records["parameters"][:, :, 1] = labels
        records["pixels"] = images
        return records

    def chunks(self, num_records: int) -> Iterator[range]:
        """Yield so many records in order, about 16 MB of them at a time."""
        step = max(1, _CHUNK_BYTES // self.record_size)
        for first in range(0, num_records, step):
            yield range(first, min(first + step, num_records))

    def read(self, descriptor: int, records: range) -> UInt8[np.ndarray, "n bytes"]:
        """Read consecutive records of an open file as rows of bytes."""
        size = self.record_size
        chunk = os.pread(descriptor, len(records) * size, records.start * size)
        return np.frombuffer(chunk, dtype=np.uint8).reshape(-1, size)

    def read_header(self, descriptor: int, index: int) -> UInt8[np.ndarray, "bytes"]:
        """Read what one record of an open file has before its pixels."""
        header = os.pread(descriptor, self.header_size, index * self.record_size)
        return np.frombuffer(header, dtype=np.uint8)

    def label_columns(self, head_ids: Sequence[int]) -> list[int]:
        """Bytes of a record that hold the values of `head_ids`."""
        first = self.num_parameters_offset + 2
        return [first + 2 * self.ids.index(head_id) for head_id in head_ids]

    def value_columns(self, head_ids: Sequence[int]) -> list[int] | slice:
        """Columns of the exact values, which are in the order of the ids, that `head_ids` have."""
        ordered = sorted(self.ids)
        wanted = [ordered.index(head_id) for head_id in head_ids]
        return slice(None) if wanted == list(range(len(ordered))) else wanted


def check_ids(ids: Sequence[int], metadata: Metadata, where: str | Path) -> None:
    """Check that the first sample's parameter ids are those that the metadata knows.

    Raises:
        VIMHError: An id occurs twice, has no entry in the metadata, or a head is missing.
    """
    if len(set(ids)) != len(ids):
        raise VIMHError(f"{where}: sample 0 holds a parameter id twice: {list(ids)}")
    names = [parameter_label(i, metadata.parameter_names) for i in ids]
    known = {*metadata.parameter_names, *metadata.parameters}
    for parameter_id, name in zip(ids, names, strict=True):
        if name not in known:
            raise VIMHError(
                f"{where}: sample 0 holds parameter id {parameter_id} ({name!r}), but "
                f"{METADATA_FILE} has no such key in 'parameter_mappings'; N is {len(ids)}, the "
                f"names are {list(metadata.parameter_names)}"
            )
    missing = [name for name in metadata.parameters if name not in names]
    if missing:
        raise VIMHError(
            f"{where}: sample 0 holds N = {len(ids)} parameters {names}, but {METADATA_FILE} also "
            f"names {missing}"
        )


def find_layout(path: Path, descriptor: int, size: int, metadata: Metadata) -> RecordLayout:
    """Find the layout of the records in an open file of `size` bytes, and check a few records.

    Read a fixed number of headers, whatever the size of the file. Read all headers only where the
    metadata does not say the layout and both layouts fit so far.

    Raises:
        VIMHError: The file does not fit the metadata, or not one layout.
    """
    if size == 0:
        scaled = metadata.has_scale_factors is not False
        layout = RecordLayout(metadata.image_shape, metadata.parameter_ids, scaled)
        check_record_size(path, layout)
        return layout
    first = os.pread(descriptor, min(size, _MAX_HEADER_BYTES), 0)
    _check_first_size(path, first, size, metadata)
    if metadata.has_scale_factors is None:
        layout = _guessless_layout(path, descriptor, size, first, metadata)
    else:
        layout = _parse_layout(path, first, metadata.has_scale_factors, metadata, size)
    check_ids(layout.ids, metadata, path)
    if remainder := size % layout.record_size:
        raise VIMHError(
            f"{path}: truncated or corrupt: expected whole records of {layout.record_size} bytes "
            f"({layout.size_text}, N = {len(layout.ids)}, {layout.scale_text}), found {size} "
            f"bytes, which leaves a remainder of {remainder} at byte {size - remainder}"
        )
    check_record_size(path, layout)
    for index in sampled_indices(size // layout.record_size):
        check_headers(path, layout, layout.read_header(descriptor, index)[None], index)
    return layout


def sampled_indices(num_records: int) -> list[int]:
    """Return the first, the last and evenly spaced other indices; at most 18."""
    if num_records <= NUM_SAMPLED_RECORDS:
        return list(range(num_records))
    last = num_records - 1
    return [last * i // (NUM_SAMPLED_RECORDS - 1) for i in range(NUM_SAMPLED_RECORDS)]


def check_headers(
    path: Path, layout: RecordLayout, rows: UInt8[np.ndarray, "n bytes"], first_index: int
) -> None:
    """Check that records (at least their headers, as bytes) have the headers of the first one.

    Raises:
        VIMHError: One differs; its index, its place and the difference are named.
    """
    differs = (rows[:, layout.constant_columns] != layout.constants).any(axis=1)
    if not differs.any():
        return
    row = int(differs.argmax())
    index, header = first_index + row, rows[row].tobytes()
    where = f"{path}: sample {index} (byte {index * layout.record_size})"
    height, width, channels = np.frombuffer(header[:6], dtype="<u2").tolist()
    if (channels, height, width) != layout.image_shape:
        raise VIMHError(
            f"Dimension mismatch in {where}: this record says {height}x{width}x{channels}, the "
            f"first record and {METADATA_FILE} say {layout.size_text}"
        )
    first = layout.num_parameters_offset
    if header[first] != len(layout.ids):
        raise VIMHError(
            f"{where}: expected N = {len(layout.ids)} parameters as in the first record, "
            f"found {header[first]}"
        )
    ids = list(header[first + 1 : layout.header_size : 2])
    raise VIMHError(
        f"{where}: expected the parameter ids {list(layout.ids)} in this order, as in the first "
        f"record, found {ids}"
    )


def check_values(
    where: str | Path,
    parameters: ParameterSpace,
    labels: UInt8[np.ndarray, "n P"],
    scale_factors: np.ndarray | None,
    first_index: int,
) -> None:
    """Check label ranges (a categorical label must name a class) and that scale factors are finite.

    Raises:
        VIMHError: A sample is wrong; it is named.
    """
    for column, parameter in enumerate(parameters.values()):
        if not parameter.is_categorical:
            continue
        wrong = labels[:, column] >= parameter.num_classes
        if wrong.any():
            row = int(wrong.argmax())
            raise VIMHError(
                f"{where}: sample {first_index + row}: label {labels[row, column]} of "
                f"{parameter.name!r}, which has {parameter.num_classes} classes"
            )
    if scale_factors is not None and not np.isfinite(scale_factors).all():
        row = int((~np.isfinite(scale_factors)).any(axis=1).argmax())
        raise VIMHError(
            f"{where}: sample {first_index + row}: expected finite scale factors, found "
            f"{scale_factors[row].tolist()}"
        )


def _check_first_size(path: Path, first: bytes, size: int, metadata: Metadata) -> None:
    if len(first) < 7:
        raise VIMHError(f"{path}: truncated: {size} bytes are too few for one record's header")
    height, width, channels = np.frombuffer(first[:6], dtype="<u2").tolist()
    if (channels, height, width) != metadata.image_shape:
        raise VIMHError(
            f"Dimension mismatch in {path}: the first record (byte 0) says "
            f"{height}x{width}x{channels}, {METADATA_FILE} says {metadata.image_size} "
            "(height x width x channels)"
        )


def check_record_size(path: str | Path, layout: RecordLayout) -> None:
    """Check that a record can be read.

    Raises:
        VIMHError: It is larger than numpy and the system read at once.
    """
    if layout.record_size > MAX_RECORD_BYTES:
        raise VIMHError(
            f"{path}: a record of {layout.record_size} bytes ({layout.size_text}) is larger than "
            f"the {MAX_RECORD_BYTES} bytes that can be read"
        )


def _parse_layout(
    path: Path, first: bytes, has_scale_factors: bool, metadata: Metadata, size: int
) -> RecordLayout:
    """Read N and the ids of the first record under one of the two layouts."""
    layout = RecordLayout(metadata.image_shape, (), has_scale_factors)
    offset = layout.num_parameters_offset
    end = offset + 1 + 2 * (first[offset] if offset < len(first) else 0)
    if end > len(first):
        raise VIMHError(
            f"{path}: truncated: expected at least {end} bytes for the first record's header "
            f"({layout.scale_text}), found {size}"
        )
    return replace(layout, ids=tuple(first[offset + 1 : end : 2]))


def _guessless_layout(
    path: Path, descriptor: int, size: int, first: bytes, metadata: Metadata
) -> RecordLayout:
    """Decide the layout by the file, where the metadata does not say it.

    It is the layout under which the file is a whole number of records whose headers (height,
    width, channels and N) are all equal.
    """
    candidates = [
        _parse_layout(path, first, offset == 14, metadata, size)
        for offset in (14, 6)
        if offset < len(first) and offset + 1 + 2 * first[offset] <= len(first)
    ]
    whole = [layout for layout in candidates if size % layout.record_size == 0]
    fitting = [own for own in whole if _headers_equal(descriptor, size, own, full=False)]
    if len(fitting) == 2:
        fitting = [own for own in whole if _headers_equal(descriptor, size, own, full=True)]
    if len(fitting) != 1:
        tried = "; ".join(
            f"{layout.scale_text}: records of {layout.record_size} bytes, remainder "
            f"{size % layout.record_size}"
            for layout in candidates
        )
        raise VIMHError(
            f"{path}: {'both' if fitting else 'neither'} of the record layouts fit the file's "
            f"{size} bytes ({tried or 'too short for either'}); "
            f"say 'label_encoding.metadata_bytes' (14 or 6) in {METADATA_FILE}"
        )
    return fitting[0]


def _headers_equal(descriptor: int, size: int, layout: RecordLayout, *, full: bool) -> bool:
    """Whether height, width, channels and N are equal in all (or in some) records."""
    num_records = size // layout.record_size
    if full:
        rows = (layout.read(descriptor, part) for part in layout.chunks(num_records))
    else:
        rows = (layout.read_header(descriptor, i)[None] for i in sampled_indices(num_records))
    columns, constants = layout.constant_columns[:7], layout.constants[:7]
    return all((some[:, columns] == constants).all() for some in rows)
