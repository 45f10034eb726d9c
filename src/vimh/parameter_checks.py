"""What a parameter's range, step and classes have to be: to be read, to be generated, as a grid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from src.vimh.errors import ParameterError, VIMHError
from src.vimh.plain import shown

if TYPE_CHECKING:
    from src.vimh.parameters import Parameter

MAX_BYTE = 255
MAX_NUMBER = 1e200  # of a range or a step: their products and squares are finite
LEAST_LOG = 1e-30  # of a range in ratios: float32 holds it, and its reciprocal
# A class index must be exact in float32, and a hostile step must not make a huge table.
MAX_CLASSES = 2**24
WHOLE = 1e-6  # of a step: so far a number of steps may be from a whole one


def wrong(p: Parameter, key: str, what: str, found: object) -> VIMHError:
    """Return the error of a key that does not fit, in words."""
    return ParameterError(p.name, key, what, shown(found))


def check_range(p: Parameter) -> None:
    """Refuse a range that is upside down, or whose 255 values float64 cannot tell apart."""
    if p.min > p.max:
        raise wrong(p, "min", f"must not exceed 'max' ({p.max:g})", p.min)
    largest = max(abs(p.min), abs(p.max))
    if largest > MAX_NUMBER:
        too_far = f"is too far from 'min', or either beyond {MAX_NUMBER:g}"
        raise wrong(p, "max", too_far, p.max)
    # 255 steps of the range must be different numbers, or a stored byte says nothing
    if not p.is_fixed and p.range < max(2048 * math.ulp(largest), 1 / MAX_NUMBER):
        raise wrong(p, "max", "is too close to 'min' for 255 values between them", p.max)
    if p.spacing == "log" and p.is_categorical:
        raise wrong(p, "spacing", "must be linear, or left out, of classes without an order", "log")
    if p.is_log and (p.min < LEAST_LOG or p.max > 1 / LEAST_LOG):
        key, value = ("min", p.min) if p.min < LEAST_LOG else ("max", p.max)
        reach = f"{LEAST_LOG:g} to {1 / LEAST_LOG:g}"
        raise wrong(p, key, f"must be positive ({reach}) where 'spacing' is log", value)


def check_step(p: Parameter, step: float) -> None:
    """Refuse a step that is negative, or so small that there are too many classes."""
    if step < 0:
        raise wrong(p, "step", "must not be negative", step)
    largest = 0.0 if p.is_log else max(abs(p.min), abs(p.max)) / step
    if not math.isfinite(largest) or p.num_steps >= MAX_CLASSES:
        raise wrong(p, "step", f"is too small, it makes more than {MAX_CLASSES} steps", step)


def check_classes(p: Parameter) -> None:
    """Refuse classes of what has none, and categories without names."""
    names = p.class_names
    if p.is_categorical and not 1 <= len(names) <= MAX_BYTE + 1:
        what = "of a categorical parameter must hold 1 to 256 names"
        raise wrong(p, "class_names", what, len(names))
    if not p.is_categorical and names:
        raise wrong(p, "class_names", "needs kind 'categorical'", names)


def check_generatable(p: Parameter) -> None:
    """Check what :meth:`Parameter.check_generatable` says."""
    if p.is_categorical and p.is_fixed and p.min not in range(p.num_classes):
        raise wrong(p, "min", f"must be a class, 0 to {p.num_classes - 1}", p.min)
    if p.is_fixed or not p.has_jnd:
        return
    step = required_step(p, "here")
    if p.num_steps < 1 / (1 + WHOLE):
        largest = p.max / p.min - 1 if p.is_log else p.range
        what = "max/min − 1" if p.is_log else "max - min"
        raise wrong(p, "step", f"must be at most {what}, {largest:g}", step)
    if not p.is_log:
        for key, what, value in (("min", "", p.min), ("max", "minus 'min' ", p.range)):
            if not _is_whole(value / step):
                raise wrong(p, key, f"{what}must be a whole multiple of step {step:g}", value)


def check_storable(p: Parameter) -> None:
    """Check what :meth:`Parameter.check_storable` says."""
    if p.has_jnd and not p.is_fixed and p.num_steps > MAX_BYTE / 2 * (1 + 1e-9):
        least = f"{_step_of(p, MAX_BYTE / 2):g}"
        raise wrong(p, "step", f"must be at least {least} where there are only bytes", p.step)


def check_grid(p: Parameter) -> None:
    """Refuse a range that is not made of whole steps, or without a step."""
    step = required_step(p, "for a complete grid")
    if not _is_whole(p.num_steps):
        nearest = _step_of(p, max(1, round(p.num_steps)))
        what = "must divide the range into whole steps for a complete grid: the nearest that does"
        raise wrong(p, "step", f"{what} is {nearest:.12g}", step)


def required_step(p: Parameter, where: str) -> float:
    """Return the step; an error says where it is needed."""
    if p.step is None or p.is_categorical:
        raise wrong(p, "step", f"is needed {where} and must be positive", p.step)
    return p.step


def _is_whole(steps: float) -> bool:
    return abs(steps - round(steps)) <= WHOLE


def _step_of(p: Parameter, steps: float) -> float:
    """Return the step that makes so many of the range."""
    return math.expm1(math.log(p.max / p.min) / steps) if p.is_log else p.range / steps
