"""A head as an object: its parameter, its loss, its decoding."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

from src.inputs.targets import Target, TargetMaker, target_kind
from src.models.losses import HeadLoss
from src.vimh.parameters import Parameter


class ParameterHead(nn.Module):
    """One parameter in the module: how it is learnt and how it is read back.

    Everything that depends on the loss is asked of the loss; the head adds the weight in the
    total loss and the margin of sigmoid outputs. A sigmoid reaches 0 and 1 only in the limit,
    where the lowest and the highest class lie; a margin ``m`` spreads it to
    ``y * (1 + 2m) - m``, so that both ends are ordinary outputs.

    Args:
        parameter: What is read; its range, step and kind.
        loss: The loss of this head alone (losses may hold buffers that fit one parameter).
        weight: The factor of this head's loss in the total loss.
        margin: The spread ``m`` of a sigmoid output; 0 leaves it as it is. Heads without a
            sigmoid have no use for it and ignore it.
        in_units: Whether the network's sigmoid output comes in the parameter's unit (its
            ``parameter_ranges``). The loss and the margin see it in 0...1 all the same, so that
            learning does not depend on it.
        target_width: Standard deviation of soft targets, in classes; 0: none.

    Raises:
        ValueError: If the weight is not positive and finite or the margin is negative.
    """

    def __init__(
        self,
        parameter: Parameter,
        loss: HeadLoss,
        weight: float | int = 1.0,
        margin: float | int = 0.0,
        in_units: bool = False,
        target_width: float | int = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= weight < float("inf"):
            raise ValueError(
                f"The loss weight of head {parameter.name!r} is {weight}; it has to be 0 or more."
            )
        if not 0 <= margin < 1:
            raise ValueError(f"head_margin is {margin}; it has to be in 0...1 (0.05 is usual).")
        self.parameter = parameter
        self.loss = loss
        self.weight = float(weight)
        self.margin = float(margin) if loss.activation == "sigmoid" else 0.0
        self.in_units = in_units
        self.target_width = float(target_width)
        self.codec = parameter.codec

    @property
    def num_outputs(self) -> int:
        """Return how many columns the network has to give this head."""
        return self.loss.outputs(self.parameter)

    def forward(self, outputs: Float[Tensor, "B K"], target: Tensor) -> Float[Tensor, ""]:
        """Compute the weighted loss.

        Args:
            outputs: The network's output for this head.
            target: Class indices (B,), distributions (B, K) or normalised values (B,),
                whichever ``loss.target`` asks for.
        """
        loss = self.loss(self._for_loss(outputs), target)
        return loss if self.weight == 1.0 else self.weight * loss

    @cached_property
    def wanted(self) -> Target:
        """What the loss wants of the parameter's values.

        Raises:
            ConfigError: If it wants distributions, and there are none of this parameter.
        """
        kind = target_kind(self.parameter, self.loss.target, self.target_width)
        return Target(self.parameter, kind, self.target_width)

    def judge(self, *, exact: bool) -> None:
        """Say whether the values that come are exact, or those of bytes."""
        self.parameter = replace(self.parameter, exact=exact)
        self.__dict__.pop("wanted", None)

    def target(self, values: Float[Tensor, " B"]) -> Tensor:
        """Make what the loss wants of values normalised to 0...1.

        Raises:
            ConfigError: As :attr:`wanted`.
        """
        (made,) = TargetMaker([self.wanted])(values[:, None])
        return made

    @torch.no_grad()
    def decode(self, outputs: Float[Tensor, "B K"]) -> Float[Tensor, " B"]:
        """Return the parameter's value in its own unit, within its range."""
        return self.loss.decode(self._for_loss(outputs), self.parameter)

    @torch.no_grad()
    def values_of(self, labels: Tensor) -> Float[Tensor, " B"]:
        """Return the labels in the parameter's unit: the centre of the class, or the value.

        Only for batches that bring no values of their own (plain pairs and triples).

        Args:
            labels: Class indices (B,), distributions (B, K) or normalised values (B,).
        """
        if labels.ndim == 2:
            labels = labels.argmax(dim=1)
        is_value = labels.is_floating_point()
        decode = self.codec.denormalise if is_value else self.codec.value_of_class
        values: Tensor = decode(labels.float())
        return values

    def extra_repr(self) -> str:
        """Show the parameter and the weight in the printed module."""
        return f"{self.parameter.name}, weight={self.weight:g}, margin={self.margin:g}"

    def _for_loss(self, outputs: Tensor) -> Tensor:
        """Normalise the outputs to 0...1 and spread them, as the loss takes them."""
        if self.in_units:
            outputs = self.codec.normalise(outputs)
        if self.margin == 0.0:
            return outputs
        return outputs * (1 + 2 * self.margin) - self.margin
