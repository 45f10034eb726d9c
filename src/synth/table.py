"""The synthesisers and front ends that a file from elsewhere may name: those of this room."""

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import src.synth


@functools.cache
def own_classes(base: type) -> Mapping[str, type]:
    """Return the classes of `src.synth` that are derived from `base`, by their import paths.

    The names are those of the room's own files: a path out of a file is looked up among them and
    never imported.
    """
    room = src.synth.__name__
    for module in pkgutil.walk_packages(src.synth.__path__, f"{room}."):
        importlib.import_module(module.name)
    table: dict[str, type] = {}
    for cls in _subclasses(base):
        if cls.__module__.startswith(f"{room}.") and not inspect.isabstract(cls):
            table[f"{cls.__module__}.{cls.__name__}"] = cls
    return MappingProxyType(table)


def _subclasses(base: type) -> Iterator[type]:
    cls: type
    for cls in base.__subclasses__():
        yield cls
        yield from _subclasses(cls)
