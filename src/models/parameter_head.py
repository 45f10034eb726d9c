"""A head as an object: its parameter, its loss, its decoding; and the heads of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

from src.inputs.targets import Target, TargetMaker, target_kind
from src.models.components.network import MultiheadNetwork
from src.models.losses import HeadLoss, derive_loss_weights, head_loss
from src.schema.bounds import Real
from src.utils.errors import ConfigError
from src.vimh.parameters import Parameter


class ParameterHead(nn.Module):
    """One parameter in the module: how it is learnt and how it is read back.

    Everything that depends on the loss is asked of the loss; the head adds the weight in the
    total loss and the margin of sigmoid outputs. A sigmoid reaches 0 and 1 only in the limit,
    where the lowest and the highest class lie; a margin ``m`` spreads it to
    ``y * (1 + 2m) - m``, so that both ends are ordinary outputs.

    Args:
        parameter: What is read; its range, step and kind.
        loss: The loss of this head alone (losses may hold buffers that fit one parameter).
        weight: The factor of this head's loss in the total loss.
        margin: The spread ``m`` of a sigmoid output; 0 leaves it as it is. Heads without a
            sigmoid have no use for it and ignore it.
        in_units: Whether the network's sigmoid output comes in the parameter's unit (its
            ``parameter_ranges``). The loss and the margin see it in 0...1 all the same, so that
            learning does not depend on it.
        target_width: Standard deviation of soft targets, in classes; 0: none.

    Raises:
        ValueError: If the weight is not positive and finite or the margin is negative.
    """

    def __init__(
        self,
        parameter: Parameter,
        loss: HeadLoss,
        weight: float | int = 1.0,
        margin: float | int = 0.0,
        in_units: bool = False,
        target_width: float | int = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= weight < float("inf"):
            raise ValueError(
                f"The loss weight of head {parameter.name!r} is {weight}; it has to be 0 or more."
            )
        if not 0 <= margin < 1:
            raise ValueError(f"head_margin is {margin}; it has to be in 0...1 (0.05 is usual).")
        self.parameter = parameter
        self.loss = loss
        self.weight = float(weight)
        self.margin = float(margin) if loss.activation == "sigmoid" else 0.0
        self.in_units = in_units
        self.target_width = float(target_width)
        self.codec = parameter.codec

    @property
    def num_outputs(self) -> int:
        """Return how many columns the network has to give this head."""
        return self.loss.outputs(self.parameter)

    def forward(self, outputs: Float[Tensor, "B K"], target: Tensor) -> Float[Tensor, ""]:
        """Compute the weighted loss of the network's output for this head.

        Targets are class indices (B,), distributions (B, K) or normalised values (B,), whichever
        ``loss.target`` asks for.
        """
        loss = self.loss(self._for_loss(outputs), target)
        return loss if self.weight == 1.0 else self.weight * loss

    @cached_property
    def wanted(self) -> Target:
        """What the loss wants of the parameter's values.

        Raises:
            ConfigError: If it wants distributions, and there are none of this parameter.
        """
        kind = target_kind(self.parameter, self.loss.target, self.target_width)
        return Target(self.parameter, kind, self.target_width)

    def judge(self, *, exact: bool) -> None:
        """Say whether the values that come are exact, or those of bytes."""
        self.parameter = replace(self.parameter, exact=exact)
        self.__dict__.pop("wanted", None)

    def target(self, values: Float[Tensor, " B"]) -> Tensor:
        """Make what the loss wants of values normalised to 0...1.

        Raises:
            ConfigError: As :attr:`wanted`.
        """
        (made,) = TargetMaker([self.wanted])(values[:, None])
        return made

    @torch.no_grad()
    def decode(self, outputs: Float[Tensor, "B K"]) -> Float[Tensor, " B"]:
        """Return the parameter's value in its own unit, within its range."""
        return self.loss.decode(self._for_loss(outputs), self.parameter)

    @torch.no_grad()
    def spread(self, outputs: Float[Tensor, "B K"]) -> Float[Tensor, " B"]:
        """Return how uncertain outputs are, as shares of the range; 1 where they do not say it."""
        found = self.loss.spread(self._for_loss(outputs), self.parameter)
        return torch.ones_like(outputs[:, 0], dtype=torch.float32) if found is None else found

    @torch.no_grad()
    def values_of(self, labels: Tensor) -> Float[Tensor, " B"]:
        """Return labels, as :meth:`forward` takes them, in the unit: the class's centre, or value.

        Only for batches that bring no values of their own (plain pairs and triples).
        """
        if labels.ndim == 2:
            labels = labels.argmax(dim=1)
        is_value = labels.is_floating_point()
        decode = self.codec.denormalise if is_value else self.codec.value_of_class
        values: Tensor = decode(labels.float())
        return values

    def extra_repr(self) -> str:
        """Show the parameter and the weight in the printed module."""
        return f"{self.parameter.name}, weight={self.weight:g}, margin={self.margin:g}"

    def _for_loss(self, outputs: Tensor) -> Tensor:
        """Normalise the outputs to 0...1 and spread them, as the loss takes them."""
        if self.in_units:
            outputs = self.codec.normalise(outputs)
        if self.margin == 0.0:
            return outputs
        return outputs * (1 + 2 * self.margin) - self.margin


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

    None for a head derives its weight. A config lists the usual parameters, so that null for a head
    that is not there is no mistake. ``key`` is what the weights are called, for the message.

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
