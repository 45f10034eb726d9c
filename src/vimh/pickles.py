"""The pickled variant of a data set: read without trust, written as a stream.

A pickle holds a dict: `data` (a row of C*H*W planar pixels for each sample), the labels
`[N, id, q, id, q, ...]` of each sample, the image size, and the scale factors if there are any.
"""

import io
import mmap
import pickle
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from src.vimh.errors import VIMHError
from src.vimh.layout import RecordLayout, check_ids, check_record_size
from src.vimh.metadata import METADATA_FILE, Metadata
from src.vimh.plain import shown
from src.vimh.stand_ins import PlainList, kind_of, plain
from src.vimh.unpickler import BROKEN, RestrictedUnpickler

PICKLE_SUFFIX = "_batch"
MAX_PICKLE_BYTES = 2**30
LABEL_KEYS = ("vimh_labels", "multihead_labels", "labels")
MAX_LABEL_VALUES = 1 + 2 * 255
# Pixels beyond the file's own bytes, for rows that occur several times.
SHARED_BYTES = 24 * 2**20


def read_pickle(
    path: str | Path, metadata: Metadata, max_bytes: int = MAX_PICKLE_BYTES
) -> tuple[RecordLayout, np.ndarray]:
    """Read a pickled data file, and no more pixels than `max_bytes`, into records in memory.

    Returns:
        The layout of the records, and the records themselves, (N,) of `layout.dtype`.

    Raises:
        VIMHError: The file is too large, holds anything but numbers, text, lists and arrays, or
            does not fit the metadata.
    """
    path = Path(path)
    contents = load_dict(path, max_bytes)
    _check_size(path, contents, metadata)
    if "data" not in contents:
        raise VIMHError(f"{path}: key 'data' is missing; there are {_shown(contents)}")
    key = next((key for key in LABEL_KEYS if key in contents), None)
    if key is None:
        raise VIMHError(f"{path}: none of the keys {LABEL_KEYS} is there, but {_shown(contents)}")
    check_record_size(path, RecordLayout(metadata.image_shape, metadata.parameter_ids, True))
    image_bytes = RecordLayout(metadata.image_shape, (), False).image_bytes
    warranted = path.stat().st_size + SHARED_BYTES
    max_bytes = min(max_bytes, warranted)
    images = _byte_matrix(path, "data", plain(contents["data"]), image_bytes, max_bytes)
    images = images.reshape(-1, *metadata.image_shape)
    labels = _labels(path, key, plain(contents[key]), len(images), max_bytes)
    ids = metadata.parameter_ids
    if len(labels):
        ids = tuple(labels[0, 1::2].tolist())
        check_ids(ids, metadata, path)
        _check_label_rows(path, labels)
    layout = RecordLayout(metadata.image_shape, ids, contents.get("scale_factors") is not None)
    if len(images) * (layout.record_size + 16) > warranted:
        raise VIMHError(
            f"{path}: {len(images)} samples of {layout.record_size} bytes are more than a file of "
            f"this size holds; it names the same rows again and again"
        )
    scale_factors = None
    if layout.has_scale_factors:
        scale_factors = _scale_factors(path, plain(contents["scale_factors"]), len(images))
    values = labels[:, 2::2].reshape(len(images), len(ids))
    return layout, layout.assemble(images, values, scale_factors)


def load_dict(path: Path, max_bytes: int) -> dict[str, object]:
    """Unpickle a dict; its arrays and lists are still stand-ins (see `plain`)."""
    size = path.stat().st_size
    if size > max_bytes:
        raise VIMHError(
            f"{path}: a pickle of {size} bytes is larger than the {max_bytes} that are read into "
            "memory; write the binary variant of the data set once: python -c 'from "
            f'src.vimh.convert import to_binary; to_binary("{path.parent}", "NEW_DIRECTORY", '
            f"max_pickle_bytes={size})'"
        )
    if size == 0:  # cannot be mapped
        raise VIMHError(f"{path}: expected a pickle, found an empty file")
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as mapped,
    ):
        return unpickle_dict(mapped, str(path), size)


def unpickle_dict(file: mmap.mmap | io.BytesIO, where: str, size: int) -> dict[str, object]:
    """Unpickle a dict from an open file of `size` bytes; `where` names the file in messages.

    Raises:
        VIMHError: It is broken, wants anything but numbers, text, lists and arrays, or is no dict.
    """
    reader = RestrictedUnpickler(file)
    try:
        contents = reader.load()
    except VIMHError as error:
        raise type(error)(f"{where}: {error}; see docs/vimh.md, 'Pickles'") from error
    except BROKEN as error:
        raise VIMHError(
            f"{where}: not a whole pickle, broken before byte {reader.position} of {size}: {error}"
        ) from error
    if type(contents) is not dict:  # the reader refuses keys that are no text
        raise VIMHError(f"{where}: expected a dict with names as keys, found another object")
    return contents


