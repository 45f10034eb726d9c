"""Losses on one number a head, which stands for the value normalised to 0...1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from src.models.losses.base import (
    Activation,
    Real,
    ValueLoss,
    check_at_least,
    check_choice,
    check_positive,
    expected_class,
    full_precision,
    single_column,
    target_column,
)
from src.models.losses.distances import DistanceName, check_distance, distance, inward_clamp
from src.schema.bounds import Bounds, Positive
from src.vimh.codec import Codec, Spacing
from src.vimh.parameters import Parameter


def check_bounds(
    key: str, bounds: Sequence[Real], spacing: Spacing = "linear"
) -> tuple[float, float]:
    """Return a pair (low, high) as floats.

    Raises:
        ValueError: If there are not two finite numbers, the first the smaller, or the first is not
            positive and the spacing is log.
    """
    if len(bounds) != 2 or not float("-inf") < bounds[0] < bounds[1] < float("inf"):
        raise ValueError(
            f"{key} is {list(bounds)}; it has to be two finite numbers (min, max) with min < max."
        )
    if spacing == "log" and bounds[0] <= 0:
        raise ValueError(f"{key} is {list(bounds)}; with log spacing, min has to be positive.")
    return float(bounds[0]), float(bounds[1])


def spacing_of(parameter: Parameter) -> dict[str, Any]:
    """Return the argument ``spacing`` for a parameter; nothing where it is the default."""
    return {"spacing": "log"} if parameter.is_log else {}


def direct_gradient_loss(
    predicted: Float[Tensor, " B"], target: Float[Tensor, " B"], scale_factor: Real = 1.0
) -> Float[Tensor, ""]:
    """``½ · s · mean((ŷ − y)²)``, whose gradient at output i is ``s · (ŷ_i − y_i) / B``.

    Example:
        >>> import torch
        >>> predicted = torch.tensor([0.5, 1.0], requires_grad=True)
        >>> direct_gradient_loss(predicted, torch.tensor([0.0, 1.0]), scale_factor=4).backward()
        >>> predicted.grad
        tensor([1., 0.])
    """
    error = full_precision(predicted) - full_precision(target)
    return 0.5 * scale_factor * error.square().mean()


class DirectParameterGradientLoss(ValueLoss):
    """DG: the gradient that reaches the output is the parameter error itself.

    See :func:`direct_gradient_loss`. Without ``param_range``, outputs and targets are normalised
    to 0...1. With it, both sides are taken to parameter units before they are compared. Where it
    has ``num_classes``, targets are class indices: class k stands for ``k / (num_classes − 1)``,
    evenly spaced for ``min + k · (max − min) / (num_classes − 1)``. Soft targets count by their
    expectation ``Σ_k k · q_k``, a class index that may be fractional.

    Args:
        scale_factor: s, the factor of the gradient.
        param_range: None, ``{"min": ..., "max": ...}``, or
            ``{"min": ..., "max": ..., "num_classes": ...}``.
        spacing: How 0...1 lies between them; from the data set.

    Raises:
        ValueError: If the scale is not positive, or the range has other keys, is empty, or has
            fewer than two classes.

    Example:
        >>> import torch
        >>> loss = DirectParameterGradientLoss(param_range={"min": 0, "max": 10})
        >>> loss(torch.tensor([[0.5]]), torch.tensor([[0.7]]))  # 2 units off
        tensor(2.)
    """

    def __init__(
        self,
        scale_factor: Positive = 1.0,
        param_range: Mapping[str, Real] | None = None,
        spacing: Spacing = "linear",
    ) -> None:
        super().__init__()
        check_positive("scale_factor", scale_factor)
        self.scale_factor = scale_factor
        self.num_classes: Real | None = None
        if param_range is not None:
            if set(param_range) - {"num_classes"} != {"min", "max"}:
                raise ValueError(
                    f"param_range has the keys {sorted(param_range)}; it has to have min and max, "
                    "or, for class indices, min, max and num_classes."
                )
            ends = [param_range["min"], param_range["max"]]
            self.codec = Codec.between(*check_bounds("param_range", ends, spacing), spacing)
            self.num_classes = param_range.get("num_classes")
            if self.num_classes is not None:
                check_at_least("param_range.num_classes", self.num_classes, 2)
                self.target = "index"

    @classmethod
    def arguments_from(cls, parameter: Parameter) -> dict[str, Any]:
        """Return the spacing, where it is not the usual one."""
        return super().arguments_from(parameter) | spacing_of(parameter)

    def forward(self, outputs: Float[Tensor, "B *k"], target: Tensor) -> Float[Tensor, ""]:
        """Compute the loss of one number a sample, (B, 1) or (B,), in 0...1.

        Targets are values in 0...1, or class indices where ``param_range`` has ``num_classes``,
        (B,) or (B, 1); or distributions over the classes, (B, K).

        Raises:
            ValueError: If the outputs have more than one column, which are class logits, or the
                targets are class indices and nothing says how many classes there are.
        """
        predicted = full_precision(single_column(outputs, self))
        normalised = self._normalised(predicted, target)
        if self.codec is not None:
            predicted, normalised = map(self.codec.denormalise, (predicted, normalised))
        return direct_gradient_loss(predicted, normalised, self.scale_factor)

    def _normalised(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return the targets in 0...1, (B,)."""
        classes = self.num_classes
        if target.ndim == 2 and target.shape[1] > 1:
            columns = target.shape[1]
            if len(target) != len(predicted) or columns != (classes or columns):
                raise ValueError(
                    f"DirectParameterGradientLoss takes soft targets ({len(predicted)}, "
                    f"{classes or 'classes'}), but got shape {tuple(target.shape)}."
                )
            return expected_class(target).to(predicted.dtype) / (columns - 1)
        target = target_column(predicted, target, self)
        if classes is not None:
            return target.to(predicted.dtype) / (classes - 1)
        if not target.is_floating_point():
            missing = "param_range" if self.codec is None else "param_range.num_classes"
            raise ValueError(
                f"DirectParameterGradientLoss got class indices as targets but no {missing}; "
                "give values in 0...1, or param_range with min, max and num_classes."
            )
        return target.to(predicted.dtype)


