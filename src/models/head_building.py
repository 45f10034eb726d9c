"""The heads of a module: from a network, parameters and the ways to name a loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from src.models.components.network import MultiheadNetwork
from src.models.losses import HeadLoss, derive_loss_weights, head_loss
from src.models.parameter_head import ParameterHead
from src.vimh.parameters import Parameter

LossOfParameter = Callable[[Parameter], nn.Module]


def cross_entropy(parameter: Parameter) -> nn.Module:
    """The loss of a head of which nothing but its classes is known."""
    return nn.CrossEntropyLoss()


def gives_logits(net: nn.Module) -> bool:
    """Whether a network says that its heads give a logit a class."""
    return isinstance(net, MultiheadNetwork) and net.output_mode == "classification"


def check_criteria(
    criterion: nn.Module | None,
    criteria: Mapping[str, nn.Module] | None,
    loss: LossOfParameter | None,
) -> None:
    """Refuses a module that has no way to a loss.

    Raises:
        ValueError: If all three are None.
    """
    if criterion is None and criteria is None and loss is None:
        raise ValueError(
            "Must provide either criterion (one head), criteria (a dict by head), or, with "
            "auto_configure_from_dataset=True, loss or a network of src.models.components for "
            "classes, whose heads then take cross-entropy."
        )


def criteria_by_head(
    parameters: Sequence[Parameter],
    criterion: nn.Module | None,
    criteria: Mapping[str, nn.Module] | None,
    loss: LossOfParameter | None,
) -> Mapping[str, nn.Module]:
    """A loss for each head, of the ways to say it; at least one of them is given.

    Args:
        parameters: Of the heads.
        criterion: The loss of a single head.
        criteria: A loss for each head by name.
        loss: Makes the loss of a parameter's head.

    Raises:
        ValueError: If ``criterion`` stands beside ``criteria`` or there are several heads.
    """
    if criterion is not None:
        if criteria is not None or len(parameters) != 1:
            raise ValueError(
                f"criterion is for a single head; there are {len(parameters)} "
                f"({', '.join(p.name for p in parameters)}): give criteria, a dict by head."
            )
        return {parameters[0].name: criterion}
    if criteria is not None:
        return criteria
    assert loss is not None
    return {p.name: loss(p) for p in parameters}


def parameters_of(net: nn.Module) -> list[Parameter]:
    """The parameters of a network that was built without a data set.

    Heads with a range of their own are values in it; the others are just classes, 0...K-1.

    Raises:
        ValueError: If the network does not say which heads it has.
    """
    if not isinstance(net, MultiheadNetwork):
        raise ValueError(
            f"{type(net).__name__} does not say which heads it has: give parameters, or take a "
            "network of src.models.components."
        )
    ranges = net.parameter_ranges
    return [
        Parameter(name, *ranges[name])
        if name in ranges
        else Parameter(name=name, min=0.0, max=float(max(size - 1, 1)), step=1.0)
        for name, size in net.heads_config.items()
    ]


def build_heads(
    net: nn.Module,
    parameters: Sequence[Parameter],
    criteria: Mapping[str, nn.Module],
    weights: Mapping[str, float | int | None] | None,
    margin: float | int,
    output_mode: str,
    target_width: float | int,
) -> list[ParameterHead]:
    """The heads, checked against one another and against the network.

    Args:
        net: The network.
        parameters: Of the heads, in their order.
        criteria: A loss for each head by name.
        weights: The factor of each head's loss; what is None or missing is derived, see
            :func:`~src.models.losses.derive_loss_weights`.
        margin: Spread of sigmoid outputs; see :class:`ParameterHead`.
        output_mode: "classification" or "regression".
        target_width: Of soft targets, in classes.

    Raises:
        ValueError: If heads, losses, weights and network disagree; names the head.
    """
    names = [p.name for p in parameters]
    if set(criteria) != set(names):
        raise ValueError(f"criteria are for {sorted(criteria)}, but the heads are {sorted(names)}.")
    given = {name: weight for name, weight in (weights or {}).items() if weight is not None}
    if unknown := sorted(set(given) - set(names)):
        raise ValueError(f"loss_weights names {unknown}, but the heads are {sorted(names)}.")
    derived = derive_loss_weights(parameters)
    in_units = net.parameter_ranges if isinstance(net, MultiheadNetwork) else {}
    heads = []
    for parameter in parameters:
        loss = head_loss(criteria[parameter.name], parameter)
        if loss.output_mode != output_mode:
            raise ValueError(
                f"output_mode is {output_mode!r}, but {type(loss).__name__} of head "
                f"{parameter.name!r} is for {loss.output_mode}: change output_mode (null derives "
                "it) or the loss."
            )
        if isinstance(net, MultiheadNetwork):
            _check_outputs(net, parameter, loss)
        weight = given.get(parameter.name, derived[parameter.name])
        own = parameter.name in in_units
        heads.append(ParameterHead(parameter, loss, weight, margin, own, target_width))
    return heads


def _check_outputs(net: MultiheadNetwork, parameter: Parameter, loss: HeadLoss) -> None:
    """Refuses a network that has no such head, or one of another width."""
    name, expected = parameter.name, loss.outputs(parameter)
    if net.heads.is_single:
        (found,) = net.heads_config.values()
    elif name in net.heads_config:
        found = net.heads_config[name]
    else:
        raise ValueError(
            f"The network has no head {name!r}; it has {', '.join(net.heads_config)}: build it "
            "with heads_config of the parameters' names."
        )
    if found != expected:
        raise ValueError(
            f"{type(loss).__name__} of head {name!r} takes {expected} outputs, but the network "
            f"gives {found}: build it with heads_config {{{name!r}: {expected}}}, or choose "
            "another loss."
        )
