"""What every loss of a head has in common: the contract, the checks, the two usual decodings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from src.inputs.targets import TargetKind
from src.models.components.heads import Activation, OutputMode
from src.schema.bounds import MAX_CLASSES, Classes, Real
from src.vimh.codec import Codec
from src.vimh.parameters import Parameter


class HeadLoss(nn.Module, ABC):
    """The loss of one head: what the network puts out for it, what that costs, what it means."""

    # What the labels have to be: class indices int64 (B,), distributions float (B, K), or values
    # float (B,) normalised to 0...1 by the parameter's min...max.
    target: TargetKind
    # What the network applies to the head's output. Sigmoid outputs may come spread over 0 and 1
    # (``head_margin``); both ``forward`` and ``decode`` take them so.
    activation: Activation
    output_mode: OutputMode  # "classification" for class logits, "regression" for numbers
    accepts_soft_targets: bool = False  # whether distributions (B, K) do instead of ``target``
    gives_scalar: bool = True  # whether ``forward`` reduces over the batch, as training needs it
    needs_order: ClassVar[bool] = True  # whether it makes no sense for categorical parameters
    needs_step: ClassVar[bool] = False  # whether it counts in JND steps

    # nn.Module's own takes any argument; a config's key that no loss reads is a mistake.
    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def check_fits(cls, parameter: Parameter) -> None:
        """Refuse a parameter that this loss cannot learn.

        Raises:
            ValueError: If an ordered loss meets a categorical parameter, if the parameter has a
                single class, or no step where one is needed. Names the head and what to choose.
        """
        name = f"head {parameter.name!r}"
        if parameter.num_classes < 2:
            raise ValueError(
                f"{name} has a single class ({parameter.min:g}...{parameter.max:g}, step "
                f"{parameter.step}): there is nothing to learn. Give it a smaller step, or make "
                "min equal max, so that it is fixed and no head."
            )
        if parameter.num_classes > MAX_CLASSES:
            raise ValueError(
                f"{name} has {parameter.num_classes} classes (step {parameter.step}); at most "
                f"{MAX_CLASSES} can be learnt: give it a larger step."
            )
        if cls.needs_order and parameter.is_categorical:
            raise ValueError(
                f"{cls.__name__} needs ordered classes, but {name} is categorical: choose loss=ce, "
                "or for such heads alone loss@model.losses.categorical=ce."
            )
        if cls.needs_step and parameter.step is None:
            raise ValueError(
                f"{cls.__name__} counts in JND steps, but {name} has no step: give the parameter "
                "a step, or choose a loss without one (loss=dg, loss=ordinal, loss=ce)."
            )

    @classmethod
    def arguments_from(cls, parameter: Parameter) -> dict[str, Any]:
        """Return the arguments that the data set decides; a config's own come before them.

        Raises:
            ValueError: If the loss does not fit the parameter; see :meth:`check_fits`.
        """
        cls.check_fits(parameter)
        return {}

    def has_accuracy(self, parameter: Parameter) -> bool:
        """Whether the share of values in the true class says something of a head."""
        return self.output_mode == "classification"

    @abstractmethod
    def outputs(self, parameter: Parameter) -> int:
        """Return how many columns the network has to give this head."""

    def initial_bias(self, parameter: Parameter) -> float | None:
        """Return where the bias of the head's last layer starts; None: as the layer makes it."""
        return None

    @abstractmethod
    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of a batch, a scalar where ``gives_scalar``."""

    def probabilities(self, outputs: Tensor) -> Tensor | None:
        """Return the classes' probabilities, float32 (B, K); None where the head has no classes."""
        return None

    def spread(self, outputs: Tensor, parameter: Parameter) -> Tensor | None:
        """Return how uncertain outputs (B, K) are, float32 (B,) above 0, as a share of the range.

        On the parameter's own scale (0...1). None where the outputs do not say it: numbers alone.
        Of classes the standard deviation of their centres, with half a class beside it.
        """
        shares = self.probabilities(outputs)
        if shares is None or parameter.is_categorical:
            return None
        index = torch.arange(parameter.num_classes, device=outputs.device).float()
        centres = parameter.codec.normalise(parameter.codec.value_of_class(index))
        return deviation(shares, centres, 0.5 / (parameter.num_classes - 1))

    @abstractmethod
    def decode(self, outputs: Tensor, parameter: Parameter) -> Tensor:
        """Convert outputs (B, K) to values in the parameter's unit, float32 (B,), in min...max."""


