"""One loss over the vector of all parameters, normalised to 0...1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from jaxtyping import Float
from torch import Tensor

from src.models.losses.base import Real, ValueLoss, check_at_least, check_choice, full_precision
from src.models.losses.distances import DistanceName, check_distance, distance
from src.schema.bounds import NonNegative, OneOf, Positive
from src.vimh.parameters import Parameter

REDUCTIONS = ("mean", "sum", "none")


def index_loss(
    predicted: Float[Tensor, "B *p"],
    target: Float[Tensor, "B *p"],
    parameter_weights: Float[Tensor, " *p"] | None = None,
    loss_type: str = "l1",
    huber_delta: Real = 0.1,
    reduction: str = "mean",
) -> Float[Tensor, "*batch"]:
    """``reduce_B Σ_p w_p · d(ŷ_p, y_p)`` of normalised parameter vectors, (B, P).

    d is a :func:`~src.models.losses.distances.distance`, all w are 1 unless they are given, and the
    reduction over the batch is mean, sum, or none: a loss for each sample, (B,).

    Raises:
        ValueError: If ``loss_type`` or ``reduction`` is unknown, or there is one dimension only.

    Example:
        >>> weights = torch.tensor([1.0, 2.0])
        >>> index_loss(torch.ones(4, 2), torch.zeros(4, 2), weights, "l1")
        tensor(3.)
    """
    check_choice("reduction", reduction, REDUCTIONS)
    _check_vectors(predicted)
    errors = distance(full_precision(predicted), full_precision(target), loss_type, huber_delta)
    if parameter_weights is not None:
        errors = errors * parameter_weights.to(errors.dtype)
    per_sample = errors.sum(dim=1)
    if reduction == "none":
        return per_sample
    return per_sample.mean() if reduction == "mean" else per_sample.sum()


class IndexLoss(ValueLoss):
    """Weighted error of a parameter vector, summed over the parameters; see :func:`index_loss`.

    Used in two ways with the same result. By itself it takes (B, P) vectors. As ``loss=index``
    every head gets an instance with its ``parameter``, which takes that head's (B, 1) column and
    its own weight; the sum over the heads is the loss of the vector (with ``loss_weights`` of 1:
    those are factors of their own).

    Args:
        reduction: mean or sum, over the batch; none: a loss for each sample, which is for use by
            itself and for no head.
        parameter_weights: Weights in the vector's order, or by parameter name (with
            ``parameter``, where names that it lacks are an error); None: all 1.
        loss_type: l1, l2 (also written mse) or huber.
        huber_delta: Where Huber's loss becomes linear, as a share of the range.
        parameter: Name of the head's parameter, from the data set; None for whole vectors.

    Raises:
        ValueError: If a word is unknown, δ is not positive, a weight negative or missing, or
            weights are named for vectors or unnamed for a head.
    """

    weights: Tensor

    def __init__(
        self,
        reduction: Annotated[str, OneOf(REDUCTIONS)] = "mean",
        parameter_weights: Mapping[str, NonNegative] | Sequence[NonNegative] | None = None,
        loss_type: DistanceName = "l1",
        huber_delta: Positive = 0.1,
        parameter: str | None = None,
    ) -> None:
        super().__init__()
        check_choice("reduction", reduction, REDUCTIONS)
        check_distance("loss_type", loss_type, huber_delta)
        self.reduction = reduction
        self.loss_type = loss_type
        self.huber_delta = huber_delta
        self.parameter = parameter
        self.gives_scalar = reduction != "none"
        self.register_buffer("weights", torch.empty(0), persistent=False)
        self.set_parameter_weights(parameter_weights)

    def set_parameter_weights(
        self, parameter_weights: Mapping[str, NonNegative] | Sequence[NonNegative] | Tensor | None
    ) -> None:
        """Change the weights of the parameters.

        Raises:
            ValueError: As the constructor.

        Example:
            >>> loss = IndexLoss()
            >>> loss.set_parameter_weights([1.0, 2.0])
            >>> loss(torch.ones(4, 2), torch.zeros(4, 2))
            tensor(3.)
        """
        if isinstance(parameter_weights, Tensor):
            parameter_weights = parameter_weights.tolist()
        weights = _weights_of(self.parameter, parameter_weights)
        for weight in weights:
            check_at_least("parameter_weights", weight, 0)
        # Empty: vectors of any length, all weights 1.
        self.weights = torch.tensor(weights, device=self.weights.device)

    @classmethod
    def arguments_from(cls, parameter: Parameter) -> dict[str, Any]:
        """Return the head's name, which its weight is found by."""
        return super().arguments_from(parameter) | {"parameter": parameter.name}

    def forward(self, outputs: Float[Tensor, "B *p"], target: Tensor) -> Float[Tensor, "*batch"]:
        """Compute the loss of vectors (B, P), or of a head's outputs (B, 1) and values (B,).

        Returns:
            A scalar, or a loss for each sample (B,) where ``reduction`` is none.

        Raises:
            ValueError: If the outputs are no vectors (B, P), or outputs, targets and weights are
                not of one length.
        """
        _check_vectors(outputs)
        if target.ndim == 1:
            target = target[:, None]
        length = len(self.weights) or outputs.shape[1]
        if outputs.shape != target.shape or outputs.shape[1] != length:
            raise ValueError(
                f"IndexLoss takes outputs and targets of the same shape (B, {length}), but got "
                f"{tuple(outputs.shape)} and {tuple(target.shape)}."
            )
        weights = self.weights if len(self.weights) else None
        target = target.to(full_precision(outputs).dtype)
        return index_loss(
            outputs, target, weights, self.loss_type, self.huber_delta, self.reduction
        )


def _check_vectors(predicted: Tensor) -> None:
    if predicted.ndim != 2:
        raise ValueError(
            "IndexLoss takes parameter vectors (B, P), one row a sample, but got outputs of shape "
            f"{tuple(predicted.shape)}; give a single parameter as (B, 1)."
        )


def _weights_of(
    parameter: str | None, given: Mapping[str, Real] | Sequence[Real] | None
) -> list[float]:
    """Return the weights of the columns that the loss will see; empty: any number of ones."""
    if given is None:
        return [] if parameter is None else [1.0]
    if isinstance(given, Mapping):
        if parameter is None:
            raise ValueError(
                "parameter_weights are named, but vectors have no names: give a list in the "
                "vector's order, or the head's name as parameter."
            )
        if parameter not in given:
            raise ValueError(
                f"parameter_weights has no weight for head {parameter!r}; it has "
                f"{', '.join(given) or 'none'}."
            )
        return [float(given[parameter])]
    if parameter is not None:
        raise ValueError(
            f"parameter_weights is a list, which does not say what head {parameter!r} gets: give a "
            "dict by name."
        )
    return [float(weight) for weight in given]
