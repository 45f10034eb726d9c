"""The source that synthesises: a recipe of configs/recipe and the folder its data set goes to."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.schema.bounds import Text
from src.synth.generate import dataset_dir, generate_dataset
from src.synth.sections import plain
from src.utils.pylogger import RankedLogger
from src.vimh.errors import VIMHError

log = RankedLogger(__name__, rank_zero_only=True)


class GeneratorSource:
    """Makes the data set of a recipe.

    Args:
        recipe: the keys of docs/avix_dataset.md, plain or OmegaConf.
        root: the folder that the data set's directory is made in; it takes the place of the
            recipe's `generate.output_dir`.

    Raises:
        VIMHError: if the recipe makes no data set.
    """

    def __init__(self, recipe: Mapping[str, Any], root: Text | Path) -> None:
        self.recipe: dict[str, Any] = plain(recipe)
        own = self.recipe.get("generate", {})
        if not isinstance(own, Mapping):
            raise VIMHError(f"data.source.recipe.generate is {own!r}; expected a mapping")
        if not isinstance(folder := own.get("output_dir", ""), str):
            raise VIMHError(
                f"data.source.recipe.generate.output_dir is {folder!r}; expected a text (it is not "
                "read: data.source.root is)"
            )
        self.recipe["generate"] = {**own, "output_dir": str(root)}
        try:
            self._dataset_dir = dataset_dir(self.recipe)
        except VIMHError as error:
            reason = str(error)
            joint = "." if re.match(r"[\w.]+:? (must|is) ", reason) else ": "
            raise VIMHError(f"data.source.recipe{joint}{reason}") from error

    @property
    def dataset_dir(self) -> Path:
        """Where :meth:`make` writes, known before it does."""
        return self._dataset_dir

    def make(self) -> None:
        """Generate the data set; one that is there from the same recipe is left alone.

        Raises:
            VIMHError: if a data set from another recipe has the name.
        """
        report = generate_dataset(self.recipe)
        if report.made:
            log.info(str(report))
