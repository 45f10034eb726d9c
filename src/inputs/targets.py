"""Targets of losses, made of normalised values: classes, distributions or the values."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from src.utils.errors import ConfigError
from src.vimh.codec import Codec
from src.vimh.parameters import MAX_BYTE, Parameter

TargetKind = Literal["index", "distribution", "value"]
TARGET_KINDS: tuple[TargetKind, ...] = ("index", "distribution", "value")
# Devices that cannot hold float64; figures there are float32.
WITHOUT_FLOAT64 = {"mps"}
# How far, in bytes, float32 may take a stored byte from a whole number (255 · 2⁻²⁴, with room).
_NEAR = 1e-4
_FLOAT32_ROUNDING = 2.0**-22  # relative, with room for a device that multiplies by 1/255


def widest_float(device: torch.device) -> torch.dtype:
    """Return float64, or float32 if the device has no float64.

    :meth:`Parameter.tolerance` allows one millionth of a step; float32 rounds more coarsely once
    the range holds more than some tens of steps.
    """
    return torch.float32 if device.type in WITHOUT_FLOAT64 else torch.float64


def widened(
    values: Float[Tensor, "*shape"], parameters: Iterable[Parameter]
) -> Float[Tensor, "*shape"]:
    """Widen normalised values; stored bytes become exactly `q/255`.

    Otherwise the rounding of a float32 would decide the class of a value between two classes, and
    whether an error is one step. `exact` values stay as they are.

    Example:
        >>> decay = Parameter("decay", 0.0, 1.0)
        >>> widened(torch.tensor([51 / 255, 0.30001]), [decay]).tolist()
        [0.2, 0.30000999569892883]
    """
    wide = values.to(widest_float(values.device))
    if any(parameter.exact for parameter in parameters):
        return wide
    whole = (wide * MAX_BYTE).round() / MAX_BYTE
    return torch.where((wide - whole).abs() < _NEAR / MAX_BYTE, whole, wide)


def soft_targets(
    own: Int64[Tensor, " B"], num_classes: int, width: float
) -> Float[Tensor, "B {num_classes}"]:
    """Make distributions over classes around each sample's own class.

    `exp(-(k - k0)²/(2 width²))`, normalised to sum 1, with k0 the own class of K ordered ones, and
    width in classes.

    Example:
        >>> soft_targets(torch.tensor([0]), 3, 0.5).round(decimals=3)
        tensor([[0.8810, 0.1190, 0.0000]])
    """
    classes = torch.arange(num_classes, device=own.device)
    far = (classes - own.unsqueeze(1)).to(widest_float(own.device))
    return torch.softmax(-(far**2) / (2 * width**2), dim=1).float()


class Target(NamedTuple):
    """What a loss wants of a parameter's values."""

    parameter: Parameter
    kind: TargetKind  # as `target_kind` gives it
    width: float = 0.0  # standard deviation of distributions, in classes


class DeviceCodec:
    """A codec of columns as tensors, in the widest floats, made once for each device."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._made: dict[torch.device, Codec] = {}

    def on(self, device: torch.device) -> Codec:
        """Return the codec on a device."""
        if device not in self._made:
            with torch.inference_mode(False):  # training goes on with what validation made
                self._made[device] = self._codec.each(
                    partial(torch.as_tensor, dtype=widest_float(device), device=device)
                )
        return self._made[device]


class TargetMaker:
    """Makes the targets of several losses, one for each column of the values, all classes at once.

    Example:
        >>> decay = Parameter("log10_decay_time", min=-2.0, max=0.0, step=0.1)
        >>> make = TargetMaker([Target(decay, "index"), Target(decay, "value")])
        >>> make(torch.tensor([[0.5, 0.5], [1.0, 1.0]]))
        [tensor([10, 20]), tensor([0.5000, 1.0000])]
    """

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = tuple(targets)
        self._coded = [k for k, target in enumerate(targets) if target.kind != "value"]
        codec = Codec.stack([targets[k].parameter.codec for k in self._coded])
        self._codec = DeviceCodec(codec.each(lambda column: column[:, None]))
        # Six of the sixteen tensor operations are left out where rounding decides no byte's class.
        self._rounding_matters = _decides_a_class(codec)

    def __call__(self, values: Float[Tensor, "B P"]) -> list[Tensor]:
        """Make the targets of a batch of values normalised to 0…1.

        Returns:
            For each column int64 (B,) classes, float32 (B, K) distributions, or the values (B,).
        """
        made = list(values.unbind(1))
        if not self._coded:
            return made
        rows = torch.stack([made[k] for k in self._coded])
        if self._rounding_matters:
            wide = widened(rows, (target.parameter for target in self._targets))
        else:
            wide = rows.to(widest_float(rows.device))
        codec = self._codec.on(rows.device)
        classes = codec.class_at(wide).long()
        for k, own in zip(self._coded, classes, strict=True):
            parameter, kind, width = self._targets[k]
            soft = kind == "distribution"
            made[k] = soft_targets(own, parameter.num_classes, width) if soft else own
        return made


def _decides_a_class(codec: Codec) -> bool:
    """Return whether the rounding of float32 moves a stored byte into another class.

    The class rises with the value, so that looking a little below and above each byte is enough.
    """
    exactly = np.arange(MAX_BYTE + 1)[:, None] / MAX_BYTE
    near = (exactly * factor for factor in (1 - _FLOAT32_ROUNDING, 1, 1 + _FLOAT32_ROUNDING))
    below, there, above = (codec.class_at(x) for x in near)
    return bool((below != there).any() or (above != there).any())


def target_kind(parameter: Parameter, asked: str, width: float | int) -> TargetKind:
    """Choose the kind of target for a head whose loss asks for a kind.

    A loss that takes class indices gets distributions if `width` is positive; classes without an
    order keep their index.

    Raises:
        ConfigError: The kind is unknown, or `width` or the parameter contradicts it.
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
