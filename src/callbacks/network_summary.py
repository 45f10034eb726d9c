"""The table of a network's parts at the beginning of a run."""

import re
from typing import Annotated

from annotated_types import Interval
from lightning.pytorch.callbacks import RichModelSummary
from lightning.pytorch.utilities.model_summary import get_human_readable_count
from rich import get_console
from rich.table import Table

from src.utils.rich_utils import print_table


class NetworkSummary(RichModelSummary):
    """Lightning's summary of the network alone, for one image.

    The module also holds metrics, losses and the preparation of batches, which have no weights and
    would hide the layers. The table has no operations, because Lightning's count leaves out
    PyTorch's fused layers (viz/simple_model_diagram.py counts them).

    Args:
        max_depth: How deep parts of parts are listed: 2 for the network's own parts, -1 for all,
            0 for no table.
    """

    def __init__(self, max_depth: Annotated[int, Interval(ge=-1, le=1000)] = 1) -> None:
        super().__init__(max_depth)

    @staticmethod
    def summarize(
        summary_data: list[tuple[str, list[str]]],
        total_parameters: int,
        trainable_parameters: int,
        model_size: float,
        total_training_modes: dict[str, int],
        total_flops: int,
        **summarize_kwargs: object,
    ) -> None:
        """Print the table."""
        columns = dict(summary_data)
        names, weights = columns["Name"], [text.strip() for text in columns["Params"]]
        unknown = ["?"] * len(names)
        sizes = [columns.get("In sizes", unknown), columns.get("Out sizes", unknown)]
        table = Table(header_style="bold")
        table.add_column("part", overflow="fold")
        for heading in ("layer", "in", "out"):
            table.add_column(heading, no_wrap=True)
        table.add_column("weights", justify="right", no_wrap=True)
        for row, name in enumerate(names):
            if name.split(".")[0] == "net" or weights[row] != "0":
                shapes = [_of_one_image(column[row]) for column in sizes]
                table.add_row(name, columns["Type"][row], *shapes, weights[row])
        console = get_console()
        print_table(console, table)
        total, trained = (
            get_human_readable_count(count).strip()
            for count in (total_parameters, trainable_parameters)
        )
        console.print(f"{total} weights ({model_size:.3g} MB), {trained} of them trained")


def _of_one_image(sizes: str) -> str:
    """Write Lightning's "[1, 16, 8, 8]" as "16×8×8", several with a comma, an unknown one as "".

    Example:
        >>> _of_one_image("[[1, 56], [1, 5]]"), _of_one_image("?")
        ('56, 5', '')
    """
    return ", ".join(size.replace(", ", "×") for size in re.findall(r"\[1, ([\d, ]+)\]", sizes))
