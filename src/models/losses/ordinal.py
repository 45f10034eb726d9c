"""Losses on class logits (or a class number) that know that classes have an order."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from src.models.losses.base import (
    Activation,
    ClassLoss,
    CountedClassLoss,
    OutputMode,
    Real,
    TargetKind,
    ValueLoss,
    check_at_least,
    check_columns,
    check_positive,
    check_target,
    class_values,
    expected_class,
    full_precision,
    single_column,
    target_column,
)
from src.models.losses.distances import DistanceName, check_distance, distance
from src.schema.bounds import Classes, NonNegative, Positive
from src.vimh.parameters import Parameter


def expected_index(logits: Float[Tensor, "B K"]) -> Float[Tensor, " B"]:
    """Compute the softmax expectation ``Σ_k k · p_k`` of the class index.

    Example:
        >>> expected_index(torch.zeros(1, 3))
        tensor([1.])
    """
    return expected_class(full_precision(logits).softmax(dim=1))


def ordinal_regression_loss(
    logits: Float[Tensor, "B K"],
    target: Int[Tensor, " B"],
    step: Real,
    regression_loss: str = "l1",
    alpha: Real = 0.1,
    huber_delta: Real = 1.0,
) -> Float[Tensor, ""]:
    """``step · mean d(Σ_k k·p_k, t) + α · cross-entropy``.

    The expectation of a softmax as the prediction follows Rothe, Timofte & Van Gool (2018, "Deep
    expectation of real and apparent age from a single image without facial landmarks").

    The step is the width of a class in the parameter's unit, t a class index, and d a
    :func:`~src.models.losses.distances.distance` in classes. The cross-entropy keeps the
    distribution narrow.

    Example:
        >>> ordinal_regression_loss(torch.zeros(1, 3), torch.tensor([0]), step=0.5, alpha=0)
        tensor(0.5000)
    """
    logits = full_precision(logits)
    expected = expected_index(logits)
    far = distance(expected, target.to(expected.dtype), regression_loss, huber_delta).mean()
    return step * far + alpha * F.cross_entropy(logits, target)


class OrdinalRegressionLoss(CountedClassLoss):
    """Distance of the softmax expectation to the class, plus some cross-entropy.

    See :func:`ordinal_regression_loss`; decoded by the same expectation.

    Args:
        num_classes: K, from the data set.
        param_range: ``hi − lo``, the distance between the first and the last class in the
            parameter's unit, from the data set; a class is ``param_range / (K − 1)`` wide.
        regression_loss: l1, l2 (also written mse) or huber.
        alpha: Weight of the cross-entropy.
        huber_delta: Where Huber's loss becomes linear, in classes.

    Raises:
        ValueError: If ``num_classes`` < 2, the range or δ is not positive, α is negative, or
            ``regression_loss`` is unknown.
    """

    def __init__(
        self,
        num_classes: Classes,
        param_range: Positive,
        regression_loss: DistanceName = "l1",
        alpha: NonNegative = 0.1,
        huber_delta: Positive = 1.0,
    ) -> None:
        super().__init__(num_classes)
        check_positive("param_range", param_range)
        check_distance("regression_loss", regression_loss, huber_delta)
        check_at_least("alpha", alpha, 0)
        self.step = param_range / (num_classes - 1)
        self.regression_loss = regression_loss
        self.alpha = alpha
        self.huber_delta = huber_delta

    @classmethod
    def arguments_from(cls, parameter: Parameter) -> dict[str, Any]:
        """Return the number of classes and ``hi − lo``."""
        return super().arguments_from(parameter) | {
            "param_range": parameter.codec.last - parameter.codec.first
        }

    def forward(self, outputs: Float[Tensor, "B K"], target: Tensor) -> Float[Tensor, ""]:
        """Compute the loss for class indices (B,)."""
        self.check_batch(outputs, target)
        return ordinal_regression_loss(
            outputs, target, self.step, self.regression_loss, self.alpha, self.huber_delta
        )

    def decode(self, outputs: Float[Tensor, "B K"], parameter: Parameter) -> Float[Tensor, " B"]:
        """Return the expectation, in units, clipped to min...max."""
        return class_values(expected_index(outputs), parameter)


class QuantizedRegressionLoss(ValueLoss):
    """Distance in classes times the width of a class, on an output that is a class number.

    ``step · mean d(x, t)`` with the raw output x, the class index t and
    ``step = param_range / (K − 1)``. The output has no sigmoid and its bias starts at (K − 1)/2.
    It is clamped to 0...K−1 in decoding only: a clamp in the loss kills the gradient outside.

    Args:
        num_classes: K, from the data set.
        param_range: ``hi − lo`` in the parameter's unit, from the data set.
        loss_type: l1, l2 (also written mse) or huber.
        huber_delta: Where Huber's loss becomes linear, in classes.

    Raises:
        ValueError: If ``num_classes`` < 2, the range or δ is not positive, or ``loss_type`` is
            unknown.

    Example:
        >>> loss = QuantizedRegressionLoss(num_classes=5, param_range=2.0)
        >>> loss(torch.tensor([[1.0], [4.0]]), torch.tensor([1, 2]))  # ½ unit a class, 1 off
        tensor(0.5000)
    """

    target: TargetKind = "index"
    activation: Activation = "none"
    output_mode: OutputMode = "regression"

    def __init__(
        self,
        num_classes: Classes,
        param_range: Positive,
        loss_type: DistanceName = "l1",
        huber_delta: Positive = 1.0,
    ) -> None:
        super().__init__()
        check_at_least("num_classes", num_classes, 2)
        check_positive("param_range", param_range)
        check_distance("loss_type", loss_type, huber_delta)
        self.num_classes = num_classes
        self.step = param_range / (num_classes - 1)
        self.loss_type = loss_type
        self.huber_delta = huber_delta

    @classmethod
    def arguments_from(cls, parameter: Parameter) -> dict[str, Any]:
        """Return the number of classes and ``hi − lo``."""
        return super().arguments_from(parameter) | {
            "num_classes": parameter.num_classes,
            "param_range": parameter.codec.last - parameter.codec.first,
        }

    def initial_bias(self, parameter: Parameter) -> float | None:
        """Return the middle class."""
        return (self.num_classes - 1) / 2

    def forward(self, outputs: Float[Tensor, "B *k"], target: Tensor) -> Float[Tensor, ""]:
        """Compute the loss for class indices, (B,) or (B, 1)."""
        predicted = full_precision(single_column(outputs, self))
        target = target_column(predicted, target, self).to(predicted.dtype)
        return self.step * distance(predicted, target, self.loss_type, self.huber_delta).mean()

    def decode(self, outputs: Float[Tensor, "B *k"], parameter: Parameter) -> Float[Tensor, " B"]:
        """Return the class number clamped to 0...K−1, in units; not rounded."""
        index = single_column(outputs, self).float().clamp(0, self.num_classes - 1)
        return class_values(index, parameter)


def emd_loss(logits: Float[Tensor, "B K"], target: Float[Tensor, "B K"]) -> Float[Tensor, ""]:
    """``mean_B Σ_k (CDF_p(k) − CDF_q(k))²`` with p = softmax(logits).

    Squared earth mover's distance between distributions over ordered classes (Hou, Yu & Samaras
    2016, "Squared earth mover's distance-based loss for training deep neural networks").

    Example:
        >>> emd_loss(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))  # (½ − 1)² + (1 − 1)²
        tensor(0.2500)
    """
    probabilities = full_precision(logits).softmax(dim=1)
    gap = (probabilities - target.to(probabilities.dtype)).cumsum(dim=1)
    return gap.square().sum(dim=1).mean()


class EMDLoss(ClassLoss):
    """Squared earth mover's distance; see :func:`emd_loss`.

    Takes class indices, or distributions. Decoded by the expectation, as Talebi & Milanfar (2018,
    "NIMA: neural image assessment") read the mean score.
    """

    accepts_soft_targets = True

    def forward(self, outputs: Float[Tensor, "B K"], target: Tensor) -> Float[Tensor, ""]:
        """Compute the loss for class indices (B,) or distributions (B, K)."""
        if target.is_floating_point():
            check_columns(target, outputs.shape[1], "distributions over the outputs' classes", self)
            return emd_loss(outputs, target)
        check_target(outputs, target, self)
        zeros = torch.zeros_like(full_precision(outputs))
        return emd_loss(outputs, zeros.scatter(1, target.unsqueeze(1), 1.0))

    def decode(self, outputs: Float[Tensor, "B K"], parameter: Parameter) -> Float[Tensor, " B"]:
        """Return the expectation, in units, clipped to min...max."""
        return class_values(expected_index(outputs), parameter)


def corn_loss(logits: Float[Tensor, "B T"], target: Int[Tensor, " B"]) -> Float[Tensor, ""]:
    """Conditional ordinal regression: binary cross-entropy on ``P(y > k | y > k − 1)``.

    Logit k is asked only of the samples with y ≥ k, those that got past k − 1; the sum over these
    pairs is divided by their number (Shi, Cao & Raschka 2021, "Deep neural networks for
    rank-consistent ordinal regression based on conditional probabilities").

    There are K − 1 logits for K classes, and y is a class index in 0...K−1.

    Example:
        >>> corn_loss(torch.zeros(2, 2), torch.tensor([0, 2]))  # 3 pairs, log 2 each
        tensor(0.6931)
    """
    logits = full_precision(logits)
    thresholds = torch.arange(logits.shape[1], device=logits.device)
    asked = (target[:, None] >= thresholds).to(logits.dtype)
    above = (target[:, None] > thresholds).to(logits.dtype)
    total = F.binary_cross_entropy_with_logits(logits, above, weight=asked, reduction="sum")
    return total / asked.sum()


def corn_index(logits: Float[Tensor, "B T"]) -> Int[Tensor, " B"]:
    """Compute the class index ``Σ_k [Π_{j≤k} σ(z_j) > ½]``.

    Example:
        >>> corn_index(torch.tensor([[9.0, 9.0, -9.0], [-9.0, 9.0, 9.0]]))
        tensor([2, 0])
    """
    passed = full_precision(logits).sigmoid().cumprod(dim=1) > 0.5
    return passed.sum(dim=1)


class CORNLoss(CountedClassLoss):
    """Conditional ordinal regression on K − 1 logits; see :func:`corn_loss`, :func:`corn_index`.

    Args:
        num_classes: K, from the data set.

    Raises:
        ValueError: If ``num_classes`` < 2.
    """

    def outputs(self, parameter: Parameter) -> int:
        """Return one column a threshold between two classes."""
        return self.num_classes - 1

    def forward(self, outputs: Float[Tensor, "B K"], target: Tensor) -> Float[Tensor, ""]:
        """Compute the loss for class indices (B,)."""
        check_columns(outputs, self.num_classes - 1, "one logit a threshold", self)
        check_target(outputs, target, self)
        return corn_loss(outputs, target)

    def probabilities(self, outputs: Float[Tensor, "B T"]) -> Float[Tensor, "B _"]:
        """Return ``P(y > k − 1) − P(y > k)``, of the products that :func:`corn_index` compares."""
        above = F.pad(outputs.float().sigmoid().cumprod(dim=1), (1, 0), value=1.0)
        return above - F.pad(above[:, 1:], (0, 1))

    def decode(self, outputs: Float[Tensor, "B K"], parameter: Parameter) -> Float[Tensor, " B"]:
        """Return the centre of the highest class that is reached with a probability above ½."""
        return class_values(corn_index(outputs), parameter)
