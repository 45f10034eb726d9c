"""The files of a part of a data set: its samples, and what it says of itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.schema.arguments import section
from src.schema.bounds import Whole
from src.synth.generate import metadata_json
from src.synth.recipe import PartText
from src.synth.samples import SampleMaker
from src.vimh.errors import VIMHError
from src.vimh.layout import RecordLayout
from src.vimh.metadata import Metadata
from src.vimh.plain import file_digest, read_json

PART_FILE = "part.json"
RECORDS_FILE = "records"


@dataclass(frozen=True)
class PartInfo:
    """The content of `part.json`, which describes the records beside it.

    Attributes:
        part: which, such as "3/16".
        num_bytes: size of the file of records.
        sha256: of that file.
        recipe_hash: of the recipe.
        recipe: what they were made from.
        low_db: the range of the whole data set, for `scale: dataset`.
        high_db: the same.
        bytes_only: whether the records come without exact values; older parts do.
        lost_samples: the samples whose sounds an engine did not make.
    """

    part: PartText
    num_bytes: Whole
    sha256: str
    recipe_hash: str
    recipe: dict[str, object]
    low_db: float | None
    high_db: float | None
    bytes_only: bool = True
    lost_samples: dict[str, object] | None = None


def read_part(directory: Path) -> PartInfo:
    """Read what a part's directory says of itself.

    Raises:
        VIMHError: if that cannot be read.
    """
    path = directory / PART_FILE
    try:
        return section(PartInfo, read_json(path))
    except ValueError as error:
        raise VIMHError(
            f"{path} does not say which part it is of ({error}); remove {directory} and make that "
            "part again"
        ) from error


def read_rows(maker: SampleMaker, directory: Path, info: PartInfo) -> Iterator[np.ndarray]:
    """Yield a part's samples in chunks.

    Raises:
        VIMHError: if they are not those that were written.
    """
    dtype, path = part_dtype(maker), directory / RECORDS_FILE
    found = file_digest(path)
    if found != info.sha256:
        raise VIMHError(
            f"{path}: expected SHA-256 {info.sha256}, found {found}; make part {info.part} again "
            "with overwrite=true"
        )
    with path.open("rb") as file:
        while len(rows := np.fromfile(file, dtype, maker.recipe.generate.chunk_size)):
            yield rows


def fields(rows: np.ndarray) -> dict[str, np.ndarray]:
    """What the writer takes of each sample."""
    records = rows["record"]
    values = {"values": rows["values"]} if "values" in (rows.dtype.names or ()) else {}
    return {
        "images": records["pixels"],
        "labels": records["parameters"][:, :, 1],
        "scale_factors": records["scale_factors"],
        **values,
    }


def part_dtype(maker: SampleMaker) -> np.dtype:
    """A sample in a part: its record, and its exact values unless bytes are enough."""
    layout = part_layout(maker)
    values = [] if maker.recipe.generate.bytes_only else [("values", "<f4", (len(layout.ids),))]
    return np.dtype([("record", layout.dtype), *values])


def part_layout(maker: SampleMaker) -> RecordLayout:
    """Return the layout of the data set's records."""
    metadata = Metadata.from_json(metadata_json(maker), "metadata of a part")
    return RecordLayout(metadata.image_shape, metadata.parameter_ids, has_scale_factors=True)
