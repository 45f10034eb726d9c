"""Every figure that training logs about the heads, in one metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric

from src.inputs.targets import DeviceCodec, widest_float
from src.utils.errors import ConfigError
from src.vimh.parameters import Parameter, ParameterSpace

Direction = Literal["min", "max"]
# Which way each kind of figure is better.
DIRECTIONS: dict[str, Direction] = {
    "mae": "min",
    "mae_percent": "min",
    "mae_jnd": "min",
    "jnd": "max",
    "acc": "max",
}


class LoggedFigure(NamedTuple):
    """A figure that training logs."""

    name: str  # what it is logged under, without the stage
    kind: str  # one of DIRECTIONS
    head: int | None  # the index of its head; None: of all heads together


def logged_figures(
    parameters: Sequence[Parameter], with_accuracy: bool | Sequence[bool] = True
) -> tuple[LoggedFigure, ...]:
    """List the figures of heads, in the order in which they are logged.

    ``with_accuracy`` says whether ordered heads have an accuracy: all of them, or one by one.

    Raises:
        ConfigError: If two of them have one name: one would overwrite the other.
    """
    found: list[LoggedFigure] = []
    each = [with_accuracy] * len(parameters) if isinstance(with_accuracy, bool) else with_accuracy
    for head, (p, has_accuracy) in enumerate(zip(parameters, each, strict=True)):
        kinds = ["mae", "mae_percent"] if not p.is_categorical else []
        kinds += ["mae_jnd", "jnd"] if p.has_jnd else []
        kinds += ["acc"] if has_accuracy or p.is_categorical else []
        found += [LoggedFigure(f"{p.name}_{kind}", kind, head) for kind in kinds]
    there = {figure.kind for figure in found}
    joint = [LoggedFigure(kind, kind, None) for kind in ("jnd", "mae_jnd", "acc") if kind in there]
    taken: dict[str, LoggedFigure] = {}
    for figure in (*found, *joint):
        other = taken.setdefault(figure.name, figure)
        if other is not figure:
            owners = [_owner(f, parameters) for f in (other, figure)]
            raise ConfigError(
                f"{' and '.join(owners)} would both be logged as {figure.name!r}, and one would "
                "overwrite the other: give the parameter another name in the data set."
            )
    return (*found, *joint)


def _owner(figure: LoggedFigure, parameters: Sequence[Parameter]) -> str:
    if figure.head is None:
        return f"the {figure.kind} of all heads"
    return f"the {figure.kind} of head {parameters[figure.head].name!r}"


def _factor(kind: str, parameter: Parameter) -> float:
    """Return the factor of a figure's mean."""
    match kind:
        case "mae_percent":
            return 100.0 if parameter.is_log else float(parameter.codec.error_in_range(100.0))
        case "mae_jnd":
            return float(parameter.codec.error_in_steps(1.0))
    return 1.0


class WideMetric(Metric):
    """A metric whose sums stay in the widest floats that the device has."""

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Any:
        """Follow moves to a device, but no change of precision (``precision=bf16-true``)."""
        device = fn(torch.empty(0, device=self.device)).device
        dtype = widest_float(device)
        return super()._apply(lambda tensor: tensor.to(device, dtype), exclude_state)


class WideMean(WideMetric):
    """A weighted mean, to the same bits however its numbers are split into updates.

    The mean of torchmetrics 1.9 leaves out a NaN, which has to show, or with ``nan_strategy`` of
    "disable" takes every weight for 1.

    Example:
        >>> mean = WideMean()
        >>> mean.update(torch.tensor([1.0, 4.0]), torch.tensor([2, 1]))
        >>> mean.compute()
        tensor(2., dtype=torch.float64)
    """

    is_differentiable = False
    full_state_update = False
    mean_value: Tensor  # the sum; torchmetrics' name for it, which is in checkpoints
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("mean_value", "weight"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, values: Float[Tensor, " N"], weights: Int[Tensor, " N"]) -> None:
        """Add numbers, each with its count."""
        wide = values.to(self.mean_value.dtype)
        # Not in place: a state that was reset under inference mode cannot be changed outside it.
        self.mean_value = self.mean_value + (wide * weights).sum()
        self.weight = self.weight + weights.sum()

    def compute(self) -> Float[Tensor, ""]:
        """Return the mean so far."""
        return self.mean_value / self.weight


