"""The 1797 handwritten digits that scikit-learn contains: real data without a download."""

from pathlib import Path

import numpy as np

from src.data.sources.images import (
    ImageSource,
    LabelledImages,
    check_classes,
    class_parameter,
    first_share,
)
from src.schema.bounds import Seed, Text
from src.synth.philox import check_seed
from src.vimh.metadata import Split
from src.vimh.parameters import ParameterSpace

_MAX_LEVEL = 16


class DigitsSource(ImageSource):
    """Digits of 8x8x1 pixels in 17 grey levels (Alpaydin and Kaynak 1998, the UCI test set).

    Args:
        vimh_dir: the folder that the data set's directory is made in.
        seed: of the order of the written samples; the originals are sorted by writer.

    Raises:
        VIMHError: The seed is out of range.
    """

    image_shape = (1, 8, 8)

    def __init__(self, vimh_dir: Text | Path, seed: Seed = 42) -> None:
        super().__init__(vimh_dir, "digits")
        check_seed(seed, "data.source.seed")
        self._seed = seed

    def recipe(self) -> dict[str, object]:
        """Return the source and the seed."""
        return {"source": self.name, "seed": self._seed}

    def read(self) -> tuple[ParameterSpace, dict[Split, LabelledImages]]:
        """Shuffle the digits; the first 80 % train, the rest tests."""
        from sklearn.datasets import load_digits

        bunch = load_digits()
        order = np.random.Generator(np.random.Philox(key=self._seed)).permutation(len(bunch.target))
        images = np.round(bunch.images[order, None] * (255 / _MAX_LEVEL)).astype(np.uint8)
        digits = check_classes("scikit-learn's digits", bunch.target[order], 10)
        head = class_parameter("digit", "0123456789", "the digit that was written")
        return ParameterSpace([head]), first_share(LabelledImages(images, {"digit": digits}))
