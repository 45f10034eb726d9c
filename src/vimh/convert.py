"""Write the binary variant of a data set that has only pickles, or an older version."""

from pathlib import Path
from typing import Literal

import numpy as np

from src.vimh.metadata import Metadata
from src.vimh.pickles import MAX_PICKLE_BYTES, PICKLE_SUFFIX
from src.vimh.records import Records
from src.vimh.writer import DatasetWriter

_CHUNK_BYTES = 16 * 2**20


def to_binary(
    dataset_dir: str | Path,
    output_dir: str | Path,
    *,
    max_pickle_bytes: int = MAX_PICKLE_BYTES,
    overwrite: bool = False,
) -> None:
    """Write a data set again as binary records, with what lies beside them: version 2.1 or 2.2.

    Args:
        dataset_dir: The data set; its binary files are preferred to its pickles.
        output_dir: The directory of the new data set.
        max_pickle_bytes: Largest pickle that is read into memory.
        overwrite: Whether to replace a data set that is there.

    Raises:
        VIMHError: The data set does not fit its metadata, or `output_dir` exists.
    """
    dataset_dir = Path(dataset_dir)
    metadata = Metadata.load(dataset_dir)
    description = {**metadata.to_json(), "dataset_name": Path(output_dir).absolute().name}
    description.pop("checksums", None)
    writer = DatasetWriter(
        output_dir,
        description,
        overwrite=overwrite,
        values="values" in metadata.row_kinds,
        groups="groups" in metadata.row_kinds,
    )
    with writer:
        splits: tuple[Literal["train"], Literal["test"]] = ("train", "test")
        for split in splits:
            path = dataset_dir / split
            if not path.is_file():
                path = dataset_dir / f"{split}{PICKLE_SUFFIX}"
            records = Records.open(path, metadata, max_pickle_bytes=max_pickle_bytes)
            step = max(1, _CHUNK_BYTES // records.layout.record_size)
            for first in range(0, len(records), step):
                indices = np.arange(first, min(first + step, len(records)))
                writer.write(split, *records.gather(indices), **records.rows_at(indices))
