"""What the importers of natural images share: class heads, the data set's name, writing it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8

from src.schema.bounds import Text
from src.utils.pylogger import RankedLogger
from src.vimh.errors import VIMHError
from src.vimh.metadata import METADATA_FILE, Metadata, Split
from src.vimh.parameters import Parameter, ParameterSpace
from src.vimh.records import DatasetWriter

log = RankedLogger(__name__, rank_zero_only=True)

_CHUNK = 4096  # samples written at once


@dataclass(frozen=True)
class LabelledImages:
    """Images, and the class indices of each head."""

    images: UInt8[np.ndarray, "N C H W"]
    labels: Mapping[str, UInt8[np.ndarray, "N"]]


def class_parameter(name: str, class_names: Sequence[str], description: str) -> Parameter:
    """Make a head of unordered classes; its stored byte and its value are the class index.

    Example:
        >>> digit = class_parameter("digit", "0123456789", "the digit that was written")
        >>> digit.num_classes, float(digit.dequantise(7))
        (10, 7.0)
    """
    names = tuple(class_names)
    return Parameter(name, 0, 255, description=description, kind="categorical", class_names=names)


class ImageSource(ABC):
    """Imports one set of labelled images as a VIMH data set.

    Args:
        vimh_dir: the folder that the data set's directory is made in.
        name: the last part of the data set's name; None: the class has it.

    Attributes:
        image_shape: (C, H, W) of every image.
        name: the last part of the data set's name.
        dataset_dir: what :meth:`make` writes.
    """

    image_shape: ClassVar[tuple[int, int, int]]
    name: str

    def __init__(self, vimh_dir: Text | Path, name: str | None = None) -> None:
        if name is not None:  # a class may have a property in its place
            self.name = name
        channels, height, width = self.image_shape
        self.dataset_dir = Path(vimh_dir) / f"vimh-{height}x{width}x{channels}_{self.name}"

    @abstractmethod
    def recipe(self) -> dict[str, object]:
        """Describe what the data set is made from, as plain data; equal recipes make equal bytes.

        Raises:
            ValueError: Files are missing.
        """

    @abstractmethod
    def read(self) -> tuple[ParameterSpace, dict[Split, LabelledImages]]:
        """Read the heads, and the samples of the train and of the test file.

        Raises:
            ValueError: Files are missing or are not what they should be.
        """

    def make(self) -> None:
        """Write the data set; keep an existing one of the same files.

        Raises:
            ValueError: Files are missing or broken, or a data set of other files has the name.
        """
        recipe = self.recipe()
        if (self.dataset_dir / METADATA_FILE).is_file():
            if (found := Metadata.load(self.dataset_dir).recipe) != recipe:
                raise VIMHError(
                    f"{self.dataset_dir} exists and was made from something else (found {found}, "
                    f"expected {recipe}): name the data.source.root that it was made from, use it "
                    "as it is with data.data_dir=..., or delete it"
                )
            return
        parameters, splits = self.read()
        channels, height, width = self.image_shape
        metadata = {
            "dataset_name": self.dataset_dir.name,
            "height": height,
            "width": width,
            "channels": channels,
            "parameter_names": list(parameters),
            "parameter_mappings": parameters.to_json(),
            "recipe": recipe,
        }
        with DatasetWriter(self.dataset_dir, metadata) as writer:
            for split, samples in splits.items():
                labels = np.stack([samples.labels[name] for name in parameters], axis=1)
                for start in range(0, len(labels), _CHUNK):
                    part = slice(start, start + _CHUNK)
                    writer.write(split, samples.images[part], labels[part])
        log.info(
            f"wrote {self.dataset_dir}: "
            + ", ".join(f"{len(part.images)} {split}" for split, part in splits.items())
        )


def first_share(samples: LabelledImages, share: float = 0.8) -> dict[Split, LabelledImages]:
    """Split samples in order: the first share trains, the rest tests."""
    stop = round(share * len(samples.images))
    parts: dict[Split, slice] = {"train": slice(0, stop), "test": slice(stop, None)}
    return {
        split: LabelledImages(
            samples.images[part], {name: label[part] for name, label in samples.labels.items()}
        )
        for split, part in parts.items()
    }


def check_classes(where: str, labels: np.ndarray, num_classes: int) -> UInt8[np.ndarray, "N"]:
    """Return class indices as bytes.

    Raises:
        VIMHError: An index is not below `num_classes`; names its sample.
    """
    wrong = (labels < 0) | (labels >= num_classes)
    if wrong.any():
        sample = int(wrong.argmax())
        raise VIMHError(
            f"{where}: sample {sample} has label {int(labels[sample])}, expected 0 to "
            f"{num_classes - 1}"
        )
    return labels.astype(np.uint8)