def write_pickle(
    write: Callable[[bytes], None], records_path: Path, layout: RecordLayout, num_records: int
) -> None:
    """Write the pickled variant of a binary file, in constant memory.

    The stream is a pickle (protocol 4) of a dict with `data` (uint8 array), `vimh_labels` (list of
    lists), `scale_factors` (float32 array), `height`, `width`, `channels` and `image_size`. Any
    `pickle.load` reads it (numpy 1 and 2).
    """
    channels, height, width = layout.image_shape

    def chunks() -> Iterator[np.ndarray]:
        with records_path.open("rb") as file:
            for part in layout.chunks(num_records):
                yield np.fromfile(file, layout.dtype, len(part))

    write(pickle.PROTO + b"\x04" + pickle.EMPTY_DICT + pickle.MARK)
    write(_fragment("data"))
    _write_array(
        write, (num_records, layout.image_bytes), "u1", (records["pixels"] for records in chunks())
    )
    write(_fragment("vimh_labels") + pickle.EMPTY_LIST + pickle.MARK)
    for records in chunks():
        lists = _label_lists(records)
        write(pickle.FRAME + struct.pack("<Q", len(lists)) + lists)
    write(pickle.APPENDS)
    if layout.has_scale_factors:
        write(_fragment("scale_factors"))
        parts = (records["scale_factors"] for records in chunks())
        _write_array(write, (num_records, 2), "<f4", parts)
    sizes = {"height": height, "width": width, "channels": channels, "image_size": layout.size_text}
    for key, value in sizes.items():
        write(_fragment(key) + _fragment(value))
    write(pickle.SETITEMS + pickle.STOP)


def _fragment(value: object) -> bytes:
    """Write the instructions that make a small value: its pickle without frame and end."""
    return pickle.dumps(value, protocol=3)[2:-1]


