"""A loss that learns how uncertain it is."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from src.models.losses.base import (
    Activation,
    Real,
    ValueLoss,
    check_at_least,
    check_columns,
    full_precision,
    target_column,
)
from src.models.losses.distances import inward_clamp
from src.schema.bounds import Share
from src.vimh.parameters import Parameter

LOG_VARIANCE_RANGE = (-14.0, 4.0)


def beta_nll_loss(
    mean: Float[Tensor, " B"],
    log_variance: Float[Tensor, " B"],
    target: Float[Tensor, " B"],
    beta: Real = 0.5,
) -> Float[Tensor, ""]:
    """``mean( sg(σ^{2β}) · ½ (log σ² + (y − μ)² / σ²) )``, sg: no gradient through it.

    The Gaussian negative log-likelihood, each sample weighted by its own variance to the power β:
    β = 0 is the plain likelihood, which learns slowly where it is uncertain, β = 1 has the
    gradient of the squared error (Seitzer et al. 2022, "On the pitfalls of heteroscedastic
    uncertainty estimation with probabilistic neural networks").

    μ and y are in the same unit, σ² is in its square, and β in 0...1.

    Example:
        >>> zero = torch.zeros(1)
        >>> beta_nll_loss(torch.ones(1), zero, zero)  # σ = 1: ½ (0 + 1)
        tensor(0.5000)
    """
    nll = 0.5 * (log_variance + (target - mean).square() * torch.exp(-log_variance))
    return (torch.exp(beta * log_variance).detach() * nll).mean()


class BetaNLLLoss(ValueLoss):
    """Mean and log-variance of a Gaussian, in 0...1 units; see :func:`beta_nll_loss`.

    The head puts out two plain columns. The mean is the sigmoid of the first, spread over its
    ends by ``margin``; the second is log σ², clamped to −14...4 (an output outside is still pulled
    back, see :func:`~src.models.losses.distances.inward_clamp`).

    Args:
        beta: β in 0...1.
        margin: m of ``sigmoid · (1 + 2m) − m``; as ``head_margin`` does for plain sigmoid heads.

    Raises:
        ValueError: If β is not in 0...1 or the margin is negative.
    """

    activation: Activation = "none"

    def __init__(self, beta: Share = 0.5, margin: Share = 0.0) -> None:
        super().__init__()
        if not 0 <= beta <= 1:
            raise ValueError(f"beta is {beta}; it has to be in 0...1.")
        check_at_least("margin", margin, 0)
        self.beta = beta
        self.margin = margin

    def outputs(self, parameter: Parameter) -> int:
        """Return two columns: mean, before the sigmoid, and log-variance."""
        return 2

    def forward(self, outputs: Float[Tensor, "B K"], target: Tensor) -> Float[Tensor, ""]:
        """Compute the loss for values in 0...1, (B,) or (B, 1)."""
        mean, log_variance = self._gaussian(outputs)
        target = target_column(mean, target, self).to(mean.dtype)
        return beta_nll_loss(mean, log_variance, target, self.beta)

    def decode(self, outputs: Float[Tensor, "B K"], parameter: Parameter) -> Float[Tensor, " B"]:
        """Return the mean, in units, clipped to min...max."""
        return super().decode(self._gaussian(outputs)[0], parameter)

    def spread(self, outputs: Float[Tensor, "B K"], parameter: Parameter) -> Float[Tensor, " B"]:
        """Return σ."""
        return torch.exp(0.5 * self._gaussian(outputs)[1].float())

    def deviation(self, outputs: Float[Tensor, "B K"], parameter: Parameter) -> Float[Tensor, " B"]:
        """Return half the distance between the values of μ − σ and μ + σ, in the unit.

        That is the standard deviation σ, but for where the spacing is log.
        """
        mean = self._gaussian(outputs)[0].float()
        deviation = self.spread(outputs, parameter)
        low, high = map(parameter.codec.denormalise, (mean - deviation, mean + deviation))
        half: Tensor = (high - low) / 2
        return half

    def _gaussian(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        check_columns(outputs, 2, "a mean and a log-variance", self)
        mean, log_variance = full_precision(outputs).unbind(dim=1)
        mean = mean.sigmoid() * (1 + 2 * self.margin) - self.margin
        return mean, inward_clamp(log_variance, *LOG_VARIANCE_RANGE)
