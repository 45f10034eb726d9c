"""The engine of `synth=vital`; its package is imported in the worker's process alone."""

from collections.abc import Mapping
from importlib.metadata import version

import numpy as np
from jaxtyping import Float32

from src.synth.engines.control import Control
from src.synth.engines.engine import Engine
from src.synth.engines.midi import Note

_TEMPO_BPM = 120.0
_ROOM_S = 0.05  # rendered beyond what is wanted
# What a control's own axis is, where its display is something else.
_AXES = {
    "Quadratic": "the square root of what Vital shows",
    "Cubic": "the cube root of what Vital shows",
    "Quartic": "the fourth root of what Vital shows",
    "SquareRoot": "the square of what Vital shows",
    "Exponential": "the base-2 logarithm of what Vital shows",
}


class VitalEngine(Engine):
    """Vital's initial patch with some controls set.

    Controls have the values of Vital's own axes, evenly spread where its knobs are: an envelope's
    attack is the fourth root of seconds. Switches and menus are classes.

    Args:
        sample_rate_hz: samples a second.
        note: what is played.
    """

    def __init__(self, sample_rate_hz: int, note: Mapping[str, float] | None = None) -> None:
        import vita

        self._rate_hz = sample_rate_hz
        self._note = Note(**(note or {}))
        self._synth = vita.Synth()
        self._synth.set_sample_rate(sample_rate_hz)
        self._synth.set_bpm(_TEMPO_BPM)
        self.clear()

    def version(self) -> str:
        """Return the version of vita."""
        return version("vita")

    def controls(self) -> tuple[Control, ...]:
        """Return the note and Vital's controls."""
        own = self._synth.get_controls()
        return (*self._note.controls, *(self._control(name, own[name].value()) for name in own))

    def _control(self, name: str, default: float) -> Control:
        about = self._synth.get_control_details(name)
        scale = str(about.scale).rpartition(".")[2]
        is_linear = scale == "Linear" and about.display_multiply == 1.0
        axis = f" ({_AXES[scale]}, {about.display_units.strip()})" if scale in _AXES else ""
        is_menu = bool(about.options) and about.is_discrete
        return Control(
            *(name, about.min, about.max, default),
            unit=about.display_units.strip() if is_linear else "",
            class_names=_different(about.options) if is_menu else (),
            description=f"{about.display_name}{axis}",
        )

    def clear(self) -> None:
        """Load the initial patch."""
        self._synth.load_init_preset()

    def render(
        self, values: Mapping[str, float], num_samples: int
    ) -> Float32[np.ndarray, "{num_samples}"]:
        """Render a note; see :meth:`Engine.render`."""
        controls = self._synth.get_controls()
        for name, value in self._note.others(values).items():
            controls[name].set(value)
        number, velocity = self._note.played(values)
        hold_s = self._note.hold_s  # vita fades out a note that is still held at the end
        length_s = max(num_samples / self._rate_hz, hold_s) + _ROOM_S
        stereo = self._synth.render(number, velocity / 127.0, hold_s, length_s)
        return stereo[:, :num_samples].mean(axis=0, dtype=np.float32)


def _different(names: list[str]) -> tuple[str, ...]:
    """Return names of which no two are the same."""
    return tuple(n if names.count(n) == 1 else f"{n} {k}" for k, n in enumerate(names))