def _write_array(
    write: Callable[[bytes], None], shape: tuple[int, int], dtype: str, parts: Iterable[np.ndarray]
) -> None:
    """Write an array as numpy's own pickle does, its content in parts."""
    kind = np.dtype(dtype)
    write(b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n")
    write(_fragment((0,)) + _fragment(b"b") + pickle.TUPLE + pickle.REDUCE)
    write(pickle.MARK + _fragment(1) + _fragment(shape) + _fragment(kind) + pickle.NEWFALSE)
    write(pickle.BINBYTES8 + struct.pack("<Q", shape[0] * shape[1] * kind.itemsize))
    for part in parts:
        write(np.ascontiguousarray(part).tobytes())
    write(pickle.TUPLE + pickle.BUILD)


def _label_lists(records: np.ndarray) -> bytes:
    """Write the instructions that make the list [N, id, q, id, q, ...] of each record."""
    pairs = records["parameters"].reshape(len(records), -1)
    row = np.empty((len(records), 1 + pairs.shape[1], 2), dtype=np.uint8)
    row[:, :, 0] = ord(pickle.BININT1)
    row[:, 0, 1] = records["num_parameters"]
    row[:, 1:, 1] = pairs
    start = np.frombuffer(pickle.EMPTY_LIST + pickle.MARK, dtype=np.uint8)
    end = np.frombuffer(pickle.APPENDS, dtype=np.uint8)
    rows = len(records)
    parts = (np.tile(start, (rows, 1)), row.reshape(rows, -1), np.tile(end, (rows, 1)))
    return np.concatenate(parts, axis=1).tobytes()


def _shown(contents: Mapping[str, object]) -> list[str]:
    return [shown(key) for key in list(contents)[:20]]


def _check_size(path: Path, contents: Mapping[str, object], metadata: Metadata) -> None:
    """Check the image size in the pickle, if it has one."""
    for key in ("height", "width", "channels"):
        value = getattr(metadata, key)
        if key in contents and not (type(contents[key]) is int and contents[key] == value):
            raise VIMHError(
                f"Dimension mismatch in {path}: key '{key}' of the pickle says "
                f"{shown(contents[key])}, {METADATA_FILE} says {value}"
            )


def _rows(path: Path, key: str, values: object) -> list[object] | tuple[object, ...] | np.ndarray:
    if isinstance(values, list | tuple) or (isinstance(values, np.ndarray) and values.ndim):
        return values
    raise VIMHError(f"{path}: key '{key}' must be an array or a list, found {kind_of(values)}")


_ROW = (list, tuple, bytes, bytearray)


def _shape_or_kind(value: object) -> str:
    if isinstance(value, np.ndarray):
        return str(len(value)) if value.ndim else "a number"
    return kind_of(value)


def _byte_row(path: Path, key: str, row: object, sample: int, length: int) -> bytes:
    """Check the type, length and range of one sample's row; return it as bytes."""
    row = row.items if isinstance(row, PlainList) else plain(row)
    values = row.tolist() if isinstance(row, np.ndarray) and row.shape == (length,) else row
    where = f"{path}: key '{key}', sample {sample}"
    if not isinstance(values, _ROW) or len(values) != length:
        found = f"{len(values)}" if isinstance(values, _ROW) else _shape_or_kind(values)
        raise VIMHError(f"{where}: expected {length} values, found {found}")
    try:
        return bytes(values)
    except (TypeError, ValueError) as error:
        raise VIMHError(f"{where}: expected whole numbers 0 to 255: {error}") from error


def _byte_matrix(
    path: Path, key: str, values: object, length: int, max_bytes: int
) -> UInt8[np.ndarray, "n k"]:
    """Convert an array or a list of rows to (n, length) bytes; refuse values beyond 0…255."""
    rows = _rows(path, key, values)
    if len(rows) * length > max_bytes:
        raise VIMHError(
            f"{path}: key '{key}' holds {len(rows)} rows of {length} values, more than the "
            f"{max_bytes} bytes that are read into memory"
        )
    if isinstance(rows, np.ndarray) and rows.ndim == 2 and rows.dtype == np.uint8:
        if rows.shape[1] != length:
            raise VIMHError(
                f"{path}: key '{key}': expected {length} values a sample, found {rows.shape[1]}"
            )
        return rows
    joined = bytearray(len(rows) * length)
    for i, row in enumerate(rows):
        joined[i * length : (i + 1) * length] = _byte_row(path, key, row, i, length)
    return np.frombuffer(joined, dtype=np.uint8).reshape(len(rows), length)


def _labels(
    path: Path, key: str, values: object, num_samples: int, max_bytes: int
) -> UInt8[np.ndarray, "n k"]:
    rows = _rows(path, key, values)
    if len(rows) != num_samples:
        raise VIMHError(
            f"{path}: key '{key}' holds {len(rows)} samples, key 'data' holds {num_samples}"
        )
    if not num_samples:
        return np.empty((0, 1), dtype=np.uint8)
    first = plain(rows[0])
    is_row = isinstance(first, _ROW) or (isinstance(first, np.ndarray) and first.ndim == 1)
    size = len(first) if is_row else 0
    if size % 2 == 0 or size > MAX_LABEL_VALUES:
        raise VIMHError(f"{path}: key '{key}', sample 0: expected [N, id, value, id, value, ...]")
    return _byte_matrix(path, key, rows, size, max_bytes)


def _check_label_rows(path: Path, labels: UInt8[np.ndarray, "n k"]) -> None:
    """Check that every row holds N pairs with the ids of the first row."""
    expected = labels[0].copy()
    expected[0] = (labels.shape[1] - 1) // 2
    fixed = [0, *range(1, labels.shape[1], 2)]
    differs = (labels[:, fixed] != expected[fixed]).any(axis=1)
    if differs.any():
        sample = int(differs.argmax())
        raise VIMHError(
            f"{path}: sample {sample}: expected N = {expected[0]} and the parameter ids "
            f"{expected[1::2].tolist()}, found N = {labels[sample, 0]} and "
            f"{labels[sample, 1::2].tolist()}"
        )


def _scale_factors(path: Path, values: object, num_samples: int) -> Float32[np.ndarray, "n 2"]:
    rows = _rows(path, "scale_factors", values)
    where = f"{path}: key 'scale_factors'"
    if len(rows) != num_samples:
        raise VIMHError(f"{where} holds {len(rows)} samples, key 'data' holds {num_samples}")
    if isinstance(rows, np.ndarray):
        factors = rows
    else:
        factors = np.empty((num_samples, 2), dtype=np.float32)
        for sample, pair in enumerate(map(plain, rows)):
            if not _is_pair(pair):
                raise VIMHError(f"{where}, sample {sample}: expected [spec_min, spec_max]")
            with np.errstate(over="ignore"):
                factors[sample] = pair
    if factors.shape != (num_samples, 2):
        raise VIMHError(f"{where}: expected shape ({num_samples}, 2), found {factors.shape}")
    with np.errstate(over="ignore"):  # a full check finds the infinity that a large value becomes
        return factors.astype(np.float32)


def _is_pair(pair: object) -> bool:
    if isinstance(pair, np.ndarray):
        return pair.shape == (2,)
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        return False
    # beyond 1e300 an int may be too large for a float
    return all(isinstance(v, float) or (isinstance(v, int) and abs(v) < 1e300) for v in pair)
