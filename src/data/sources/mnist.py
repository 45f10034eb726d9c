"""MNIST (LeCun, Cortes and Burges 1998), from its four IDX files.

IDX: two zero bytes, the type (8: unsigned byte), the number of dimensions, each dimension as a
big-endian uint32, then the values, last dimension fastest.
"""

import gzip
import math
import struct
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Float32, UInt8

from src.data.sources.downloads import RemoteFile, fetch, find, naming
from src.data.sources.images import (
    ImageSource,
    LabelledImages,
    check_classes,
    class_parameter,
    first_share,
)
from src.schema.bounds import OneOf, Text
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError
from src.vimh.metadata import Split
from src.vimh.parameters import ParameterSpace
from src.vimh.plain import file_digest

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
    "http://yann.lecun.com/exdb/mnist",
)
SHA256 = {
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
PARTS = ("all", "train", "t10k")
MAX_VALUES = 2**30
# Of a file that is packed: the real ones unpack to 5 times their size at most.
UNPACKED_SHARE, UNPACKED_FREE = 2, 64 * 2**20
_UNSIGNED_BYTE = 8

# Bounds of the classes: quintiles and terciles of the 10,000 test digits, rounded.
THICKNESS_BOUNDS_PX = (1.98, 2.26, 2.55, 2.95)
SOFTNESS_BOUNDS_PX = (1.46, 1.51)
THICKNESS_CLASSES = ("very thin", "thin", "medium", "thick", "very thick")
SMOOTHNESS_CLASSES = ("sharp", "medium", "soft")


class MNISTSource(ImageSource):
    """Handwritten digits, 28x28x1: 60,000 to train and 10,000 to test.

    Args:
        vimh_dir: the folder that the data set's directory is made in.
        cache_dir: the folder that downloads are kept in.
        root: a folder with the original files, packed (.gz) or not; None: they are downloaded.
        multihead: three heads (digit, thickness, smoothness) instead of one.
        part: "all", or one of the two pairs of files alone ("train", "t10k"), whose first 80 %
            then train and the rest tests.
    """

    image_shape = (1, 28, 28)

    def __init__(
        self,
        vimh_dir: Text | Path,
        cache_dir: Text | Path,
        root: Text | Path | None = None,
        multihead: bool = False,
        part: Annotated[str, OneOf(PARTS)] = "all",
    ) -> None:
        if part not in PARTS:
            raise ConfigError(f"data.source.part is {part!r}; expected all, train or t10k")
        kind = "multihead_mnist" if multihead else "mnist"
        super().__init__(vimh_dir, kind if part == "all" else f"{kind}_{part}")
        self._cache_dir = Path(cache_dir)
        self._root = None if root is None else Path(root)
        self._multihead = multihead
        self._pairs = ("train", "t10k") if part == "all" else (part,)

    def recipe(self) -> dict[str, object]:
        """Return the source and the SHA-256 of each file; of downloads, the pinned ones."""
        names = [name for pair in self._pairs for name in _names(pair)]
        return {
            "source": self.name,
            "files": {
                name: SHA256[name] if self._root is None else file_digest(self._path(name))
                for name in names
            },
        }

    def read(self) -> tuple[ParameterSpace, dict[Split, LabelledImages]]:
        """Read the files; download those that are missing."""
        heads = [class_parameter("digit", "0123456789", "the digit that was written")]
        if self._multihead:
            heads += [
                class_parameter(
                    "thickness", THICKNESS_CLASSES, "width of the strokes: 2*ink/outline, in pixels"
                ),
                class_parameter(
                    "smoothness", SMOOTHNESS_CLASSES, "width of the strokes' edges, in pixels"
                ),
            ]
        pairs = [self._read_pair(pair) for pair in self._pairs]
        if len(pairs) == 1:
            return ParameterSpace(heads), first_share(pairs[0])
        return ParameterSpace(heads), {"train": pairs[0], "test": pairs[1]}

    def _read_pair(self, pair: str) -> LabelledImages:
        images_name, labels_name = _names(pair)
        images = read_idx(self._path(images_name), 3)
        digits = read_idx(self._path(labels_name), 1)
        if images.shape != (len(digits), 28, 28):
            raise VIMHError(
                f"{images_name} holds images of shape {images.shape}; expected "
                f"({len(digits)}, 28, 28), as {labels_name} has {len(digits)} labels"
            )
        labels = {"digit": check_classes(labels_name, digits, 10)}
        if self._multihead:
            labels |= stroke_classes(images)
        return LabelledImages(images[:, None], labels)

    def _path(self, name: str) -> Path:
        if self._root is not None:
            return find(self._root, (f"{name}.gz", name))
        needed = [f"{name}.gz" for pair in self._pairs for name in _names(pair)]
        file = RemoteFile(f"{name}.gz", SHA256[name], MIRRORS)
        return fetch(file, self._cache_dir, needed=needed)


def _names(pair: str) -> tuple[str, str]:
    return f"{pair}-images-idx3-ubyte", f"{pair}-labels-idx1-ubyte"


def read_idx(path: Path, num_dimensions: int) -> UInt8[np.ndarray, "..."]:
    """Read an IDX file of unsigned bytes, packed with gzip where its name ends in .gz.

    Raises:
        VIMHError: The header is wrong, or the number of values does not fit it.
    """
    header_bytes = 4 + 4 * num_dimensions
    with naming(str(path)), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        header = file.read(header_bytes)
        expected = bytes((0, 0, _UNSIGNED_BYTE, num_dimensions))
        if len(header) != header_bytes or header[:4] != expected:
            raise VIMHError(
                f"{path}: expected an IDX header of {header_bytes} bytes that starts with "
                f"{expected.hex()}, found {header.hex() or 'nothing'}"
            )
        shape = struct.unpack(f">{num_dimensions}I", header[4:])
        size = math.prod(shape)
        most = min(MAX_VALUES, UNPACKED_SHARE * path.stat().st_size + UNPACKED_FREE)
        if size > most:
            raise VIMHError(
                f"{path}: says that it holds {size} values, more than the {most} that a file of "
                "its size may hold"
            )
        values = file.read(size + 1)  # one more than there should be
    if len(values) != size:
        more = "more" if len(values) > size else len(values)
        raise VIMHError(f"{path}: expected {size} values of shape {shape}, found {more}")
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)


