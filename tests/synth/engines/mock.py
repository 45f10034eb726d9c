"""The synthesiser of the mock engine."""

from collections.abc import Mapping
from typing import Unpack

from src.synth.engines.synth import EngineOptions, EngineSynth


class MockSynth(EngineSynth):
    """The synthesiser of the mock engine."""

    synth_type = "mock"
    engine_class = "tests.synth.engines.mock_engine.MockEngine"
    packages = ("numpy",)
    extra = "mock"
    program_key = "plugin"

    def __init__(
        self,
        parameters: Mapping[str, object],
        *,
        trouble: str | None = None,
        plugin: str | None = None,
        **options: Unpack[EngineOptions],
    ) -> None:
        super().__init__(parameters, {"trouble": trouble, "plugin": plugin}, **options)
