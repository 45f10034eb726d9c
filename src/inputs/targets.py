"""From a normalised value to what a head's loss wants of it: a class, a distribution, itself."""

from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from src.utils.errors import ConfigError
from src.vimh.parameters import MAX_BYTE, Parameter

TargetKind = Literal["index", "distribution", "value"]
TARGET_KINDS: tuple[TargetKind, ...] = ("index", "distribution", "value")
# Devices that cannot hold float64; figures there are float32.
WITHOUT_FLOAT64 = {"mps"}
# How far, in bytes, float32 may take a stored byte from a whole number (255 · 2⁻²⁴, with room).
_NEAR = 1e-4


def widest_float(device: torch.device) -> torch.dtype:
    """float64, or float32 where the device has no float64.

    The slack of one millionth of a step that :meth:`Parameter.tolerance` grants is less than the
    rounding of a float32 once the range holds more than some tens of steps.
    """
    return torch.float32 if device.type in WITHOUT_FLOAT64 else torch.float64


def exact(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Normalised values in the widest floats; those that are stored bytes are `q/255` in these.

    Without that, the rounding of a float32 would decide the class of a value between two, and
    whether an error is one step.

    Example:
        >>> exact(torch.tensor([51 / 255, 0.30001])).tolist()
        [0.2, 0.30000999569892883]
    """
    wide = values.to(widest_float(values.device))
    whole = (wide * MAX_BYTE).round() / MAX_BYTE
    return torch.where((wide - whole).abs() < _NEAR / MAX_BYTE, whole, wide)


def class_indices(values: Float[Tensor, " B"], parameter: Parameter) -> Int64[Tensor, " B"]:
    """The class of each normalised value, as :meth:`Parameter.class_of` has it.

    Example:
        >>> half = Parameter("note_velocity", min=126.0, max=127.0, step=0.5)
        >>> class_indices(torch.tensor([0.0, 128 / 255]), half)
        tensor([0, 1])
    """
    codec = parameter.codec
    index: Tensor = codec.class_of(codec.denormalise(exact(values)))
    return index.long()


def soft_targets(
    own: Int64[Tensor, " B"], num_classes: int, width: float
) -> Float[Tensor, "B {num_classes}"]:
    """Distributions over classes around each sample's own.

    `exp(-(k - k0)²/(2 width²))`, normalised to sum 1, with k0 the own class.

    Args:
        own: the samples' classes.
        num_classes: K, in an order.
        width: standard deviation in classes, positive.

    Example:
        >>> soft_targets(torch.tensor([0]), 3, 0.5).round(decimals=3)
        tensor([[0.8810, 0.1190, 0.0000]])
    """
    classes = torch.arange(num_classes, device=own.device)
    far = (classes - own.unsqueeze(1)).to(widest_float(own.device))
    return torch.softmax(-(far**2) / (2 * width**2), dim=1).float()


def targets(
    values: Float[Tensor, " B"], parameter: Parameter, kind: TargetKind, width: float = 0.0
) -> Tensor:
    """What a loss wants of the values.

    Args:
        values: normalised to 0…1.
        parameter: what they are of.
        kind: as :func:`target_kind` gives it.
        width: standard deviation of distributions, in classes.

    Returns:
        int64 (B,) classes, float32 (B, K) distributions, or the values.
    """
    match kind:
        case "value":
            return values
        case "index":
            return class_indices(values, parameter)
        case "distribution":
            return soft_targets(class_indices(values, parameter), parameter.num_classes, width)


def target_kind(parameter: Parameter, asked: str, width: float | int) -> TargetKind:
    """What a head gets that asks for a kind.

    A loss that takes class indices gets distributions where `width` is positive; classes without
    an order keep their index.

    Raises:
        ConfigError: An unknown kind, or one that `width` contradicts.
    """
    match asked:
        case "value":
            return "value"
        case "index":
            return "distribution" if width > 0 and not parameter.is_categorical else "index"
        case "distribution" if parameter.is_categorical:
            raise ConfigError(
                f"head {parameter.name!r} is categorical: its classes have no order, so there is "
                "no soft target for it; choose another loss"
            )
        case "distribution" if width <= 0:
            raise ConfigError(
                f"head {parameter.name!r} wants soft targets, but data.target_width is {width:g}: "
                "set it to their width in classes, for example 1.0"
            )
        case "distribution":
            return "distribution"
    raise ConfigError(
        f"target_kinds: head {parameter.name!r} has {asked!r}; expected one of "
        f"{', '.join(TARGET_KINDS)}"
    )
