"""Which modules outside of this project a file may name classes of.

A checkpoint or a data set names the classes that made it. Classes of this project are looked up in
its tables. Any other class is imported only if the user's own config or command line trusts its
module, or names the class itself. What the file says of trust is never read. docs/own_code.md
describes the rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

KEY = "extras.trusted_modules"


@dataclass(frozen=True)
class Trust:
    """What the user trusts.

    Attributes:
        modules: Modules and packages; what lies below a package is trusted too.
        targets: Import paths that the user's own config names.

    Example:
        >>> trust = Trust(modules=("my_synths",))
        >>> trust.admits("my_synths.nets.Net"), trust.admits("my_synths2.Net")
        (True, False)
    """

    modules: tuple[str, ...] = ()
    targets: frozenset[str] = frozenset()

    def admits(self, target: str) -> bool:
        """Tell whether a file may name the import path."""
        return target in self.targets or self.covers(target)

    def covers(self, target: str) -> bool:
        """Tell whether one of the modules holds the import path."""
        is_path = all(part.isidentifier() for part in target.split("."))
        return is_path and any(target.startswith(f"{module}.") for module in self.modules)


_NOTHING = Trust()
_trust: ContextVar[Trust] = ContextVar("trust", default=_NOTHING)


def current_trust() -> Trust:
    """Return what is trusted here; by default nothing outside of this project."""
    return _trust.get()


@contextmanager
def trusting(modules: Sequence[str], targets: frozenset[str] = frozenset()) -> Iterator[None]:
    """Trust modules within a block.

    Args:
        modules: Modules and packages.
        targets: Import paths.
    """
    token = _trust.set(Trust(tuple(modules), targets))
    try:
        yield
    finally:
        _trust.reset(token)


@contextmanager
def trusting_config(cfg: DictConfig) -> Iterator[None]:
    """Trust within a block what a user's own config trusts and names.

    Args:
        cfg: As composed; it comes from no file of a checkpoint, data set or run.
    """
    modules = OmegaConf.select(cfg, KEY) or ()
    with trusting(modules, frozenset(targets_in(OmegaConf.to_container(cfg)))):
        yield


def targets_in(node: Any) -> Iterator[str]:
    """Yield every ``_target_`` in plain containers."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "_target_" and isinstance(value, str):
                yield value
            else:
                yield from targets_in(value)
    elif isinstance(node, list):
        for value in node:
            yield from targets_in(value)


def how_to_trust(target: str) -> str:
    """Say which setting admits a class.

    Args:
        target: Its import path.
    """
    module = target.rpartition(".")[0] or target
    return f"if you trust its code, say {KEY}=[{module}] in your own config or command line"
