"""A control of an engine: what it may be set to, and where it stands by default."""

from dataclasses import dataclass

from src.vimh.codec import Spacing


@dataclass(frozen=True)
class Control:
    """A slider, a knob or a menu.

    Attributes:
        name: A key of `synth.parameters`: letters, digits and _.
        min: The smallest value, in `unit`.
        max: The largest; of a menu the number of classes minus 1.
        default: Where it stands if nobody sets it; of a menu the index of a class. None: what
            lists it does not know.
        unit: Such as "Hz".
        spacing: How the values between `min` and `max` are spread.
        class_names: What a menu offers; empty: no menu.
        step: The just-noticeable difference, where the engine says it. A slider's own step is none.
        description: A sentence for people.
        of_note: Whether it is a note's pitch or velocity, which varies only where a config says so.
    """

    name: str
    min: float
    max: float
    default: float | None
    unit: str = ""
    spacing: Spacing = "linear"
    class_names: tuple[str, ...] = ()
    step: float | None = None
    description: str = ""
    of_note: bool = False