class DirectRegressionLoss(ValueLoss):
    """Plain regression on the output: the mean of :func:`~src.models.losses.distances.distance`.

    Args:
        loss_type: l1, l2 (also written mse) or huber.
        huber_delta: Where Huber's loss becomes linear, as a share of the range; 1: nowhere.
        clamp_range: Outputs are clamped to (low, high) before they are compared; an output outside
            is still pulled back (see :func:`~src.models.losses.distances.inward_clamp`).
        activation: sigmoid, or none for a linear output, whose bias then starts mid-range.

    Raises:
        ValueError: If a word is unknown, δ is not positive or the range is empty.
    """

    def __init__(
        self,
        loss_type: DistanceName = "l1",
        huber_delta: Positive = 1.0,
        clamp_range: Bounds | None = None,
        activation: Activation = "sigmoid",
    ) -> None:
        super().__init__()
        check_distance("loss_type", loss_type, huber_delta)
        check_choice("activation", activation, ("sigmoid", "none"))
        self.loss_type = loss_type
        self.huber_delta = huber_delta
        self.clamp_range = None if clamp_range is None else check_bounds("clamp_range", clamp_range)
        self.activation = activation

    def initial_bias(self, parameter: Parameter) -> float | None:
        """Return mid-range for linear outputs."""
        return 0.5 if self.activation == "none" else None

    def forward(self, outputs: Float[Tensor, "B *k"], target: Tensor) -> Float[Tensor, ""]:
        """Compute the mean distance to values in 0...1, (B,) or (B, 1)."""
        predicted = full_precision(single_column(outputs, self))
        target = target_column(predicted, target, self).to(predicted.dtype)
        if self.clamp_range is not None:
            predicted = inward_clamp(predicted, *self.clamp_range)
        return distance(predicted, target, self.loss_type, self.huber_delta).mean()


