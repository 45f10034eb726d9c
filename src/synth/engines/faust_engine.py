"""Faust programs (https://faust.grame.fr), by the package cyfaust."""

import io
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np
from jaxtyping import Float32

from src.schema.bounds import Seconds
from src.synth.engines.control import Control
from src.synth.engines.engine import Engine, EngineError
from src.synth.engines.faust_panel import Range, read_panel

Input = Literal["impulse", "noise", "silence"]


class Note(TypedDict, total=False):
    """What is played."""

    hold_s: Seconds | None


class FaustEngine(Engine):
    """One voice of a Faust program, in single precision.

    Faust compiles it for its interpreter, or for the processor where cyfaust was built with LLVM.

    Args:
        sample_rate_hz: samples a second.
        dsp: the program's path. It may import what lies beside it.
        note: `hold_s`: how long the gate, or what is pressed in its place, is held; None: to the
            end.
        input: what every input of a program gets: "impulse" (a single 1), "noise" (white, from
            −0.5 to 0.5, the same for every sound) or "silence".

    Raises:
        EngineError: if it does not compile, in Faust's words, or has a control that cannot be read.
    """

    def __init__(
        self,
        *,
        sample_rate_hz: int,
        dsp: str,
        note: Note | None = None,
        input: Input = "impulse",
    ) -> None:
        program = _compiled(dsp)
        self._version = program.version
        self._rate_hz = sample_rate_hz
        self._writes_tables = program.writes_tables
        self._factory = program.factory  # while it lives, so does what it made
        self._dsp = self._factory.create_dsp_instance()
        self._dsp.init(sample_rate_hz)
        ranges = {
            p.path: Range(*map(_shortest, (p.init, p.min, p.max))) for p in self._dsp.params()
        }
        # Not strict: a tooltip may run over several lines.
        panel = read_panel(json.loads(self._factory.get_json(), strict=False)["ui"], ranges)
        self._slots = {slot.control.name: slot for slot in panel.slots}
        self._pressed = panel.pressed
        hold_s = (note or {}).get("hold_s")
        self._held = None if hold_s is None else round(hold_s * sample_rate_hz)
        self._input = input

    def version(self) -> str:
        """Return Faust's version, and LLVM's where it compiles."""
        return self._version

    def controls(self) -> Sequence[Control]:
        """Return sliders, number boxes, menus and check boxes."""
        return [slot.control for slot in self._slots.values()]

    def clear(self) -> None:
        """Empty delays and filters, and start noise and oscillators anew."""
        if self._writes_tables:
            self._dsp.instance_init(self._rate_hz)
        else:
            self._dsp.instance_clear()

    def render(
        self, values: Mapping[str, float], num_samples: int
    ) -> Float32[np.ndarray, "{num_samples}"]:
        """Render a sound; see :meth:`Engine.render`."""
        self._dsp.instance_reset_user_interface()
        for name, value in values.items():
            slot = self._slots[name]
            self._dsp.set_param(slot.path, slot.values[round(value)] if slot.values else value)
        inputs = self._excitation(num_samples)
        sound = np.empty(num_samples, np.float32)
        held = num_samples if self._held is None else min(self._held, num_samples)
        for start, stop, is_pressed in ((0, held, 1.0), (held, num_samples, 0.0)):
            if start == stop:
                continue
            for path in self._pressed:
                self._dsp.set_param(path, is_pressed)
            outputs = np.empty((self._dsp.get_numoutputs(), stop - start), np.float32)
            self._dsp.compute(stop - start, np.ascontiguousarray(inputs[:, start:stop]), outputs)
            outputs.mean(axis=0, out=sound[start:stop])
        return sound

    def _excitation(self, num_samples: int) -> Float32[np.ndarray, "I {num_samples}"]:
        """What the inputs get; the beginning does not depend on the length."""
        count = self._dsp.get_numinputs()
        if self._input == "noise":
            noise = np.random.default_rng(0).uniform(-0.5, 0.5, (num_samples, count))
            return np.ascontiguousarray(noise.T, dtype=np.float32)
        inputs = np.zeros((count, num_samples), np.float32)
        inputs[:, :1] = self._input == "impulse"
        return inputs


class _Program(NamedTuple):
    """What cyfaust made of a program.

    Attributes:
        factory: Makes instances of it.
        version: Faust's, and LLVM's where it compiled.
        writes_tables: Whether it writes into a table, which clearing its state does not empty.
    """

    factory: Any
    version: str
    writes_tables: bool


def _compiled(dsp: str) -> _Program:
    import cyfaust  # here: only a worker's process imports it

    path = Path(dsp)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EngineError(f"synth.dsp is {dsp}; expected a Faust program: {error}") from error
    if not text.strip():
        raise EngineError(f"synth.dsp is {dsp}, which is empty; expected a Faust program")
    program = re.sub(r"\W+", "_", path.stem), text
    include = "-I", str(path.parent)
    options = *include, "-ftz", "1"  # numbers too small for full precision, which are slow, are 0
    said = io.StringIO()
    with redirect_stdout(said):  # cyfaust prints what is wrong
        if cyfaust.LLVM_BACKEND:
            this_machine, most = "", -1
            factory = cyfaust.llvm_create_dsp_factory_from_string(
                *program, this_machine, most, *options
            )
        else:
            factory = cyfaust.create_dsp_factory_from_string(*program, *options)
        expanded = factory and cyfaust.expand_dsp_from_string(*program, *include)
    if factory is None:
        words = " ".join(said.getvalue().split())
        raise EngineError(f"synth.dsp is {dsp}, which does not compile. Faust says: {words}")
    writes_tables = expanded is None or "rwtable" in expanded[1]
    return _Program(factory, f"Faust {cyfaust.get_version()}", writes_tables)


def _shortest(value: float) -> float:
    """Return the shortest decimal number that is the same in single precision.

    Example:
        >>> _shortest(0.009999999776482582)
        0.01
    """
    return float(str(np.float32(value)))
