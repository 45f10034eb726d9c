"""A loss for being within a just-noticeable difference (JND)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from src.models.losses.base import (
    OutputMode,
    Real,
    ValueLoss,
    check_at_least,
    check_choice,
    check_columns,
    check_positive,
    full_precision,
    single_column,
    target_column,
)
from src.schema.bounds import NonNegative, Positive
from src.vimh.parameters import Parameter


def jnd_loss(
    predicted: Float[Tensor, " B"],
    target: Float[Tensor, " B"],
    step: Real = 1.0,
    tolerance: Real = 0.5,
    beta: Real = 8.0,
) -> Float[Tensor, ""]:
    """``mean(softplus(β(|e| − τ))²) / (2β²)`` with ``e = (ŷ − y) / step``.

    Nearly free while the error is inside the tolerance, ``½(|e| − τ)²`` outside: a smooth form of
    the ε-insensitive loss (Vapnik 1995, "The nature of statistical learning theory"), squared.

    ŷ, y and the step, which is one JND, are in the same unit; the tolerance τ is in JND, and β, the
    sharpness of the corner at τ, in 1/JND.

    Example:
        >>> loss = jnd_loss(torch.tensor([3.0]), torch.tensor([1.0]), step=0.5, tolerance=1.0)
        >>> round(float(loss), 4)  # an error of 4 JND: ½ (4 − 1)²
        4.5
    """
    error = (full_precision(predicted) - full_precision(target)).abs() / step
    return F.softplus(beta * (error - tolerance)).square().mean() / (2 * beta**2)


class JNDLoss(ValueLoss):
    """Nearly free within the tolerance, quadratic outside; see :func:`jnd_loss`.

    On a regression head (one sigmoid output), or with ``output_mode: classification`` on class
    logits, which count by their expectation ``Σ_k p_k v_k`` over the values of the classes.

    Args:
        tolerance: τ, in JND.
        beta: β, sharpness of the corner, in 1/JND.
        output_mode: regression or classification.
        step: One JND in the unit of outputs and targets; from the data set, as a share of the
            range.
        class_values: What the classes stand for, in the same unit, from the data set. Needed for
            classification.

    Raises:
        ValueError: If τ is negative, β or the step not positive, the mode unknown, or the class
            values are missing in classification.
    """

    needs_step: ClassVar[bool] = True
    class_values: Tensor

    def __init__(
        self,
        tolerance: NonNegative = 0.5,
        beta: Positive = 8.0,
        output_mode: OutputMode = "regression",
        step: Real = 1.0,
        class_values: Sequence[Real] = (),
    ) -> None:
        super().__init__()
        check_at_least("tolerance", tolerance, 0)
        check_positive("beta", beta)
        check_choice("output_mode", output_mode, ("regression", "classification"))
        check_positive("step", step)
        self.tolerance = tolerance
        self.beta = beta
        self.step = step
        self.output_mode = output_mode
        if output_mode == "classification":
            check_at_least("the number of class_values", len(class_values), 2)
            self.activation = "none"
        values = torch.tensor([float(v) for v in class_values])
        self.register_buffer("class_values", values, persistent=False)

    @classmethod
    def arguments_from(cls, parameter: Parameter) -> dict[str, Any]:
        """Return the step as a share of the range, and the classes' values in 0...1."""
        arguments = super().arguments_from(parameter)
        values = parameter.normalise(parameter.value_of_class(range(parameter.num_classes)))
        return arguments | {"step": 1 / parameter.num_steps, "class_values": values.tolist()}

    def outputs(self, parameter: Parameter) -> int:
        """Return one column, or one a class."""
        return 1 if self.output_mode == "regression" else parameter.num_classes

    def forward(self, outputs: Float[Tensor, "B *k"], target: Tensor) -> Float[Tensor, ""]:
        """Compute the loss for values, (B,) or (B, 1), by default in 0...1."""
        predicted = self._predicted(outputs)
        target = target_column(predicted, target, self).to(predicted.dtype)
        return jnd_loss(predicted, target, self.step, self.tolerance, self.beta)

    def probabilities(self, outputs: Float[Tensor, "B *k"]) -> Float[Tensor, "B K"] | None:
        """Return the softmax of logits; None of a regression head."""
        return None if self.output_mode == "regression" else outputs.float().softmax(dim=1)

    def decode(self, outputs: Float[Tensor, "B *k"], parameter: Parameter) -> Float[Tensor, " B"]:
        """Return the value of the output, or of the logits' expectation, clipped to min...max."""
        return super().decode(self._predicted(outputs), parameter)

    def _predicted(self, outputs: Tensor) -> Tensor:
        if self.output_mode == "regression":
            return full_precision(single_column(outputs, self))
        check_columns(outputs, len(self.class_values), "one logit a class", self)
        probabilities = full_precision(outputs).softmax(dim=1)
        # A matrix product would be done in half precision under autocast.
        return (probabilities * self.class_values.to(probabilities.dtype)).sum(dim=1)
