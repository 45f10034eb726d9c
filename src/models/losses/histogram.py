"""Regression by classification over bins finer than a JND."""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from annotated_types import Interval
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from src.models.losses.base import (
    ClassLoss,
    Real,
    TargetKind,
    check_at_least,
    check_choice,
    check_columns,
    check_positive,
    deviation,
    full_precision,
    target_column,
)
from src.schema.bounds import OneOf, Positive
from src.vimh.parameters import Parameter

MAX_BINS = 2**20  # one output each
DECODINGS = ("jnd_window", "expectation")
# Windows whose probabilities differ by less are tied: float32 sums are no better.
TIE = 1e-6


def gaussian_histogram(
    target: Float[Tensor, " B"], edges: Float[Tensor, " E"], sigma: Real
) -> Float[Tensor, "B E-1"]:
    """Compute the probability of each bin under a Gaussian around the target, with a sum of 1.

    ``q_k ∝ Φ((e_{k+1} − y)/σ) − Φ((e_k − y)/σ)``: the target of HL-Gauss (Imani & White 2018,
    "Improving regression performance with distributional losses").

    Args:
        target: y.
        edges: The E = K + 1 edges of the bins, rising, in the same unit.
        sigma: σ, in the same unit.

    Example:
        >>> gaussian_histogram(torch.tensor([0.0]), torch.tensor([-1.0, 0.0, 1.0]), sigma=1.0)
        tensor([[0.5000, 0.5000]])
    """
    z = (edges - target[:, None]) / (sigma * math.sqrt(2.0))
    mass = torch.erf(z).diff(dim=1)
    return mass / mass.sum(dim=1, keepdim=True)


def hl_gauss_loss(
    logits: Float[Tensor, "B K"],
    target: Float[Tensor, " B"],
    edges: Float[Tensor, " E"],
    sigma: Real,
) -> Float[Tensor, ""]:
    """Compute ``−mean_B Σ_k q_k log p_k`` with q the Gaussian histogram of the target.

    Farebrother et al. (2024, "Stop regressing: training value functions via classification for
    scalable deep RL") name it HL-Gauss.

    Args:
        logits: One logit a bin.
        target: y.
        edges: The E = K + 1 edges of the bins, in the same unit.
        sigma: σ of the targets, in the same unit.
    """
    logits = full_precision(logits)
    q = gaussian_histogram(target.to(logits.dtype), edges.to(logits.dtype), sigma)
    return F.cross_entropy(logits, q)


def best_window(probabilities: Float[Tensor, "B K"], half_width: int) -> Tensor:
    """Find the bin (B,) whose window of ``±half_width`` bins holds the most probability.

    Among windows that hold the same (to 1e-6), the one with the highest centre bin.

    Example:
        >>> best_window(torch.tensor([[0.0, 0.1, 0.6, 0.3, 0.0]]), half_width=1)
        tensor([2])
    """
    width = 2 * half_width + 1
    held = width * F.avg_pool1d(probabilities[:, None], width, stride=1, padding=half_width)[:, 0]
    tied = held >= held.amax(dim=1, keepdim=True) - TIE
    return probabilities.masked_fill(~tied, -1.0).argmax(dim=1)


