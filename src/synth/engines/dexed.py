"""Sounds of the DX7, by the package dexed-py, which is around Dexed's engine."""

from collections.abc import Mapping
from typing import Unpack

from src.synth.engines.midi import MidiNote
from src.synth.engines.synth import EngineOptions, EngineSynth


class DexedSynth(EngineSynth):
    """The DX7, played from its initial voice; see :class:`EngineSynth`.

    Args:
        parameters: as in :class:`EngineSynth`.
        note: what is played.
        **options: as in :class:`EngineSynth`.
    """

    synth_type = "dexed"
    engine_class = "src.synth.engines.dexed_engine.DexedEngine"
    packages = ("dexed",)
    extra = "dexed"

    def __init__(
        self,
        parameters: Mapping[str, object],
        *,
        note: MidiNote | None = None,
        **options: Unpack[EngineOptions],
    ) -> None:
        super().__init__(parameters, {"note": note}, **options)
