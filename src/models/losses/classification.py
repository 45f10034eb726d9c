"""Losses on class logits without or with little notion of order: the classification baselines."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from src.models.losses.base import (
    ClassLoss,
    CountedClassLoss,
    Real,
    TargetKind,
    check_at_least,
    check_positive,
    full_precision,
)
from src.schema.bounds import Classes, NonNegative, Positive
from src.vimh.parameters import Parameter


class CrossEntropyHead(ClassLoss):
    """Adapter that lets a plain ``torch.nn.CrossEntropyLoss`` be the loss of a head.

    Takes class indices, or distributions over the classes. Decoded by arg-max.

    Args:
        criterion: The loss as the config made it.
        parameter: Its head. A categorical one takes no soft targets: neighbours mean nothing.

    Raises:
        ValueError: If the criterion does not reduce to a scalar.
    """

    needs_order: ClassVar[bool] = False

    def __init__(self, criterion: nn.CrossEntropyLoss, parameter: Parameter) -> None:
        super().__init__()
        if criterion.reduction == "none":
            raise ValueError("CrossEntropyLoss has reduction 'none'; allowed are mean, sum.")
        self.criterion = criterion
        self.accepts_soft_targets = not parameter.is_categorical

    def forward(self, outputs: Float[Tensor, "B K"], target: Tensor) -> Float[Tensor, ""]:
        """Compute the loss for class indices (B,) or distributions (B, K)."""
        return self.criterion(full_precision(outputs), target)


def soft_target_loss(
    logits: Float[Tensor, "B K"], target: Float[Tensor, "B K"]
) -> Float[Tensor, ""]:
    """``mean_B Σ_k q_k (log q_k − log p_k)`` with p = softmax(logits), and 0·log 0 = 0.

    The Kullback-Leibler divergence of the prediction from the target (Kullback & Leibler 1951, "On
    information and sufficiency"), averaged over the batch.

    Example:
        >>> soft_target_loss(torch.zeros(1, 2), torch.tensor([[0.5, 0.5]]))
        tensor(0.)
    """
    log_p = F.log_softmax(full_precision(logits), dim=1)
    return F.kl_div(log_p, target.to(log_p.dtype), reduction="batchmean")


class SoftTargetLoss(ClassLoss):
    """KL divergence to soft targets, Gaussians over the classes (``data.target_width`` > 0).

    Decoded by arg-max: the Gaussian is cut off at the ends, so its mean is off there.
    """

    target: TargetKind = "distribution"
    accepts_soft_targets = True

    def forward(self, outputs: Float[Tensor, "B K"], target: Tensor) -> Float[Tensor, ""]:
        """Compute the divergence; see :func:`soft_target_loss`.

        Raises:
            ValueError: If the targets are not distributions over the outputs' classes.
        """
        if target.shape != outputs.shape or not target.is_floating_point():
            raise ValueError(
                f"SoftTargetLoss takes distributions {tuple(outputs.shape)}, but got "
                f"{target.dtype} of shape {tuple(target.shape)}: set data.target_width > 0."
            )
        return soft_target_loss(outputs, target)


def weighted_cross_entropy(
    logits: Float[Tensor, "B K"],
    target: Int[Tensor, " B"],
    distance_power: Real = 2,
    base_weight: Real = 1,
) -> Float[Tensor, ""]:
    """``mean_B [ −log p_t + Σ_{k≠t} (base + |k − t|^power) · p_k ]`` with p = softmax(logits).

    Cross-entropy plus the expected cost of the wrong classes, which grows with their distance
    from the right one: the cost-sensitive term of Galdran et al. (2020, "Cost-sensitive
    regularization for diabetic retinopathy grading from eye fundus images").

    Targets t are class indices; ``base`` is the cost of being wrong at all.

    Example:
        >>> weighted_cross_entropy(torch.zeros(1, 2), torch.tensor([0]), 2, 1)  # log 2 + 2 · ½
        tensor(1.6931)
    """
    log_p = F.log_softmax(full_precision(logits), dim=1)
    classes = torch.arange(logits.shape[1], device=logits.device)
    gaps = (classes - target[:, None]).abs()
    costs = base_weight + gaps.to(log_p.dtype).pow(distance_power)
    costs = costs.masked_fill(gaps == 0, 0.0)
    return F.nll_loss(log_p, target) + (costs * log_p.exp()).sum(dim=1).mean()


class WeightedCrossEntropyLoss(CountedClassLoss):
    """Cross-entropy with a penalty on probability far from the right class; decoded by arg-max.

    Args:
        num_classes: K, from the data set.
        distance_power: How fast the penalty grows with the distance in classes.
        base_weight: The penalty of the nearest wrong class, less 1.

    Raises:
        ValueError: If ``num_classes`` < 2, the power is not positive or the base is negative.
    """

    def __init__(
        self, num_classes: Classes, distance_power: Positive = 2, base_weight: NonNegative = 1
    ) -> None:
        super().__init__(num_classes)
        check_positive("distance_power", distance_power)
        check_at_least("base_weight", base_weight, 0)
        self.distance_power = distance_power
        self.base_weight = base_weight

    def forward(self, outputs: Float[Tensor, "B K"], target: Tensor) -> Float[Tensor, ""]:
        """Compute the loss for class indices (B,)."""
        self.check_batch(outputs, target)
        return weighted_cross_entropy(outputs, target, self.distance_power, self.base_weight)
