"""Tables that fit the terminal, the composed config as a tree, and tags."""

import sys
import textwrap
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.prompt import Prompt
from rich.syntax import Syntax
from rich.table import Column, Table
from rich.text import Text
from rich.tree import Tree

from src.utils.errors import ConfigError
from src.utils.pylogger import RankedLogger, rank_zero_only

log = RankedLogger(__name__, rank_zero_only=True)

PRINT_ORDER = ("data", "model", "loss", "callbacks", "logger", "trainer", "paths", "extras")


def plain_console(width: int | None = None) -> Console:
    """Make a console that shows texts as they are.

    Rich would read ``[a]`` in the name of a file as markup, and ``:x:`` as an emoji.

    Args:
        width: Columns; None: those of the terminal.
    """
    return Console(width=width, markup=False, emoji=False)


def print_table(console: Console, table: Table) -> None:
    """Print a table without cutting a figure, however narrow the terminal is.

    Where the columns do not fit side by side, first their headings are broken at blanks, then the
    names in the other columns; columns that still do not fit follow in a table below.

    Args:
        console: Where to.
        table: Columns with ``no_wrap`` hold figures, those with ``overflow="fold"`` names, which
            every part has at its left.
    """
    names = [column for column in table.columns if not column.no_wrap]
    rest = [_uncut(column) for column in table.columns if column.no_wrap]
    if _width(console, _part(table, [*names, *rest])) > console.width:
        rest = [_uncut(_narrow_heading(column)) for column in rest]
    title, caption = table.title, table.caption
    while True:
        count = len(rest)
        fitted = _fitted(console, table, names, rest)
        while count > 1 and fitted is None:
            count -= 1
            fitted = _fitted(console, table, names, rest[:count])
        # Where not even one fits, the names are broken anywhere.
        part = _part(table, [*names, *rest[:count]]) if fitted is None else fitted
        rest = rest[count:]
        part.title, title = title, None
        part.caption = None if rest else caption
        console.print(part)
        if not rest:
            return


def _fitted(
    console: Console, table: Table, names: Sequence[Column], figures: Sequence[Column]
) -> Table | None:
    """Return the part of a table whose names are broken at blanks; None where it is too wide."""
    least = [_widest(column, str.split) for column in names]
    narrow = [replace(column, width=width) for column, width in zip(names, least, strict=True)]
    spare = console.width - _width(console, _part(table, [*narrow, *figures]))
    if spare < 0:
        return None
    for place, (column, width) in enumerate(zip(names, least, strict=True)):
        more = min(spare, _widest(column, str.splitlines) - width)
        narrow[place] = replace(column, width=width + more)
        spare -= more
    return _part(table, [*narrow, *figures])


def _uncut(column: Column) -> Column:
    """Give a column the width of its widest figure, which Rich would cut."""
    return replace(column, min_width=_widest(column, str.splitlines))


def _widest(column: Column, pieces: Callable[[str], list[str]]) -> int:
    texts = [str(text) for text in (column.header, *column.cells)]
    return max((cell_len(piece) for text in texts for piece in pieces(text)), default=0)


def _narrow_heading(column: Column) -> Column:
    """Break a heading at blanks, to the width of the figures below it."""
    heading = str(column.header)
    least = max(map(cell_len, [*map(str, column.cells), *heading.split()]), default=0)
    return replace(column, header="\n".join(textwrap.wrap(heading, max(least, 1))))


def _part(table: Table, columns: Sequence[Column]) -> Table:
    """Return the table with some of its columns."""
    part = copy(table)
    part.columns = [replace(column, _index=place) for place, column in enumerate(columns)]
    return part


def _width(console: Console, table: Table) -> int:
    """Return the width of a table that has all the room it wants."""
    return Measurement.get(console, console.options.update(width=100_000), table).maximum


@rank_zero_only
def write_config_tree(cfg: DictConfig, show: bool = False) -> None:
    """Write the config as a tree to ``config_tree.log`` in ``paths.output_dir``.

    Args:
        cfg: The composed config; interpolations are shown by their values.
        show: Whether to print it, too.
    """
    first = [key for key in PRINT_ORDER if key in cfg]
    tree = Tree("CONFIG", style="dim", guide_style="dim")
    for key in [*first, *(str(key) for key in cfg if key not in first)]:
        text = OmegaConf.to_yaml({key: _resolved(cfg, key)})
        code = Syntax(text.rstrip(), "yaml", background_color="default")
        tree.add(code if show else Text(text.rstrip()))  # colours take a tenth of a second
    if show:
        Console().print(tree)
    path = Path(cfg.paths.output_dir) / "config_tree.log"
    with path.open("w", encoding="utf-8") as file:
        # Wide enough for most paths, which it would break.
        Console(file=file, width=200).print(tree)


def _resolved(cfg: DictConfig, key: str) -> object:
    # Not cfg[key], which raises for a missing value (???).
    if OmegaConf.is_missing(cfg, key):
        return "???"
    value = cfg[key]
    if OmegaConf.is_config(value):
        return OmegaConf.to_container(value, resolve=True)
    return value


@rank_zero_only
def enforce_tags(cfg: DictConfig, save_to_file: bool = False) -> None:
    """Ask for tags where the config has none, so that every run can be found again.

    Args:
        cfg: The composed config; the answer becomes its ``tags``.
        save_to_file: Whether to write the tags also to ``tags.log`` in ``paths.output_dir``.

    Raises:
        ConfigError: If there are no tags and nobody to ask: in a multirun, or without a terminal.
    """
    if not cfg.get("tags"):
        if _is_multirun():
            raise ConfigError('tags is empty: give it before a multirun starts, as in tags="[a,b]"')
        if not sys.stdin.isatty():
            raise ConfigError(
                'tags is empty and there is no terminal to ask on: give it, as in tags="[a,b]", '
                "or set extras.enforce_tags=false"
            )
        answer = Prompt.ask("Tags for this run, separated by commas", default="dev")
        with open_dict(cfg):
            cfg.tags = [tag.strip() for tag in answer.split(",") if tag.strip()]
        log.info("tags: %s", list(cfg.tags))
    if save_to_file:
        path = Path(cfg.paths.output_dir) / "tags.log"
        tags = [cfg.tags] if isinstance(cfg.tags, str) else cfg.tags  # tags=first is one tag
        path.write_text("\n".join(str(tag) for tag in tags) + "\n", encoding="utf-8")


def _is_multirun() -> bool:
    if not HydraConfig.initialized():
        return False
    return not OmegaConf.is_missing(HydraConfig.get().job, "num")
