"""Sounds of an instrument plug-in (VST3, AU, LV2), by the package minihost."""

from collections.abc import Mapping
from typing import Unpack

from src.schema.bounds import FolderPath, Text
from src.synth.engines.midi import MidiNote
from src.synth.engines.synth import EngineOptions, EngineSynth


class PluginSynth(EngineSynth):
    """A plug-in that plays notes; see :class:`EngineSynth`.

    Args:
        parameters: as in :class:`EngineSynth`.
        plugin: path of a VST3, AU or LV2 bundle.
        name: which plug-in, where an LV2 bundle holds several.
        note: what is played.
        **options: as in :class:`EngineSynth`.
    """

    synth_type = "plugin"
    engine_class = "src.synth.engines.plugin_engine.PluginEngine"
    packages = ("minihost",)
    extra = "plugins"
    program_key = "plugin"

    def __init__(
        self,
        parameters: Mapping[str, object],
        *,
        plugin: FolderPath,
        name: Text | None = None,
        note: MidiNote | None = None,
        **options: Unpack[EngineOptions],
    ) -> None:
        super().__init__(parameters, {"plugin": plugin, "name": name, "note": note}, **options)
