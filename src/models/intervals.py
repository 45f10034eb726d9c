"""Intervals around values, and sets of classes, that hold the true ones with a confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from src.calibration.calibration import Calibration
from src.models.components.network import MultiheadNetwork
from src.models.multihead_module import MultiheadLitModule
from src.models.parameter_head import ParameterHead
from src.vimh.parameters import Parameter

CONFIDENCE = 0.9  # unless another is asked for
ROUNDING = 1e-6  # of the range, added to each interval: values are float32
Outputs = Mapping[str, Tensor]


def rounding(parameter: Parameter) -> float:
    """Return what float32 leaves open of a value in a parameter's unit, as a share of its range."""
    low, high = float(parameter.codec.low), float(parameter.codec.high)
    largest = max(1.0, high - low) if parameter.is_log else max(abs(low), abs(high))
    return ROUNDING + 2.0**-22 * largest / (high - low)


def head_scores(
    head: ParameterHead, outputs: Float[Tensor, "B K"], true: Float[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """Compute how far off a head is: what conformal prediction takes quantiles of.

    Of ordered heads the distance from the true value over the head's own :meth:`spread
    <src.models.parameter_head.ParameterHead.spread>`, both as shares of the range on the head's
    scale (J. Lei et al. 2018, "Distribution-free predictive inference for regression"). Of
    categorical ones 1 − the probability of the true class (M. Sadinle, J. Lei, L. Wasserman 2019,
    "Least ambiguous set-valued classifiers with bounded error levels").

    Args:
        head: In eval mode.
        outputs: The network's, for this head.
        true: Values in the parameter's unit, float64.
    """
    if head.parameter.is_categorical:
        classes = head.codec.class_of(true).long()
        return 1.0 - class_shares(head, outputs).gather(1, classes[:, None])[:, 0]
    apart = head.codec.normalise(head.decode(outputs).to(true.dtype)) - head.codec.normalise(true)
    return apart.abs() / head.spread(outputs).to(true.dtype)


def class_shares(head: ParameterHead, outputs: Float[Tensor, "B K"]) -> Float[Tensor, "B _"]:
    """Return a categorical head's probabilities; of a loss without any 1 for the class it says."""
    shares = head.loss.probabilities(outputs)
    if shares is not None:
        return shares
    classes = head.codec.class_of(head.decode(outputs)).long()
    return F.one_hot(classes, head.parameter.num_classes).float()


def adopt(model: MultiheadLitModule, calibration: Calibration) -> None:
    """Give a model the calibration that was measured of it.

    Raises:
        ConfigError: If it is of another network.
    """
    assert isinstance(model.net, MultiheadNetwork)
    heads, shape = model.net.heads, model.required_preparation.image_shape
    calibration.check_fits(shape, heads.num_features, heads.auxiliary_input_size)
    model.calibration = calibration


def outputs_and_features(
    model: MultiheadLitModule,
    images: Float[Tensor, "B C H W"],
    auxiliary: Float[Tensor, "B A"] | None,
) -> tuple[dict[str, Tensor], Float[Tensor, "B F"]]:
    """Compute a model's outputs by head, and the network's last features."""
    assert isinstance(model.net, MultiheadNetwork)
    outputs, features = model.net.outputs_and_features(images, auxiliary)
    return (outputs if isinstance(outputs, dict) else {next(iter(model.heads)): outputs}), features


class Intervals(nn.Module):
    """Intervals of a model's heads at one confidence: plain arithmetic on its outputs.

    Args:
        heads: The model's, in their order.
        calibration: Of the same model.
        confidence: The share of true values that intervals should hold, in 0…1.

    Raises:
        ConfigError: If the confidence is not between 0 and 1.
    """

    def __init__(
        self, heads: Sequence[ParameterHead], calibration: Calibration, confidence: float
    ) -> None:
        super().__init__()
        self._heads = list(heads)  # a plain list: they are the model's, not of this
        self.confidence = confidence
        self.quantiles = calibration.quantiles(confidence)

    def forward(self, outputs: Outputs) -> tuple[Float[Tensor, "B P"], Float[Tensor, "B P"]]:
        """Return the lower and upper ends of all heads, in their units, clipped to their ranges.

        Both are the value itself where a head is categorical: :meth:`sets` has what it may be.
        """
        ends = [
            self._ends(head, outputs[head.parameter.name], quantile)
            for head, quantile in zip(self._heads, self.quantiles, strict=True)
        ]
        low, high = zip(*ends, strict=True)
        return torch.stack(low, dim=1), torch.stack(high, dim=1)

    def sets(self, outputs: Outputs) -> dict[str, Bool[Tensor, "B K"]]:
        """Return which classes may be the true one, by categorical head; the likeliest always."""
        found = {}
        for head, quantile in zip(self._heads, self.quantiles, strict=True):
            if head.parameter.is_categorical:
                shares = class_shares(head, outputs[head.parameter.name])
                least = 1.0 - quantile - ROUNDING
                found[head.parameter.name] = (shares >= least) | (
                    shares >= shares.amax(dim=1, keepdim=True)
                )
        return found

    def _ends(self, head: ParameterHead, outputs: Tensor, quantile: float) -> tuple[Tensor, Tensor]:
        value = head.decode(outputs).float()
        if head.parameter.is_categorical:
            return value, value
        reach = quantile * head.spread(outputs).float() + rounding(head.parameter)
        middle = head.codec.normalise(value)
        low, high = ((middle + side * reach).clamp(0.0, 1.0) for side in (-1.0, 1.0))
        return head.codec.denormalise(low), head.codec.denormalise(high)