class ValueLoss(HeadLoss):
    """Base of losses on one number a head that stands for the value normalised to 0...1."""

    target: TargetKind = "value"
    activation: Activation = "sigmoid"
    output_mode: OutputMode = "regression"
    codec: Codec | None = None  # what 0 and 1 stand for, where not the parameter's min and max

    def outputs(self, parameter: Parameter) -> int:
        """Return 1."""
        return 1

    def decode(self, outputs: Float[Tensor, "B *k"], parameter: Parameter) -> Float[Tensor, " B"]:
        """Return what 0...1 stands for, clipped to min...max."""
        codec = self.codec or parameter.codec
        values: Tensor = codec.denormalise(single_column(outputs, self).float())
        return values.clamp(parameter.min, parameter.max)


class ClassLoss(HeadLoss):
    """Base of losses on one logit a class, decoded by arg-max unless a subclass knows better."""

    target: TargetKind = "index"
    activation: Activation = "none"
    output_mode: OutputMode = "classification"

    def outputs(self, parameter: Parameter) -> int:
        """Return one column a class."""
        return parameter.num_classes

    def probabilities(self, outputs: Float[Tensor, "B K"]) -> Float[Tensor, "B _"] | None:
        """Return the softmax of the logits."""
        return outputs.float().softmax(dim=1)

    def decode(self, outputs: Float[Tensor, "B K"], parameter: Parameter) -> Float[Tensor, " B"]:
        """Return the centre of the most probable class."""
        return class_values(outputs.argmax(dim=1), parameter)


class CountedClassLoss(ClassLoss):
    """Base of losses on logits that are built for a number of classes.

    Args:
        num_classes: K, from the data set.

    Raises:
        ValueError: If ``num_classes`` < 2.
    """

    def __init__(self, num_classes: Classes) -> None:
        super().__init__()
        check_at_least("num_classes", num_classes, 2)
        self.num_classes = num_classes

    @classmethod
    def arguments_from(cls, parameter: Parameter) -> dict[str, Any]:
        """Return the number of classes."""
        return super().arguments_from(parameter) | {"num_classes": parameter.num_classes}

    def check_batch(self, outputs: Tensor, target: Tensor) -> None:
        """Refuse outputs without one logit a class, and targets that are not (B,)."""
        check_columns(outputs, self.num_classes, "one logit a class", self)
        check_target(outputs, target, self)


