"""The synthesisers that a file from elsewhere may name: those that lie in this room."""

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import src.synth
from src.synth.synthesizers import Synthesizer


@functools.cache
def own_synthesizers() -> Mapping[str, type]:
    """The classes of `src.synth` by their import paths.

    The names are those of the room's own files: a path out of a file is looked up among them and
    never imported.

    Example:
        >>> own_synthesizers()["src.synth.resonator.ResonatorSynth"].synth_type
        'resonator'
    """
    room = src.synth.__name__
    for module in pkgutil.iter_modules(src.synth.__path__):
        importlib.import_module(f"{room}.{module.name}")
    table: dict[str, type] = {}
    for cls in _subclasses(Synthesizer):
        if cls.__module__.startswith(f"{room}.") and not inspect.isabstract(cls):
            table[f"{cls.__module__}.{cls.__name__}"] = cls
    return MappingProxyType(table)


def _subclasses(base: type) -> Iterator[type]:
    cls: type
    for cls in base.__subclasses__():
        yield cls
        yield from _subclasses(cls)