class HLGaussLoss(ClassLoss):
    """Histogram loss with Gaussian targets; see :func:`hl_gauss_loss`.

    Bins are ``step / bins_per_jnd`` wide; one is centred on the parameter's min, and the range is
    padded on both sides by ``padding_sigma · σ``, so that targets at the ends are not cut.

    Args:
        num_steps: The range in JND, ``(max − min) / step``, from the data set; None where the
            parameter has no step: then ``steps_without`` of them are counted as JND.
        sigma_jnd: σ of the targets, in JND; ½...1 is a good start.
        bins_per_jnd: Bins in one JND; 2 or more.
        padding_sigma: Padding on each side, in σ.
        steps_without: Steps in the range of a parameter that has none.
        decode: jnd_window: the centre of the window of ±1 JND that holds the most probability,
            which is the best guess when being within one JND counts. expectation: the mean, which
            is the best guess for squared error. None: jnd_window where the parameter has a step,
            else expectation.

    Raises:
        ValueError: If a number is not positive or ``decode`` unknown.
    """

    target: TargetKind = "value"
    edges: Tensor

    def __init__(
        self,
        num_steps: Positive | None,
        sigma_jnd: Annotated[Real, Interval(gt=0, le=1000)] = 0.75,
        bins_per_jnd: Annotated[int, Interval(ge=1, le=1000)] = 2,
        padding_sigma: Annotated[Real, Interval(gt=0, le=100)] = 3.0,
        steps_without: Annotated[int, Interval(ge=1, le=10_000)] = 32,
        decode: Annotated[str, OneOf(DECODINGS)] | None = None,
    ) -> None:
        super().__init__()
        decode = decode or (DECODINGS[1] if num_steps is None else DECODINGS[0])
        num_steps = steps_without if num_steps is None else num_steps
        check_positive("num_steps", num_steps)
        check_at_least("steps_without", steps_without, 1)
        check_positive("sigma_jnd", sigma_jnd)
        check_at_least("bins_per_jnd", bins_per_jnd, 1)
        check_positive("padding_sigma", padding_sigma)
        check_choice("decode", decode, DECODINGS)
        self.bins_per_jnd = bins_per_jnd
        self.decoding = decode
        # Everything in bins, counted from the bin at min: the edges are then exact in float32.
        self.bins_in_range = num_steps * bins_per_jnd
        self.sigma_bins = sigma_jnd * bins_per_jnd
        self.padding = math.ceil(padding_sigma * self.sigma_bins)
        self.num_bins = math.ceil(self.bins_in_range - 1e-6) + 1 + 2 * self.padding
        if self.num_bins > MAX_BINS:
            raise ValueError(
                f"HLGaussLoss has {self.num_bins} bins, of {num_steps:g} steps; at most {MAX_BINS} "
                "are taken: choose fewer bins_per_jnd, a smaller sigma_jnd, or a larger step."
            )
        edges = torch.arange(self.num_bins + 1) - (self.padding + 0.5)
        self.register_buffer("edges", edges, persistent=False)

    @classmethod
    def arguments_from(cls, parameter: Parameter) -> dict[str, Any]:
        """Return the range in JND, or None."""
        steps = None if parameter.step is None else parameter.num_steps
        return super().arguments_from(parameter) | {"num_steps": steps}

    def has_accuracy(self, parameter: Parameter) -> bool:
        """Whether the parameter has steps; its bins are no classes."""
        return parameter.step is not None

    def outputs(self, parameter: Parameter) -> int:
        """Return one column a bin."""
        return self.num_bins

    def forward(self, outputs: Float[Tensor, "B K"], target: Tensor) -> Float[Tensor, ""]:
        """Compute the loss for values in 0...1, (B,) or (B, 1)."""
        check_columns(outputs, self.num_bins, "one logit a bin", self)
        target = target_column(outputs, target, self)
        in_bins = full_precision(target) * self.bins_in_range
        return hl_gauss_loss(outputs, in_bins, self.edges, self.sigma_bins)

    def probabilities(self, outputs: Float[Tensor, "B K"]) -> None:
        """Return None: bins are narrower than classes."""

    def spread(self, outputs: Float[Tensor, "B K"], parameter: Parameter) -> Float[Tensor, " B"]:
        """Return the standard deviation of the bins, with half a bin beside it."""
        check_columns(outputs, self.num_bins, "one logit a bin", self)
        places = (self.edges[:-1] + 0.5) / self.bins_in_range
        return deviation(outputs.float().softmax(dim=1), places, 0.5 / self.bins_in_range)

    def decode(self, outputs: Float[Tensor, "B K"], parameter: Parameter) -> Float[Tensor, " B"]:
        """Return the best window's centre, or the expectation, in units, clipped to min...max."""
        check_columns(outputs, self.num_bins, "one logit a bin", self)
        probabilities = outputs.float().softmax(dim=1)
        if self.decoding == "jnd_window":
            bins = best_window(probabilities, self.bins_per_jnd).float() - self.padding
        else:
            # The centres of the bins, counted from the bin at min.
            bins = (probabilities * (self.edges[:-1] + 0.5)).sum(dim=1)
        values: Tensor = parameter.codec.denormalise(bins / self.bins_in_range)
        return values.clamp(parameter.min, parameter.max)
