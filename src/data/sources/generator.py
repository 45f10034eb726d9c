"""The source that synthesises a data set from a recipe of configs/recipe."""

from collections.abc import Mapping
from pathlib import Path

from src.schema.bounds import Text
from src.schema.plain import plain_values
from src.synth.errors import recipe_errors
from src.synth.generate import generate_dataset, whole
from src.utils.pylogger import RankedLogger

log = RankedLogger(__name__, rank_zero_only=True)


class GeneratorSource:
    """Makes the data set of a recipe.

    Args:
        recipe: the keys of docs/avix_dataset.md, plain or OmegaConf.
        root: the folder that the data set's directory is made in; it replaces the recipe's
            `generate.output_dir`.

    Raises:
        VIMHError: The recipe makes no data set.
    """

    def __init__(self, recipe: Mapping[str, object], root: Text | Path) -> None:
        values = plain_values(recipe)
        with recipe_errors("data.source.recipe."):
            checked = whole(values)
            name = checked.dataset_name()
        own = {**values.get("generate", {}), "output_dir": str(root)}
        self.recipe: dict[str, object] = {**values, "synth": checked.synth, "generate": own}
        self.dataset_dir = Path(root) / name

    def make(self) -> None:
        """Generate the data set; keep an existing one of the same recipe.

        Raises:
            VIMHError: A data set of another recipe has the name.
        """
        report = generate_dataset(self.recipe)
        if report.made:
            log.info(str(report))
