"""The modules, networks and losses that a file from elsewhere may name, by their import paths.

A checkpoint's config names classes. These tables, and nothing else, say which are built of it: a
path that is not in them is refused without being imported.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from types import MappingProxyType, ModuleType

from torch import nn

from src.models import components, losses
from src.models.components import MultiheadNetwork
from src.models.losses import CrossEntropyHead, HeadLoss
from src.models.multihead_module import MultiheadLitModule


def _classes(room: ModuleType, base: type, more: Iterable[type] = ()) -> Mapping[str, type]:
    """The room's concrete classes of a base, under the room's path and under their own file's."""
    found = [getattr(room, name) for name in room.__all__]
    concrete = [c for c in found if isinstance(c, type) and issubclass(c, base)]
    table: dict[str, type] = {}
    # The adapter takes a loss and a parameter, which no config can say.
    for cls in (c for c in concrete if not inspect.isabstract(c) and c is not CrossEntropyHead):
        table |= {f"{room.__name__}.{cls.__name__}": cls, f"{cls.__module__}.{cls.__name__}": cls}
    table |= {
        f"{path}.{cls.__name__}": cls for cls in more for path in ("torch.nn", cls.__module__)
    }
    return MappingProxyType(table)


NETWORKS = _classes(components, MultiheadNetwork)
LOSSES = _classes(losses, HeadLoss, more=[nn.CrossEntropyLoss])
MODULES: Mapping[str, type] = MappingProxyType(
    {f"{MultiheadLitModule.__module__}.{MultiheadLitModule.__name__}": MultiheadLitModule}
)
