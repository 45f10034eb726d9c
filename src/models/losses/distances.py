"""The distance between a number and its target, shared by all losses that compare numbers."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

from src.models.losses.base import Real, check_choice, check_positive
from src.schema.bounds import OneOf

DISTANCES = ("l1", "l2", "mse", "huber")
DistanceName = Annotated[str, OneOf(DISTANCES)]


def check_distance(key: str, loss_type: str, huber_delta: Real) -> None:
    """Refuse an unknown kind of distance, and a Huber threshold that is not positive.

    Raises:
        ValueError: Naming ``key`` and what is allowed.
    """
    check_choice(key, loss_type, DISTANCES)
    check_positive("huber_delta", huber_delta)


def distance(
    predicted: Float[Tensor, "*shape"],
    target: Float[Tensor, "*shape"],
    loss_type: str = "l2",
    huber_delta: Real = 1.0,
) -> Float[Tensor, "*shape"]:
    """Compute the element-wise distance of ``e = predicted - target``.

    ``l1``: |e|. ``l2``, also written ``mse``: e². ``huber``: ½e² for |e| ≤ δ, else δ(|e| − ½δ)
    (Huber 1964, "Robust estimation of a location parameter").

    Both and δ are in one unit.

    Raises:
        ValueError: If ``loss_type`` is none of them.

    Example:
        >>> distance(torch.tensor([0.0, 3.0]), torch.zeros(2), "huber", huber_delta=1.0)
        tensor([0.0000, 2.5000])
    """
    check_choice("loss_type", loss_type, DISTANCES)
    if loss_type == "l1":
        return (predicted - target).abs()
    if loss_type == "huber":
        return F.huber_loss(predicted, target, reduction="none", delta=float(huber_delta))
    return (predicted - target).square()


class _InwardClamp(torch.autograd.Function):
    """Clamp whose gradient, outside the range, still passes when it leads back into it."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bounds = low, high  # type: ignore[attr-defined]
        return x.clamp(low, high)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        low, high = ctx.bounds  # type: ignore[attr-defined]
        # Descent moves against the gradient: up where it is negative.
        outward = ((x < low) & (gradient > 0)) | ((x > high) & (gradient < 0))
        return gradient.masked_fill(outward, 0.0), None, None


def inward_clamp(x: Float[Tensor, "*shape"], low: float, high: float) -> Float[Tensor, "*shape"]:
    """Compute ``clamp(x, low, high)`` so that it cannot get stuck.

    A plain clamp has no gradient outside its range, so an output that has once left it never
    comes back. Here the gradient passes outside too, unless it would lead further away.

    Example:
        >>> x = torch.tensor([2.0, 2.0], requires_grad=True)
        >>> clamped = inward_clamp(x, 0.0, 1.0)
        >>> (clamped * torch.tensor([1.0, -1.0])).sum().backward()
        >>> clamped.tolist(), x.grad.tolist()
        ([1.0, 1.0], [1.0, 0.0])
    """
    return _InwardClamp.apply(x, low, high)
