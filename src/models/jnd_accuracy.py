"""The share of samples whose error a listener would not notice: within a JND."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import Metric

from src.inputs.targets import widest_float
from src.vimh.codec import Codec
from src.vimh.parameters import Parameter


def within_jnd(
    predicted: Float[Tensor, "*shape"],
    true: Float[Tensor, "*shape"],
    codec: Codec,
    tolerance: float | int,
) -> Bool[Tensor, "*shape"]:
    """Compute ``|error| ≤ tolerance``, in the widest floats that the device has.

    Args:
        predicted: Predicted values, in the parameter's unit.
        true: True values, in the same unit.
        codec: The parameter's; its :meth:`Codec.error` is the difference, or where the spacing is
            log the logarithm of the ratio.
        tolerance: The largest error that passes; see :meth:`Parameter.tolerance`, which knows the
            rounding of the stored byte.

    Example:
        >>> true = torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64)
        >>> predicted = torch.tensor([1.0, 1.1, float("nan")])
        >>> within_jnd(predicted, true, Codec.between(0.0, 1.0), tolerance=0.05)
        tensor([ True, False, False])
    """
    dtype = widest_float(predicted.device)
    within: Tensor = codec.error(predicted.to(dtype), true.to(dtype)).abs() <= tolerance
    return within


class JNDAccuracy(Metric):
    """Share of samples within ``tolerance`` just-noticeable differences of the true value.

    An error e is within when ``|e| ≤ tolerance·step + ½·(max − min)/255 + 1e-6·step``: values are
    stored as bytes, and without the half quantum that rounding would decide an error of exactly
    one step. Where the spacing is log, each of these is the logarithm of a ratio. 1 means that
    nobody would hear a difference; note what a constant guess reaches where a range is only a few
    steps wide.

    Args:
        parameter: The head's parameter, with a step.
        tolerance: How many JND count as right.

    Raises:
        ValueError: If the parameter has no step or the tolerance is negative.

    Example:
        >>> accuracy = JNDAccuracy(Parameter("log10_decay_time", -2.0, 0.3, 0.1))
        >>> accuracy.update(torch.tensor([-1.0, -1.0]), torch.tensor([-1.1, -1.2]))
        >>> accuracy.compute()
        tensor(0.5000)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    within: Tensor
    total: Tensor

    def __init__(self, parameter: Parameter, tolerance: float | int = 1.0) -> None:
        super().__init__()
        if not 0 <= tolerance < float("inf"):
            raise ValueError(f"tolerance is {tolerance}; it has to be 0 or more, and finite.")
        self.parameter = parameter
        self.largest_error = parameter.tolerance(tolerance)
        self.add_state("within", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, predicted: Float[Tensor, " B"], true: Float[Tensor, " B"]) -> None:
        """Add a batch of values in the parameter's unit."""
        within = within_jnd(predicted, true, self.parameter.codec, self.largest_error)
        self.within = self.within + within.sum()
        self.total = self.total + within.numel()

    def compute(self) -> Float[Tensor, ""]:
        """Return the share so far, in 0...1."""
        return self.within / self.total
