"""Print the composed config as a tree; ask for the tags that help to find a run again."""

import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.console import Console
from rich.prompt import Prompt
from rich.syntax import Syntax
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


@rank_zero_only
def print_config_tree(
    cfg: DictConfig,
    print_order: Sequence[str] = PRINT_ORDER,
    resolve: bool = False,
    save_to_file: bool = False,
) -> None:
    """Print the config as a tree.

    Args:
        cfg: The composed config.
        print_order: The keys that come first; the others follow in the config's order.
        resolve: Whether to show interpolations by their values.
        save_to_file: Whether to write the tree also to ``config_tree.log`` in
            ``paths.output_dir``.
    """
    first = [key for key in print_order if key in cfg]
    tree = Tree("CONFIG", style="dim", guide_style="dim")
    for key in [*first, *(str(key) for key in cfg if key not in first)]:
        # Not cfg[key], which raises for a missing value (???).
        node = OmegaConf.masked_copy(cfg, key)
        text = OmegaConf.to_yaml({key: _resolved(cfg, key)} if resolve else node)
        tree.add(Syntax(text.rstrip(), "yaml", background_color="default"))
    Console().print(tree)
    if save_to_file:
        path = Path(cfg.paths.output_dir) / "config_tree.log"
        with path.open("w", encoding="utf-8") as file:
            Console(file=file, width=100).print(tree)


def _resolved(cfg: DictConfig, key: str) -> object:
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
