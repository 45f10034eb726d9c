"""The synthesiser whose sounds a Faust program makes."""

from collections.abc import Mapping
from typing import Unpack

from src.schema.bounds import Text
from src.synth.engines.faust_engine import Input, Note
from src.synth.engines.synth import EngineOptions, EngineSynth

HELD = 0.8  # of the duration, where nobody says how long the note is


class FaustSynth(EngineSynth):
    """One voice of a Faust program: its sliders, menus and check boxes are the parameters.

    :class:`src.synth.engines.faust_panel.Panel` says how they are read. Beside a gate, `freq` and
    `gain` are the note's and vary only where the config names them.

    Args:
        parameters: as every engine's; empty: all controls but the note's vary.
        dsp: the program's path.
        note: `hold_s`: how long the gate is held; null: 0.8 of the duration.
        input: what the inputs of a program get, if it has some: impulse, noise or silence.
        **options: as every engine's.

    Raises:
        VIMHError: for parameters that are not well-formed.
    """

    synth_type = "faust"
    engine_class = "src.synth.engines.faust_engine.FaustEngine"
    packages = ("cyfaust",)
    extra = "faust"
    program_key = "dsp"
    keeps_text = True

    def __init__(
        self,
        parameters: Mapping[str, object],
        *,
        dsp: Text,
        note: Note | None = None,
        input: Input = "impulse",
        **options: Unpack[EngineOptions],
    ) -> None:
        hold_s = (note or {}).get("hold_s")
        played = {"hold_s": HELD * options["duration_s"] if hold_s is None else hold_s}
        super().__init__(parameters, {"dsp": dsp, "note": played, "input": input}, **options)