def full_precision(x: Tensor) -> Tensor:
    """Widen half-precision numbers to float32: a loss sums many small terms."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def single_column(outputs: Tensor, loss: nn.Module) -> Tensor:
    """Return outputs (B, 1) or (B,) as (B,).

    Raises:
        ValueError: If there are more columns, that is, class logits.
    """
    if outputs.ndim == 1:
        return outputs
    if outputs.ndim != 2 or outputs.shape[1] != 1:
        raise ValueError(
            f"{type(loss).__name__} takes one number a sample, (B, 1), but got outputs of shape "
            f"{tuple(outputs.shape)}: these look like class logits. Use regression heads "
            "(output_mode: regression, one output a head), or a loss for logits such as loss=ce."
        )
    return outputs[:, 0]


def check_target(outputs: Tensor, target: Tensor, loss: nn.Module) -> None:
    """Refuse targets whose shape would broadcast against (B,) instead of matching it."""
    if target.shape != outputs.shape[:1]:
        raise ValueError(
            f"{type(loss).__name__} takes one target a sample, ({len(outputs)},), but got shape "
            f"{tuple(target.shape)}."
        )


def target_column(outputs: Tensor, target: Tensor, loss: nn.Module) -> Tensor:
    """Return targets (B,) or (B, 1) as (B,).

    Raises:
        ValueError: If the targets have another shape; see :func:`check_target`.
    """
    if target.ndim == 2 and target.shape[1] == 1:
        target = target[:, 0]
    check_target(outputs, target, loss)
    return target


def check_columns(outputs: Tensor, expected: int, what: str, loss: nn.Module) -> None:
    """Refuse outputs with other columns than the loss was made for."""
    if outputs.ndim != 2 or outputs.shape[1] != expected:
        raise ValueError(
            f"{type(loss).__name__} takes {what}, (B, {expected}), but got outputs of shape "
            f"{tuple(outputs.shape)}: build the network's heads from the loss "
            "(heads_config = loss.outputs(parameter))."
        )


def check_choice(key: str, value: str, allowed: Collection[str]) -> None:
    """Refuse a word that is not allowed, and list those that are."""
    if value not in allowed:
        raise ValueError(f"{key} is {value!r}; allowed are {', '.join(allowed)}.")


def check_positive(key: str, value: Real) -> None:
    """Refuse what is not positive and finite."""
    if not 0 < value < float("inf"):
        raise ValueError(f"{key} is {value}; it has to be positive and finite.")


def check_at_least(key: str, value: Real, least: Real) -> None:
    """Refuse what is below a bound or not finite."""
    if not least <= value < float("inf"):
        raise ValueError(f"{key} is {value}; it has to be {least} or more, and finite.")


def expected_class(probabilities: Float[Tensor, "B K"]) -> Float[Tensor, " B"]:
    """Compute the expectation ``Σ_k k · p_k`` of the class index.

    Example:
        >>> expected_class(torch.tensor([[0.25, 0.5, 0.25], [0.0, 0.0, 1.0]]))
        tensor([1., 2.])
    """
    columns, like = probabilities.shape[1], full_precision(probabilities)
    return (like * torch.arange(columns, device=like.device, dtype=like.dtype)).sum(dim=1)


def deviation(
    shares: Float[Tensor, "B K"], places: Float[Tensor, " K"], least: float
) -> Float[Tensor, " B"]:
    """Compute the standard deviation of distributions over places, and `least` beside it.

    ``√(Σ_k p_k (x_k − Σ_j p_j x_j)² + least²)``

    Example:
        >>> deviation(torch.tensor([[0.5, 0.5], [0.0, 1.0]]), torch.tensor([0.0, 0.8]), 0.3)
        tensor([0.5000, 0.3000])
    """
    mean = (shares * places).sum(dim=1, keepdim=True)
    return ((shares * (places - mean).square()).sum(dim=1) + least**2).sqrt()


def class_values(index: Tensor, parameter: Parameter) -> Float[Tensor, " B"]:
    """Convert class indices, also fractional ones, to values in units, clipped to min...max."""
    values: Tensor = parameter.codec.value_of_class(index.float())
    return values.clamp(parameter.min, parameter.max)


def derive_loss_weights(
    parameters: Collection[Parameter] | Mapping[str, Parameter],
) -> dict[str, float]:
    """Derive loss weights by head: in proportion to the JND steps ``(max - min) / step``.

    A head with many steps has to be known more exactly than one with few, relative to its range.
    The largest weight is 1; heads without a step get 1.

    Example:
        >>> velocity = Parameter("note_velocity", 126.0, 127.0, 0.5)
        >>> decay = Parameter("log10_decay_time", -2.0, 0.0, 0.1)
        >>> derive_loss_weights([velocity, decay])
        {'note_velocity': 0.1, 'log10_decay_time': 1.0}
    """
    all_of = parameters.values() if isinstance(parameters, Mapping) else parameters
    stepped = {p.name: p.num_steps for p in all_of if p.has_jnd}
    most = max(stepped.values(), default=1.0)
    return {p.name: stepped.get(p.name, most) / most for p in all_of}