class ParameterMetrics(WideMetric):
    """Errors and shares of all heads, accumulated together.

    By name, with P the number of heads and ``<head>`` a parameter's name:

    - ``<head>_mae``: mean absolute error, in the parameter's unit;
    - ``<head>_mae_percent``: the same in % of ``max − min``, or where the spacing is log in % of
      the true value;
    - ``<head>_mae_jnd``: the same in steps (JND); where the spacing is log, of logarithms;
    - ``<head>_jnd``: share of samples within one step, see :meth:`Parameter.tolerance`;
    - ``<head>_acc``: share of samples whose value lies in the true class;
    - ``jnd``: share of samples with *all* heads that have a step within one JND;
    - ``mae_jnd``, ``acc``: means over the heads that have them.

    Heads without a step have no JND figures, categorical heads have the accuracy alone. One
    vector of sums is the whole state: an update is a handful of tensor operations for all heads,
    and the ranks of a distributed run exchange it once. A NaN among the predictions shows as a
    NaN error, and counts as wrong.

    Names of parameters come from anybody's data set, and two figures of one name would overwrite
    each other: heads ``x`` and ``x_mae`` both have ``x_mae_jnd``.

    Args:
        parameters: The heads' parameters, in the order of the columns.
        with_accuracy: Whether to give accuracies of ordered heads, of all or one by one
            (categorical ones have theirs always).
        options: Further arguments of a torchmetrics metric.

    Raises:
        ValueError: If there are no parameters, or one is fixed.
        ConfigError: If two figures have one name.

    Example:
        >>> metrics = ParameterMetrics([Parameter("decay", -2.0, 0.3, 0.1)])
        >>> metrics.update(torch.tensor([[-1.0], [-1.0]]), torch.tensor([[-1.1], [-1.3]]))
        >>> {name: round(float(value), 3) for name, value in metrics.compute().items()}
        {'decay_mae': 0.2, 'decay_mae_percent': 8.696, 'decay_mae_jnd': 2.0, 'decay_jnd': 0.5,
         'decay_acc': 0.0, 'jnd': 0.5, 'mae_jnd': 2.0, 'acc': 0.0}
    """

    is_differentiable = False
    full_state_update = False
    sums: Tensor
    tolerance: Tensor

    def __init__(
        self,
        parameters: Sequence[Parameter],
        with_accuracy: bool | Sequence[bool] = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.parameters_of_heads = tuple(parameters)
        self.with_accuracy = with_accuracy
        self.figures = logged_figures(parameters, with_accuracy)
        if not parameters:
            raise ValueError("ParameterMetrics needs at least one parameter.")
        if fixed := [p.name for p in parameters if p.is_fixed]:
            raise ValueError(f"{', '.join(fixed)}: a fixed parameter (min = max) is no head.")
        self.judge(parameters)
        self._codec = DeviceCodec(ParameterSpace(parameters).codec)
        self._log_heads = [head for head, p in enumerate(parameters) if p.is_log]
        self.num_computed = 0
        # Per head: absolute errors, within one step, in the right class; per log head: errors on
        # the axis and in shares of the value; then: all within, samples.
        size = 3 * len(parameters) + 2 * len(self._log_heads) + 2
        sums = torch.zeros(size, dtype=torch.float64)
        self.add_state("sums", sums, dist_reduce_fx="sum")

    @property
    def names(self) -> list[str]:
        """The names that :meth:`compute` gives, in its order."""
        return [figure.name for figure in self.figures]

    @property
    def directions(self) -> dict[str, Direction]:
        """Which way each figure is better, by name: shares rise, errors fall."""
        return {figure.name: DIRECTIONS[figure.kind] for figure in self.figures}

    def update(self, predicted: Float[Tensor, "B P"], true: Float[Tensor, "B P"]) -> None:
        """Add a batch of values in the parameters' units.

        Of true values in float64 an error of exactly one step is judged as defined, in float32 to
        the last digits of the value.
        """
        both = torch.stack((predicted, true)).to(self.sums.dtype)
        codec = self._codec.on(both.device)
        on_axis = codec.error(*both).abs()
        within = on_axis <= self.tolerance
        classes = codec.class_of(both)
        correct = classes[0] == classes[1]
        all_within = within.all(dim=1, keepdim=True)
        ones = torch.ones_like(on_axis[:, :1])
        if not self._log_heads:
            columns = [on_axis, within, correct, all_within, ones]
        else:
            error = (both[0] - both[1]).abs()
            relative = [far[:, self._log_heads] for far in (on_axis, error / both[1])]
            columns = [error, within, correct, *relative, all_within, ones]
        rows = torch.cat(columns, dim=1)
        # Not in place: a state that was reset under inference mode cannot be changed outside it.
        self.sums = self.sums + rows.sum(dim=0)

    def compute(self) -> dict[str, Tensor]:
        """Return the figures by name, float32 scalars."""
        # The sums are those of all ranks only here, while the figures are computed.
        self.num_computed = int(self.sums[-1])
        return self._figures((self.sums / self.sums[-1]).float())

    def _figures(self, means: Float[Tensor, " S"]) -> dict[str, Tensor]:
        size = len(self.parameters_of_heads)
        errors, within, correct = means[: 3 * size].view(3, size)
        rows = {"jnd": within, "acc": correct, "mae": errors}
        for kind, of_log_heads in zip(
            ("mae_jnd", "mae_percent"), means[3 * size : -2].view(2, -1), strict=True
        ):
            rows[kind] = errors.clone()
            rows[kind][self._log_heads] = of_log_heads
        found: dict[str, Tensor] = {}
        for name, kind, head in self.figures:
            if head is not None:
                found[name] = rows[kind][head] * _factor(kind, self.parameters_of_heads[head])
            elif kind == "jnd":
                found[name] = means[-2]
            else:
                of_heads = [f.name for f in self.figures if f.kind == kind and f.head is not None]
                found[name] = torch.stack([found[own] for own in of_heads]).mean()
        return found

    def judge(self, parameters: Sequence[Parameter]) -> None:
        """Take the tolerances of parameters, by whether their labels are exact."""
        # Without a step every error is within, so that the joint share asks the others only.
        tolerance = [p.tolerance() if p.has_jnd else torch.inf for p in parameters]
        wide = torch.tensor(tolerance, dtype=torch.float64)
        self.register_buffer("tolerance", wide, persistent=False)
