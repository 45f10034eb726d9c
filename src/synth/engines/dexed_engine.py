"""The engine of `synth=dexed`; its package is imported in the worker's process alone."""

from collections.abc import Mapping
from importlib.metadata import version

import numpy as np
from jaxtyping import Float32

from src.synth.engines.control import Control
from src.synth.engines.engine import Engine
from src.synth.engines.midi import Note

_OPERATORS = 6
_CURVES = ("-linear", "-exponential", "+exponential", "+linear")
_SWITCH = ("off", "on")
# One byte each, in the order of the DX7's single voice dump (VCED): largest value, or classes.
_OF_OPERATOR: dict[str, int | tuple[str, ...]] = {
    **{f"rate_{k}": 99 for k in (1, 2, 3, 4)},
    **{f"level_{k}": 99 for k in (1, 2, 3, 4)},
    "break_point": 99,
    "left_depth": 99,
    "right_depth": 99,
    "left_curve": _CURVES,
    "right_curve": _CURVES,
    "rate_scaling": 7,
    "amplitude_modulation": 3,
    "key_velocity": 7,
    "output_level": 99,
    "mode": ("ratio", "fixed"),
    "coarse": 31,
    "fine": 99,
    "detune": 14,
}
_OF_VOICE: dict[str, int | tuple[str, ...]] = {
    **{f"pitch_rate_{k}": 99 for k in (1, 2, 3, 4)},
    **{f"pitch_level_{k}": 99 for k in (1, 2, 3, 4)},
    "algorithm": tuple(str(k) for k in range(1, 33)),
    "feedback": 7,
    "oscillator_sync": _SWITCH,
    "lfo_speed": 99,
    "lfo_delay": 99,
    "lfo_pitch_depth": 99,
    "lfo_amplitude_depth": 99,
    "lfo_sync": _SWITCH,
    "lfo_wave": ("triangle", "saw down", "saw up", "square", "sine", "sample and hold"),
    "pitch_modulation": 7,
    "transpose": 48,
}
# The dump begins with the last operator.
_BYTES = {
    **{f"op{n}_{k}": v for n in range(_OPERATORS, 0, -1) for k, v in _OF_OPERATOR.items()},
    **_OF_VOICE,
}
_PLACES = {name: place for place, name in enumerate(_BYTES)}
_NAME = b"INIT VOICE"


class DexedEngine(Engine):
    """The DX7's initial voice with some of its 145 numbers set.

    The DX7 has whole numbers: a value is rounded before it is played. The algorithm, the curves,
    the LFO's wave and the switches are classes.

    Args:
        sample_rate_hz: samples a second.
        note: what is played.
    """

    def __init__(self, sample_rate_hz: int, note: Mapping[str, float] | None = None) -> None:
        import dexed

        self._rate_hz = sample_rate_hz
        self._note = Note(**(note or {}))
        self._patch = dexed.Patch
        self._new = dexed.DexedSynth
        self._synth = dexed.DexedSynth(sample_rate_hz)
        self._initial = bytes(dexed.Patch().to_sysex())[: len(_BYTES)]

    def version(self) -> str:
        """Return the version of dexed-py."""
        return version("dexed-py")

    def controls(self) -> tuple[Control, ...]:
        """Return the note and the DX7's numbers."""
        own = (
            Control(
                *(name, 0.0, float(most if isinstance(most, int) else len(most) - 1)),
                default=float(default),
                class_names=() if isinstance(most, int) else most,
                description=f"{name.replace('_', ' ')}, a whole number of the DX7's voice",
            )
            for (name, most), default in zip(_BYTES.items(), self._initial, strict=True)
        )
        return (*self._note.controls, *own)

    def clear(self) -> None:
        """Take a new synthesiser: its LFO and oscillators run on otherwise."""
        self._synth = self._new(self._rate_hz)

    def render(
        self, values: Mapping[str, float], num_samples: int
    ) -> Float32[np.ndarray, "{num_samples}"]:
        """Render a note; see :meth:`Engine.render`."""
        voice = bytearray(self._initial)
        for name, value in self._note.others(values).items():
            voice[_PLACES[name]] = round(value)
        self._synth.load_patch(self._patch.from_sysex(bytes(voice) + _NAME))
        number, velocity = self._note.played(values)
        length_s = (num_samples + 1) / self._rate_hz
        sound = self._synth.render(number, velocity, self._note.hold_s, length_s)
        return np.asarray(sound[:num_samples], np.float32)
