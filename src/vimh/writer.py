"""Write a data set: in chunks of any size, with checksums, whole or not at all."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal

import numpy as np
from jaxtyping import Float, UInt8, UInt32

from src.vimh.atomic import AtomicDirectory
from src.vimh.disk import cannot_write
from src.vimh.errors import VIMHError
from src.vimh.fields import check_name
from src.vimh.layout import RecordLayout, check_record_size, check_values
from src.vimh.metadata import (
    FORMAT,
    METADATA_FILE,
    SPLITS,
    VERSION,
    VERSION_WITH_BYTES,
    Metadata,
    Split,
)
from src.vimh.pickles import PICKLE_SUFFIX, write_pickle
from src.vimh.plain import MAX_JSON_BYTES
from src.vimh.value_files import ENCODINGS, ROW_DTYPES, RowKind, check_exact, row_path

OutputFormat = Literal["binary", "pickle", "both"]
_SYNCED_BYTES = 16 * 2**20  # written before they are sent to the disk
_LABEL_ENCODING: dict[str, object] = {
    "format": "[height][width][channels][spec_min][spec_max][N] ([id][value]) x N [pixels]",
    "metadata_bytes": 14,  # before N
    "scale_factors": True,
    "N_range": [0, 255],
    "param_id_range": [0, 255],
    "param_val_range": [0, 255],
}


class HashedFile:
    """A new file that counts the SHA-256 of its bytes and is synced while it is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.digest = hashlib.sha256()
        self._unsynced = 0
        self._file: BinaryIO = path.open("xb")

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`."""
        self._file.write(data)
        self.digest.update(data)
        self._unsynced += memoryview(data).nbytes
        if self._unsynced >= _SYNCED_BYTES:  # the disk works while the next samples are made
            self._flush_to_disk()

    def sync(self) -> None:
        """Flush to the disk and close."""
        self._flush_to_disk()
        self._file.close()

    def close(self) -> None:
        """Close without syncing."""
        self._file.close()

    def _flush_to_disk(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._unsynced = 0


class DatasetWriter:
    """Write a VIMH data set: version 2.1, or with values, groups or log spacing 2.2.

    A context manager. The data set appears under its name when the block ends without an
    exception; until then, and after an exception or a kill, what was there before stays as it was.
    Memory does not grow with the size of the data set.

    Args:
        dataset_dir: Where the data set is to appear.
        metadata_json: The metadata. Needed keys: `height`, `width`, `channels`,
            `parameter_names`, `parameter_mappings`. The writer sets what it knows (format,
            version, sample counts, record layout, checksums); all other keys are written as given.
        output_format: "binary", "pickle" or "both".
        overwrite: Whether to replace a data set that is there.
        values: Whether exact values are written beside the records, as float32.
        groups: Whether the groups of samples are, as uint32.

    Raises:
        VIMHError: The metadata is wrong, float32 is too coarse for a range, something is there
            already, or the disk is full or cannot be written to; what was there before is unharmed
            then.

    Example:
        >>> import tempfile
        >>> metadata = {
        ...     "height": 2, "width": 3, "channels": 1, "parameter_names": ["a"],
        ...     "parameter_mappings": {"a": {"min": 0.0, "max": 1.0, "step": 0.1}},
        ... }
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with DatasetWriter(f"{folder}/small", metadata) as writer:
        ...         images, labels = np.zeros((4, 1, 2, 3), np.uint8), np.zeros((4, 1), np.uint8)
        ...         writer.write("train", images, labels)
        ...     sorted(path.name for path in Path(folder, "small").iterdir())
        ['test', 'train', 'vimh_dataset_info.json']
    """

    def __init__(
        self,
        dataset_dir: str | Path,
        metadata_json: Mapping[str, object],
        *,
        output_format: OutputFormat = "binary",
        overwrite: bool = False,
        values: bool = False,
        groups: bool = False,
    ) -> None:
        if output_format not in ("binary", "pickle", "both"):
            raise VIMHError(
                f"output_format must be 'binary', 'pickle' or 'both', found {output_format!r}"
            )
        self._dataset_dir = Path(dataset_dir)
        # a name that leaves room for the suffixes of temporary and lock files
        check_name(self._dataset_dir.absolute().name, f"{dataset_dir}: the data set's name")
        wanted: dict[RowKind, bool] = {"values": values, "groups": groups}
        self._kinds = [kind for kind, is_wanted in wanted.items() if is_wanted]
        encoding = {**_LABEL_ENCODING, **{str(kind): ENCODINGS[kind] for kind in self._kinds}}
        self._json = {**_plain_json(metadata_json), "label_encoding": encoding}
        self._metadata = Metadata.from_json(self._json, f"metadata for {dataset_dir}")
        self._metadata.check_name(self._dataset_dir)
        self._format: OutputFormat = output_format
        self._overwrite = overwrite
        self._layout = RecordLayout(
            self._metadata.image_shape, self._metadata.parameter_ids, has_scale_factors=True
        )
        check_record_size(dataset_dir, self._layout)
        self._samples = dict.fromkeys(SPLITS, 0)

    def __enter__(self) -> "DatasetWriter":
        if self._overwrite:
            _check_replaceable(self._dataset_dir)
        with self._naming_disk_errors():
            self._directory = AtomicDirectory(self._dataset_dir, replace=self._overwrite)
            try:
                # the binary records are the source of the pickles, so they are always written
                keep = self._format != "pickle"
                folder = self._directory.path if keep else self._directory.scratch / "records"
                folder.mkdir(exist_ok=True)
                self._files = {str(split): HashedFile(folder / split) for split in SPLITS}
                for path in (row_path(Path(s), kind) for s in SPLITS for kind in self._kinds):
                    self._files[path.name] = HashedFile(self._directory.path / path)
            except BaseException:
                self._directory.discard()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                with self._naming_disk_errors():
                    self._finish()
        except BaseException:
            self._abandon()
            raise
        if kind is not None:
            self._abandon()

    def write(
        self,
        split: Split,
        images: UInt8[np.ndarray, "B C H W"],
        labels: UInt8[np.ndarray, "B P"],
        scale_factors: Float[np.ndarray, "B 2"] | None = None,
        values: Float[np.ndarray, "B P"] | None = None,
        groups: UInt32[np.ndarray, "B"] | None = None,
    ) -> None:
        """Append samples.

        Args:
            split: Which file.
            images: Pixels; H is frequency, low to high, W is time.
            labels: Quantised values, in the order of the metadata's varying parameters.
            scale_factors: The dB values that pixel 0 and pixel 255 stood for; None: 0 and 255.
            values: The exact values in units, of which `labels` are the bytes, if the writer has
                `values`.
            groups: A number for each sample, the same for those that belong together, if the
                writer has `groups`.

        Raises:
            VIMHError: A shape does not fit the metadata, a scale factor is not finite, a
                categorical label names no class, or a value is out of range or not its byte.
        """
        count, where = len(images), f"{self._dataset_dir}: {split}"
        self._check_array(split, "images", images, np.uint8, (count, *self._layout.image_shape))
        self._check_array(split, "labels", labels, np.uint8, (count, len(self._layout.ids)))
        if scale_factors is not None:
            kept = scale_factors.dtype
            self._check_array(split, "scale_factors", scale_factors, kept, (count, 2))
        beside = self._beside(split, {"values": values, "groups": groups})
        for kind, rows in beside.items():
            shape = labels.shape if kind == "values" else (count,)
            self._check_array(split, kind, rows, ROW_DTYPES[kind], shape)
        done, parameters = self._samples[split], self._metadata.parameters
        check_values(where, parameters, labels, scale_factors, done)
        if "values" in beside:
            check_exact(where, parameters, beside["values"], labels, np.arange(done, done + count))
        if count:
            records = self._layout.assemble(images, labels, scale_factors)
            with self._naming_disk_errors():
                self._files[split].write(records.view(np.uint8).data)
                for kind, rows in beside.items():
                    self._files[f"{split}_{kind}"].write(rows.tobytes())
        self._samples[split] += count

    def _beside(
        self, split: str, given: Mapping[RowKind, np.ndarray | None]
    ) -> dict[RowKind, np.ndarray]:
        """Return what is written beside the records, values in float32."""
        found: dict[RowKind, np.ndarray] = {}
        for kind, rows in given.items():
            if (rows is not None) != (kind in self._kinds):
                raise VIMHError(
                    f"{self._dataset_dir}: {split}: the writer was made "
                    f"{'with' if kind in self._kinds else 'without'} {kind}=True, but samples come "
                    f"{'without' if rows is None else 'with'} {kind}"
                )
            if rows is not None:
                is_float = np.issubdtype(rows.dtype, np.floating)
                with np.errstate(over="ignore"):  # what is beyond float32 is refused as infinite
                    found[kind] = rows.astype("<f4") if is_float else rows
        return found

    def _check_array(
        self,
        split: str,
        what: str,
        array: np.ndarray,
        dtype: type | np.dtype,
        shape: tuple[int, ...],
    ) -> None:
        if array.shape != shape or array.dtype != dtype:
            raise VIMHError(
                f"{self._dataset_dir}: {what} of {split}: expected {np.dtype(dtype)} of shape "
                f"{shape}, found {array.dtype} of shape {array.shape}"
            )

    def describe(self, more: Mapping[str, object]) -> None:
        """Add what is known only now to the metadata; what the writer knows itself stays."""
        self._json = {**self._json, **_plain_json(more)}

    @contextmanager
    def _naming_disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise VIMHError(cannot_write(self._dataset_dir, error)) from error

    def _finish(self) -> None:
        if not sum(self._samples.values()):
            raise VIMHError(f"{self._dataset_dir}: no samples were written")
        for file in self._files.values():
            file.sync()
        # of a pickled set alone, the records that it is made from are not kept
        kept = self._format != "pickle"
        written = {name: file for name, file in self._files.items() if kept or name not in SPLITS}
        if self._format != "binary":
            for split in SPLITS:
                records = self._files[split]
                pickled = HashedFile(self._directory.path / f"{split}{PICKLE_SUFFIX}")
                self._files[pickled.path.name] = written[pickled.path.name] = pickled
                write_pickle(pickled.write, records.path, self._layout, self._samples[split])
                pickled.sync()
        checksums = {name: file.digest.hexdigest() for name, file in sorted(written.items())}
        text = json.dumps(self._complete_json(checksums), indent=2).encode() + b"\n"
        if len(text) > MAX_JSON_BYTES:
            raise VIMHError(
                f"{self._dataset_dir}: expected metadata of at most {MAX_JSON_BYTES} bytes, the "
                f"most that the reader takes, found {len(text)}"
            )
        info = HashedFile(self._directory.path / METADATA_FILE)
        info.write(text)
        info.sync()
        self._directory.commit()

    def _abandon(self) -> None:
        for file in self._files.values():
            file.close()
        self._directory.discard()

    def _complete_json(self, checksums: dict[str, str]) -> dict[str, object]:
        """Return the metadata with what the writer knows."""
        metadata, total = self._metadata, sum(self._samples.values())
        # A reader of 2.1 would take bytes of logarithms for evenly spaced values.
        is_new = self._kinds or any(p.is_log for p in metadata.parameters.values())
        known = {
            "format": FORMAT,
            "version": VERSION if is_new else VERSION_WITH_BYTES,
            "dataset_name": metadata.dataset_name or self._dataset_dir.name,
            "output_format": self._format,
            "height": metadata.height,
            "width": metadata.width,
            "channels": metadata.channels,
            "channel_labels": list(metadata.channel_labels),
            "varying_parameters": len(metadata.parameters),
            "parameter_names": list(metadata.parameter_names),
            "train_samples": self._samples["train"],
            "test_samples": self._samples["test"],
            "total_samples": total,
            "n_samples": total,
            "image_size": metadata.image_size,
        }
        complete = {**known, **self._json, **known}
        recipe = self._json.get("recipe")
        if isinstance(recipe, Mapping):
            complete.setdefault("recipe_hash", recipe_hash(recipe))
        return {**complete, "checksums": checksums}


def recipe_hash(recipe: Mapping[str, object]) -> str:
    """Hash what decides a data set's samples (SHA-256), whatever the order of its keys.

    The metadata holds this as `recipe_hash`. A generator passes the part of its recipe that
    decides the samples; for other data sets the writer takes the whole recipe.

    Example:
        >>> recipe_hash({"a": 1, "b": 2}) == recipe_hash({"b": 2, "a": 1})
        True
    """
    text = json.dumps(_plain_json(recipe), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain_json(mapping: Mapping[str, object]) -> dict[str, object]:
    """Copy plain containers as JSON would read them back."""
    try:
        plain = json.loads(json.dumps(dict(mapping), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise VIMHError(f"the metadata must hold plain JSON values only: {error}") from error
    assert isinstance(plain, dict)
    return plain


def _check_replaceable(dataset_dir: Path) -> None:
    """Refuse to delete a directory that is no data set, whatever the user said."""
    if not dataset_dir.exists() or (dataset_dir / METADATA_FILE).is_file():
        return
    if not dataset_dir.is_dir() or next(dataset_dir.iterdir(), None) is not None:
        raise VIMHError(
            f"{dataset_dir}: is there and will not be replaced, because it is no data set (it has "
            f"no {METADATA_FILE}); move it away or give another name"
        )
