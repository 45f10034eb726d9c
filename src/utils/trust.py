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

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

KEY = "extras.trusted_modules"
PROGRAMS = "extras.trusted_programs"
# Arguments of synthesisers that are the path of code: a Faust program, a plug-in.
PROGRAM_KEYS = ("dsp", "plugin")


@dataclass(frozen=True)
class Trust:
    """What the user trusts.

    Example:
        >>> trust = Trust(modules=("my_synths",))
        >>> trust.admits("my_synths.nets.Net"), trust.admits("my_synths2.Net")
        (True, False)
    """

    modules: tuple[str, ...] = ()  # and packages; what lies below a package is trusted too
    targets: frozenset[str] = frozenset()  # import paths that the user's own config names
    programs: tuple[str, ...] = ()  # paths that it names; a file names one by its content

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
def trusting(
    modules: Sequence[str] = (),
    targets: frozenset[str] = frozenset(),
    programs: Sequence[str] = (),
) -> Iterator[None]:
    """Trust modules and packages, import paths, and paths of programs, within a block."""
    token = _trust.set(Trust(tuple(modules), targets, tuple(programs)))
    try:
        yield
    finally:
        _trust.reset(token)


@contextmanager
def trusting_config(cfg: DictConfig) -> Iterator[None]:
    """Trust within a block what a user's own config, which comes from no file of a run, names."""
    modules = OmegaConf.select(cfg, KEY) or ()
    own = OmegaConf.to_container(cfg)
    named = (in_config(own, text) for text in texts_in(own, *PROGRAM_KEYS))
    programs = [*(OmegaConf.select(cfg, PROGRAMS) or ()), *filter(None, named)]
    with trusting(modules, frozenset(texts_in(own, "_target_")), programs):
        yield


def texts_in(node: object, *keys: str) -> Iterator[str]:
    """Yield every text that plain containers hold under one of the keys."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in keys and isinstance(value, str):
                yield value
            else:
                yield from texts_in(value, *keys)
    elif isinstance(node, list):
        for value in node:
            yield from texts_in(value, *keys)


def in_config(config: object, path: object) -> str | None:
    """Return a program's path with its interpolations as a config has them; None: there is none.

    A run's folder may say what `paths.root_dir` is, so the text of an interpolation says nothing.
    """
    assert isinstance(config, dict)
    try:
        return f"{OmegaConf.create({**config, 'program_': path}).program_}"
    except OmegaConfBaseException:
        return None


def how_to_trust_program(name: str, sha256: str, trusted: Sequence[str]) -> str:
    """Say which setting admits a program or plug-in, by its content, that a file was made with."""
    others = f" (those of {', '.join(trusted)} are others)" if trusted else ""
    return (
        f"the sounds were made by {name} with SHA-256 {sha256}, which is neither run nor "
        f"loaded{others}: if you have that file and trust it, say {PROGRAMS}=[FILE] in your own "
        "config or command line"
    )


def how_to_trust(target: str) -> str:
    """Say which setting admits the class of an import path."""
    module = target.rpartition(".")[0] or target
    return f"if you trust its code, say {KEY}=[{module}] in your own config or command line"
