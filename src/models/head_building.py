"""The heads of a module, of the arguments that people type in their place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

from torch import nn

from src.models.components.network import MultiheadNetwork
from src.models.losses import HeadLoss, derive_loss_weights, head_loss
from src.models.parameter_head import ParameterHead
from src.schema.bounds import Real
from src.utils.errors import ConfigError
from src.vimh.parameters import Parameter


@dataclass(frozen=True)
class HeadArguments:
    """What the module takes in place of heads; see ``MultiheadLitModule`` for each argument."""

    criterion: nn.Module | None = None
    criteria: Mapping[str, nn.Module] | None = None
    loss: Callable[[Parameter], nn.Module] | None = None
    loss_weights: Mapping[str, Real | None] | None = None
    auto_configure_from_dataset: bool = True
    output_mode: str = "classification"
    head_margin: Real = 0.0
    target_width: Real = 0.0
    parameters: Sequence[Parameter] | None = None

    def refuse_any(self) -> None:
        """Refuse what is given beside heads, which hold all of it.

        Raises:
            ValueError: If an argument is not its default; names them.
        """
        names = [field.name for field in fields(self)]
        given = [name for name in names if getattr(self, name) != getattr(HeadArguments, name)]
        if given:
            raise ValueError(
                f"heads and {', '.join(given)} are both given: give heads alone, which hold their "
                "parameters, losses and weights, or leave heads out."
            )

    def build_heads(self, net: nn.Module) -> list[ParameterHead]:
        """Build the heads of a network.

        Raises:
            ValueError: If there is no way to a loss, or the arguments disagree; names the head.
        """
        make_loss = None
        if self.auto_configure_from_dataset:
            gives_logits = isinstance(net, MultiheadNetwork) and net.output_mode == "classification"
            make_loss = self.loss or (_cross_entropy if gives_logits else None)
        if self.criterion is None and self.criteria is None and make_loss is None:
            raise ValueError(
                "Must provide either criterion (one head), criteria (a dict by head), or, with "
                "auto_configure_from_dataset=True, loss or a network of src.models.components for "
                "classes, whose heads then take cross-entropy."
            )
        parameters, given_weights = self.parameters, self.loss_weights
        if parameters is None:
            parameters = _parameters_of(net)
            given_weights = given_weights or {p.name: 1.0 for p in parameters}
        criteria = self._criteria([p.name for p in parameters])
        if criteria is None and make_loss is not None:
            criteria = {p.name: make_loss(p) for p in parameters}
        assert criteria is not None
        weights = loss_weights(parameters, given_weights)
        losses = {p.name: head_loss(criteria[p.name], p) for p in parameters}
        heads = make_heads(net, parameters, losses, weights, self.head_margin, self.target_width)
        for head in heads:
            if self.output_mode not in (head.loss.output_mode, "mixed"):
                raise ValueError(
                    f"output_mode is {self.output_mode!r}, but {type(head.loss).__name__} of head "
                    f"{head.parameter.name!r} is for {head.loss.output_mode}: change output_mode "
                    "(mixed, where heads differ) or the loss."
                )
        return heads

    def _criteria(self, names: list[str]) -> Mapping[str, nn.Module] | None:
        """Return the losses that are given, by head."""
        criteria = self.criteria
        if self.criterion is not None:
            if criteria is not None or len(names) != 1:
                raise ValueError(
                    f"criterion is for a single head; there are {len(names)} "
                    f"({', '.join(names)}): give criteria, a dict by head."
                )
            criteria = {names[0]: self.criterion}
        if criteria is not None and set(criteria) != set(names):
            raise ValueError(
                f"criteria are for {sorted(criteria)}, but the heads are {sorted(names)}."
            )
        return criteria


def loss_weights(
    parameters: Sequence[Parameter],
    given: Mapping[str, Real | None] | None,
    key: str = "loss_weights",
) -> dict[str, Real]:
    """Complete the weights of the heads; see :func:`~src.models.losses.derive_loss_weights`.

    Args:
        parameters: Of the heads.
        given: Weights by head; None for a head derives its weight. A config lists the usual
            parameters, so that null for a head that is not there is no mistake.
        key: What ``given`` is called, for the message.

    Raises:
        ConfigError: If there is a weight of a head that is not there.
    """
    derived = derive_loss_weights(parameters)
    numbers = {name: weight for name, weight in (given or {}).items() if weight is not None}
    if unknown := sorted(numbers.keys() - derived.keys()):
        raise ConfigError(f"{key} names {unknown}, but the heads are {sorted(derived)}.")
    return derived | numbers


def make_heads(
    net: nn.Module,
    parameters: Sequence[Parameter],
    losses: Mapping[str, HeadLoss],
    weights: Mapping[str, Real],
    margin: Real,
    target_width: Real,
) -> list[ParameterHead]:
    """Make the heads of a network, in the order of the parameters."""
    in_units = net.parameter_ranges if isinstance(net, MultiheadNetwork) else {}
    return [
        ParameterHead(p, losses[p.name], weights[p.name], margin, p.name in in_units, target_width)
        for p in parameters
    ]


def check_fit(net: nn.Module, heads: Sequence[ParameterHead]) -> None:
    """Check that a network has the outputs of its heads, if it says which it has.

    Raises:
        ValueError: If the network lacks a head or has one of another width.
    """
    if not isinstance(net, MultiheadNetwork):
        return
    for head in heads:
        name, expected = head.parameter.name, head.num_outputs
        if net.heads.is_single:
            (found,) = net.heads_config.values()
        elif name in net.heads_config:
            found = net.heads_config[name]
        else:
            raise ValueError(
                f"The network has no head {name!r}; it has {', '.join(net.heads_config)}: build "
                "it with heads_config of the parameters' names."
            )
        if found != expected:
            raise ValueError(
                f"{type(head.loss).__name__} of head {name!r} takes {expected} outputs, but the "
                f"network gives {found}: build it with heads_config {{{name!r}: {expected}}}, or "
                "choose another loss."
            )


def _cross_entropy(parameter: Parameter) -> nn.Module:
    return nn.CrossEntropyLoss()


def _parameters_of(net: nn.Module) -> list[Parameter]:
    """Return the parameters of a network that was built without a data set.

    Heads with a range of their own are values in it; the others are just classes, 0...K-1.

    Raises:
        ValueError: If the network does not say which heads it has.
    """
    if not isinstance(net, MultiheadNetwork):
        raise ValueError(
            f"{type(net).__name__} does not say which heads it has: give parameters, or take a "
            "network of src.models.components."
        )
    classes = {
        name: Parameter(name=name, min=0.0, max=float(max(size - 1, 1)), step=1.0)
        for name, size in net.heads_config.items()
    }
    for name, (low, high, *spacing) in net.parameter_ranges.items():
        classes[name] = Parameter(name, low, high, spacing="log" if spacing else "linear")
    return list(classes.values())
