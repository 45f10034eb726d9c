"""The note that an engine with a keyboard plays."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, TypedDict

from annotated_types import Interval

from src.schema.bounds import Real
from src.synth.engines.control import Control


class MidiNote(TypedDict, total=False):
    """The config's `note`.

    `number` (0…127, 69 is 440 Hz) and `velocity` (1…127) are what the controls `note_number` and
    `note_velocity` are set to where a recipe does not name them; the key is held for `hold_s`.
    """

    number: Annotated[Real, Interval(ge=0, le=127)]
    velocity: Annotated[Real, Interval(ge=1, le=127)]
    hold_s: Annotated[Real, Interval(gt=0, le=3600)]


@dataclass(frozen=True)
class Note:
    """A key that is pressed and let go."""

    number: float = 60.0
    velocity: float = 100.0
    hold_s: float = 0.5

    @property
    def controls(self) -> tuple[Control, Control]:
        """Pitch and velocity as controls, whole numbers."""
        return (
            Control(
                *("note_number", 0.0, 127.0, self.number, "semitones"),
                description="pitch, MIDI note number (69 is 440 Hz), a whole number",
                of_note=True,
            ),
            Control(
                *("note_velocity", 1.0, 127.0, self.velocity, "MIDI"),
                description="MIDI velocity, a whole number",
                of_note=True,
            ),
        )

    def others(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the values of all other controls."""
        own = {control.name for control in self.controls}
        return {name: value for name, value in values.items() if name not in own}

    def played(self, values: Mapping[str, float]) -> tuple[int, int]:
        """Return the note number and velocity that values ask for, rounded."""
        number = round(values.get("note_number", self.number))
        return number, round(values.get("note_velocity", self.velocity))
