"""The modules, networks and losses of this project that a file may name, by their import paths.

A checkpoint's config names classes. A path that is not in these tables is imported only if the user
trusts its module: :mod:`src.utils.trust`.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Mapping
from types import MappingProxyType, ModuleType

from torch import nn

from src.models import components, losses
from src.models.components import MultiheadNetwork
from src.models.losses import CrossEntropyHead, HeadLoss
from src.models.multihead_module import MultiheadLitModule


def _classes(room: ModuleType, base: type, more: Iterable[type] = ()) -> Mapping[str, type]:
    """Collect the room's concrete classes of a base.

    A class stands under its own file's path, and under the room's if the room exports it.
    """
    table: dict[str, type] = {}
    for info in pkgutil.iter_modules(room.__path__):
        module = importlib.import_module(f"{room.__name__}.{info.name}")
        for name, cls in inspect.getmembers(module, inspect.isclass):
            is_own = issubclass(cls, base) and cls.__module__ == module.__name__
            # The adapter takes a loss and a parameter, which no config can say.
            if not is_own or inspect.isabstract(cls) or cls is CrossEntropyHead:
                continue
            table[f"{module.__name__}.{name}"] = cls
            if name in room.__all__:
                table[f"{room.__name__}.{name}"] = cls
    table |= {
        f"{path}.{cls.__name__}": cls for cls in more for path in ("torch.nn", cls.__module__)
    }
    return MappingProxyType(table)


NETWORKS = _classes(components, MultiheadNetwork)
LOSSES = _classes(losses, HeadLoss, more=[nn.CrossEntropyLoss])
MODULES: Mapping[str, type] = MappingProxyType(
    {f"{MultiheadLitModule.__module__}.{MultiheadLitModule.__name__}": MultiheadLitModule}
)
