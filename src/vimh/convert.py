"""Write the binary variant of a data set that has only pickles, or an older version."""

from pathlib import Path

import numpy as np

from src.vimh.metadata import SPLITS, Metadata
from src.vimh.pickles import MAX_PICKLE_BYTES
from src.vimh.records import Records, data_file
from src.vimh.writer import DatasetWriter


def to_binary(
    dataset_dir: str | Path,
    output_dir: str | Path,
    *,
    max_pickle_bytes: int = MAX_PICKLE_BYTES,
    overwrite: bool = False,
) -> None:
    """Write a data set again as binary records, with what lies beside them: version 2.1 or 2.2.

    Its binary files are preferred to its pickles, of which `max_pickle_bytes` is the largest that
    is read into memory.

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
        for split in SPLITS:
            path = data_file(dataset_dir, split)
            records = Records.open(path, metadata, max_pickle_bytes=max_pickle_bytes)
            for part in records.layout.chunks(len(records)):
                indices = np.arange(part.start, part.stop)
                writer.write(split, *records.gather(indices), **records.rows_at(indices))
