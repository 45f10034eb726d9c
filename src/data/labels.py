"""From stored bytes to the labels that each head's loss wants, by table."""

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from src.data.batch import Labels
from src.utils.errors import ConfigError
from src.vimh.parameters import Parameter, ParameterSpace

TargetKind = Literal["index", "distribution", "value"]
TARGET_KINDS: tuple[TargetKind, ...] = ("index", "distribution", "value")
NUM_BYTES = 256


def soft_target_table(parameter: Parameter, width: float | int) -> Float[Tensor, "256 K"]:
    """The distribution over classes that stands for each byte.

    `exp(-(k - k0)²/(2 width²))`, normalised to sum 1, with k0 the byte's own class.

    Args:
        parameter: the head's parameter, with K classes in an order.
        width: standard deviation in classes, positive.

    Example:
        >>> half = Parameter("note_velocity", min=126.0, max=127.0, step=0.5)
        >>> soft_target_table(half, 0.5)[0].round(decimals=3)
        tensor([0.8810, 0.1190, 0.0000])
    """
    own = torch.from_numpy(parameter.class_table()).double().unsqueeze(1)
    classes = torch.arange(parameter.num_classes, dtype=torch.float64)
    distribution = torch.softmax(-((classes - own) ** 2) / (2 * width**2), dim=1)
    return distribution.float()


class LabelTables:
    """The labels of every head, looked up for a whole batch at once.

    Args:
        parameters: the heads, in the order of the stored bytes.
        kinds: what each head's loss wants; None: indices. A head whose loss takes class indices
            gets a distribution where `target_width` is positive (classes without an order keep
            their index).
        target_width: standard deviation of soft targets, in classes; 0: none.

    Raises:
        ConfigError: An unknown head or kind, or a kind that `target_width` contradicts.

    Example:
        >>> space = ParameterSpace([Parameter("note_velocity", min=126.0, max=127.0, step=0.5)])
        >>> LabelTables(space).finish(torch.tensor([[0], [128]], dtype=torch.uint8))
        {'note_velocity': tensor([0, 1])}
    """

    def __init__(
        self,
        parameters: ParameterSpace,
        kinds: Mapping[str, str] | None = None,
        target_width: float | int = 0.0,
    ) -> None:
        self.names = parameters.names
        self.kinds = {
            name: _kind(parameter, kinds, target_width) for name, parameter in parameters.items()
        }
        if unknown := sorted(set(kinds or {}) - set(self.names)):
            raise ConfigError(
                f"target_kinds names {', '.join(unknown)}, but the data set's parameters are "
                f"{', '.join(self.names)}"
            )
        self.index_names = [n for n in self.names if self.kinds[n] == "index"]
        self._index_columns = torch.tensor(
            [self.names.index(n) for n in self.index_names], dtype=torch.int64
        )
        tables = [torch.from_numpy(parameters[n].class_table()) for n in self.index_names]
        self._index_tables = (
            torch.stack(tables) if tables else torch.empty((0, NUM_BYTES), dtype=torch.int64)
        )
        self._distributions = {
            n: soft_target_table(parameters[n], target_width)
            for n in self.names
            if self.kinds[n] == "distribution"
        }

    def to(self, device: torch.device) -> "LabelTables":
        """Move the tables to where the bytes are."""
        self._index_tables = self._index_tables.to(device)
        self._index_columns = self._index_columns.to(device)
        self._distributions = {n: t.to(device) for n, t in self._distributions.items()}
        return self

    @property
    def needs_bytes(self) -> bool:
        """Whether :meth:`assemble` needs the bytes: some head has a distribution."""
        return bool(self._distributions)

    def indices(self, q: UInt8[Tensor, "B P"]) -> Int64[Tensor, "I B"]:
        """Class indices of the I heads that want one, in the order of :attr:`index_names`."""
        if not self.index_names:
            return torch.empty((0, len(q)), dtype=torch.int64, device=q.device)
        bytes_PB = q.t().long()
        if len(self.index_names) < len(self.names):
            bytes_PB = bytes_PB.index_select(0, self._index_columns)
        return torch.gather(self._index_tables, 1, bytes_PB)

    def finish(self, q: UInt8[Tensor, "B P"]) -> Labels:
        """The labels of a batch of stored bytes, a dict in the heads' order."""
        return self.assemble(self.indices(q), q / 255.0, q)

    def assemble(
        self,
        indices: Int64[Tensor, "I B"],
        values: Float[Tensor, "B P"],
        q: UInt8[Tensor, "B P"] | None = None,
    ) -> Labels:
        """The labels from what is there already.

        Args:
            indices: what :meth:`indices` gives.
            values: `q/255`.
            q: stored bytes; only where :attr:`needs_bytes`.
        """
        ready = dict(zip(self.index_names, indices.unbind(0), strict=True))
        if len(ready) == len(self.names):
            return ready
        labels = {}
        for column, name in enumerate(self.names):
            match self.kinds[name]:
                case "index":
                    labels[name] = ready[name]
                case "value":
                    labels[name] = values[:, column]
                case "distribution":
                    assert q is not None
                    table = self._distributions[name]
                    labels[name] = table.index_select(0, q[:, column].long())
        return labels


def _kind(parameter: Parameter, kinds: Mapping[str, str] | None, width: float | int) -> TargetKind:
    asked = (kinds or {}).get(parameter.name, "index")
    match asked:
        case "value":
            return "value"
        case "index":
            return "distribution" if width > 0 and not parameter.is_categorical else "index"
        case "distribution" if parameter.is_categorical:
            raise ConfigError(
                f"head {parameter.name!r} is categorical: its classes have no order, so there is "
                "no soft target for it; choose another loss"
            )
        case "distribution" if width <= 0:
            raise ConfigError(
                f"head {parameter.name!r} wants soft targets, but data.target_width is {width:g}: "
                "set it to their width in classes, for example 1.0"
            )
        case "distribution":
            return "distribution"
    raise ConfigError(
        f"target_kinds: head {parameter.name!r} has {asked!r}; expected one of "
        f"{', '.join(TARGET_KINDS)}"
    )
