"""Sounds of Vital, a wavetable synthesiser, by the package vita."""

from collections.abc import Mapping
from typing import Unpack

from src.synth.engines.midi import MidiNote
from src.synth.engines.synth import EngineOptions, EngineSynth


class VitalSynth(EngineSynth):
    """Vital, played from its initial patch; see :class:`EngineSynth`.

    Args:
        parameters: as in :class:`EngineSynth`; of its 772 controls at most 255 can vary.
        note: what is played.
        **options: as in :class:`EngineSynth`.
    """

    synth_type = "vital"
    engine_class = "src.synth.engines.vital_engine.VitalEngine"
    packages = ("vita",)
    extra = "vital"

    def __init__(
        self,
        parameters: Mapping[str, object],
        *,
        note: MidiNote | None = None,
        **options: Unpack[EngineOptions],
    ) -> None:
        super().__init__(parameters, {"note": note}, **options)