def normalized_regression_loss(
    predicted: Float[Tensor, " B"],
    target: Float[Tensor, " B"],
    param_range: tuple[float, float],
    loss_type: str = "mse",
    huber_delta: Real = 0.1,
    return_perceptual_units: bool = True,
    spacing: Spacing = "linear",
) -> Float[Tensor, ""]:
    """``(max − min) · mean d(ŷ, clip((y − min) / (max − min), 0, 1))``.

    ŷ is in 0...1, y, min and max are in parameter units; where the spacing is log, they are their
    natural logarithms. d is a :func:`~src.models.losses.distances.distance`, with δ as a share of
    the range. Without ``return_perceptual_units`` the factor max − min is left out.

    Example:
        >>> import torch
        >>> predicted, target = torch.tensor([0.5]), torch.tensor([10.0])
        >>> normalized_regression_loss(predicted, target, (0.0, 10.0), "l1")
        tensor(5.)
    """
    codec = Codec.between(*param_range, spacing)
    predicted, target = full_precision(predicted), full_precision(target)
    normalised = codec.normalise(target).clamp(0, 1).to(predicted.dtype)
    loss = distance(predicted, normalised, loss_type, huber_delta).mean()
    return codec.error_on_axis(loss) if return_perceptual_units else loss


class NormalizedRegressionLoss(ValueLoss):
    """Regression in 0...1 against targets in parameter units, weighed by the range.

    See :func:`normalized_regression_loss`.

    Args:
        param_range: (min, max) of the parameter, in its unit, from the data set.
        loss_type: mse (also written l2), l1 or huber.
        huber_delta: Where Huber's loss becomes linear, as a share of the range.
        return_perceptual_units: Whether the loss is multiplied by the range.
        normalised_targets: Whether targets come in 0...1 already, as the data module makes them,
            instead of in parameter units.
        spacing: How 0...1 lies between min and max; from the data set.

    Raises:
        ValueError: If the range is empty, ``loss_type`` unknown or δ not positive.
    """

    def __init__(
        self,
        param_range: Bounds,
        loss_type: DistanceName = "mse",
        huber_delta: Positive = 0.1,
        return_perceptual_units: bool = True,
        normalised_targets: bool = False,
        spacing: Spacing = "linear",
    ) -> None:
        super().__init__()
        check_distance("loss_type", loss_type, huber_delta)
        self.param_range = check_bounds("param_range", param_range, spacing)
        self.spacing = spacing
        self.codec: Codec = Codec.between(*self.param_range, spacing)
        self.loss_type = loss_type
        self.huber_delta = huber_delta
        self.return_perceptual_units = return_perceptual_units
        self.normalised_targets = normalised_targets

    @classmethod
    def arguments_from(cls, parameter: Parameter) -> dict[str, Any]:
        """Return the range and its spacing, and that targets come normalised."""
        return super().arguments_from(parameter) | {
            "param_range": (parameter.min, parameter.max),
            "normalised_targets": True,
            **spacing_of(parameter),
        }

    def forward(self, outputs: Float[Tensor, "B *k"], target: Tensor) -> Float[Tensor, ""]:
        """Compute the loss for values (B,) or (B, 1), in units unless ``normalised_targets``."""
        predicted = single_column(outputs, self)
        target = target_column(predicted, target, self)
        # Normalised targets stay as they are: over the units and back would cost digits.
        ends, spacing = self.param_range, self.spacing
        if self.normalised_targets:
            ends, spacing = (0.0, 1.0), "linear"
        loss = normalized_regression_loss(
            predicted, target, ends, self.loss_type, self.huber_delta, False, spacing
        )
        return self.codec.error_on_axis(loss) if self.return_perceptual_units else loss