def stroke_classes(images: UInt8[np.ndarray, "N H W"]) -> dict[str, UInt8[np.ndarray, "N"]]:
    """Return the thickness and smoothness classes of digits, by the bounds in this file."""
    thickness, softness = stroke_measures(images)
    return {
        "thickness": np.digitize(thickness, THICKNESS_BOUNDS_PX).astype(np.uint8),
        "smoothness": np.digitize(softness, SOFTNESS_BOUNDS_PX).astype(np.uint8),
    }


def stroke_measures(
    images: UInt8[np.ndarray, "N H W"],
) -> tuple[Float32[np.ndarray, "N"], Float32[np.ndarray, "N"]]:
    """Measure how thick the strokes of an image are and how soft their edges, both in pixels.

    With x the ink in 0...1 and |∇x| its gradient (forward differences, nothing outside the
    image), the total variation TV = Σ|∇x| is the length of the outline, averaged over all grey
    levels, by the coarea formula (Fleming and Rishel 1960); Σx is the inked area, averaged
    likewise. A stroke of width w and length l ≫ w has the area w·l and an outline of 2·l, so

    - thickness = 2·Σx / TV,
    - softness = TV / Σ|∇x|²: an edge that rises evenly over k pixels has k of them with |∇x| = 1/k.

    A blank image has 0 for both.

    Example:
        >>> image = np.zeros((1, 28, 28), np.uint8)
        >>> image[:, 2:26, 12:16] = 255  # a bar 4 pixels wide and 24 long
        >>> thickness, softness = stroke_measures(image)
        >>> round(float(thickness[0]), 1), round(float(softness[0]), 1)
        (3.5, 1.0)
    """
    thickness = np.zeros(len(images), np.float32)
    softness = np.zeros(len(images), np.float32)
    for start in range(0, len(images), 4096):  # the gradients of all images would be large
        part = slice(start, start + 4096)
        x = np.pad(images[part].astype(np.float32) / 255, ((0, 0), (1, 1), (1, 1)))
        rise = np.hypot(np.diff(x, axis=1)[:, :, :-1], np.diff(x, axis=2)[:, :-1])
        outline, steepness = rise.sum((1, 2)), np.square(rise).sum((1, 2))
        inked = outline > 0
        np.divide(2 * x.sum((1, 2)), outline, out=thickness[part], where=inked)
        np.divide(outline, steepness, out=softness[part], where=inked)
    return thickness, softness
