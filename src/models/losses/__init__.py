"""Losses of heads, and how the output of a head trained with one becomes a parameter value.

A loss is a pure function under a thin :class:`HeadLoss`, which adds what the function cannot say:
how many outputs the head has, which labels it wants, and the decoding. See
``docs/vimh_loss_functions.md`` for which to choose.
"""

from torch import nn

from src.models.losses.base import (
    ClassLoss,
    HeadLoss,
    ValueLoss,
    derive_loss_weights,
)
from src.models.losses.classification import (
    CrossEntropyHead,
    SoftTargetLoss,
    WeightedCrossEntropyLoss,
)
from src.models.losses.histogram import HLGaussLoss
from src.models.losses.index import IndexLoss
from src.models.losses.jnd import JNDLoss
from src.models.losses.ordinal import (
    CORNLoss,
    EMDLoss,
    OrdinalRegressionLoss,
    QuantizedRegressionLoss,
)
from src.models.losses.regression import (
    DirectParameterGradientLoss,
    DirectRegressionLoss,
    NormalizedRegressionLoss,
)
from src.models.losses.uncertainty import BetaNLLLoss
from src.vimh.parameters import Parameter


def head_loss(criterion: nn.Module, parameter: Parameter) -> HeadLoss:
    """Make the loss of a head: a :class:`HeadLoss` as it is, a plain cross-entropy in its adapter.

    Raises:
        ValueError: If the loss does not fit the parameter, or is of another kind.

    Example:
        >>> velocity = Parameter("note_velocity", 126.0, 127.0, 0.5)
        >>> head_loss(nn.CrossEntropyLoss(), velocity).outputs(velocity)
        3
    """
    if isinstance(criterion, nn.CrossEntropyLoss):
        criterion = CrossEntropyHead(criterion, parameter)
    if not isinstance(criterion, HeadLoss):
        raise ValueError(
            f"{type(criterion).__name__} cannot be the loss of head {parameter.name!r}: use "
            "torch.nn.CrossEntropyLoss or a class of src.models.losses (configs/loss lists them)."
        )
    if not criterion.gives_scalar:
        raise ValueError(
            f"{type(criterion).__name__} of head {parameter.name!r} has reduction 'none', a loss "
            "for each sample; training needs a single number: choose mean or sum."
        )
    criterion.check_fits(parameter)
    return criterion


__all__ = [
    "BetaNLLLoss",
    "CORNLoss",
    "ClassLoss",
    "CrossEntropyHead",
    "DirectParameterGradientLoss",
    "DirectRegressionLoss",
    "EMDLoss",
    "HLGaussLoss",
    "HeadLoss",
    "IndexLoss",
    "JNDLoss",
    "NormalizedRegressionLoss",
    "OrdinalRegressionLoss",
    "QuantizedRegressionLoss",
    "SoftTargetLoss",
    "ValueLoss",
    "WeightedCrossEntropyLoss",
    "derive_loss_weights",
    "head_loss",
]
