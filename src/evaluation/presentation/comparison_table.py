"""The table of a network beside its baselines."""

from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from src.evaluation.scoring.figures import step_word
from src.evaluation.scoring.rows import Row, percent_text
from src.vimh.parameters import Parameter

WITHIN = "within 1"  # step, whatever it is called
HEADINGS = ("MAE", "of range", "of value", WITHIN, "accuracy")


def comparison_table(
    rows: Iterable[Row], parameters: Sequence[Parameter], title: str, caption: str | None = None
) -> Table:
    """Return the table of methods with their errors and the share within one JND.

    Args:
        rows: The network first, then the baselines.
        parameters: The parameters in the heads' order.
        title: What the table shows, with the number of samples.
        caption: A sentence below it.
    """
    rows = list(rows)
    # With one parameter, all at once is the same again.
    heads = [*(p.name for p in parameters), *([None] if len(parameters) > 1 else [])]
    log_heads = [p.name for p in parameters if p.is_log]
    cells = {head: [_cells(row.metrics, head, head in log_heads) for row in rows] for head in heads}
    # Errors in different units make none together.
    cells = {head: lines for head, lines in cells.items() if head or any(lines[0].values())}
    word = step_word(parameters)
    # Classes have no errors in units, and values no accuracy: what the network lacks is left out.
    shown = [h for h in HEADINGS if any(lines[0][h] for lines in cells.values())]
    table = Table(title=Text(title), caption=caption, title_justify="left", caption_justify="left")
    for heading in ("parameter", "method"):
        table.add_column(heading, overflow="fold")
    for heading in shown:
        text = f"{heading} {word}" if heading == WITHIN else heading
        table.add_column(text, justify="right", no_wrap=True)

    for head, lines in cells.items():
        unit = next((p.unit for p in parameters if p.name == head), word if "MAE" in shown else "")
        labels = [head or "all at once", f"[{unit}]" if unit else ""]
        for position, (row, line) in enumerate(zip(rows, lines, strict=True)):
            table.add_row(
                Text(labels[position]) if position < len(labels) else "",
                row.method,
                *(line[heading] for heading in shown),
                end_section=position == len(rows) - 1,
            )
    return table


def _cells(metrics: Mapping[str, float], head: str | None, is_log: bool) -> dict[str, str]:
    """Return a method's figures for one parameter, or None: for all at once; by heading."""
    prefix = "" if head is None else f"{head}_"
    mae = metrics.get(f"{prefix}mae" if head else "mae_jnd")
    percent = percent_text(metrics.get(f"{prefix}mae_percent"), factor=1.0, digits=2)
    return {
        "MAE": "" if mae is None else f"{mae:.3g}",
        "of range": "" if is_log else percent,
        "of value": percent if is_log else "",
        WITHIN: percent_text(metrics.get(f"{prefix}jnd")),
        "accuracy": percent_text(metrics.get(f"{prefix}acc")),
    }
