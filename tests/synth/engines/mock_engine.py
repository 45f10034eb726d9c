"""An engine for tests: a sine that crashes, hangs, breaks or carries over where it is asked to."""

import os
import signal
import time
from collections.abc import Mapping, Sequence

import numpy as np

from src.synth.engines.control import Control
from src.synth.engines.engine import Engine, EngineError

CONTROLS = (
    Control("pitch", 100.0, 1000.0, 440.0, "Hz", "log"),
    Control("level", 0.0, 1.0, 0.5),
    Control("wave", 0.0, 1.0, 0.0, class_names=("sine", "square")),
    Control("velocity", 1.0, 127.0, 100.0, of_note=True),
)
HANG, CRASH, EXIT, NAN, RAISE, SHORT = (100.0 + k for k in range(6))  # pitches


class MockEngine(Engine):
    """A sine of a pitch; a few pitches are faults."""

    def __init__(self, sample_rate_hz: int, trouble: str = "", plugin: str = "") -> None:
        if trouble == "refuses":
            raise EngineError("this engine cannot be used: say trouble=none")
        if trouble == "kills":
            os.kill(os.getpid(), signal.SIGKILL)
        self.rate, self.trouble, self.plugin = sample_rate_hz, trouble, plugin
        self.rendered = 0.0
        self.phase = 0.0

    def version(self) -> str:
        return "1.2"

    def controls(self) -> Sequence[Control]:
        return CONTROLS

    def clear(self) -> None:
        if self.trouble != "carries":
            self.rendered = 0.0

    def render(self, values: Mapping[str, float], num_samples: int) -> np.ndarray:
        pitch = values.get("pitch", 440.0)
        if round(pitch) in (HANG, CRASH, EXIT, NAN, RAISE, SHORT) and self.trouble == "faults":
            self.fault(round(pitch))
        time_s = np.arange(num_samples) / self.rate
        phase = self.rendered + (os.urandom(1)[0] / 40 if self.trouble == "varies" else 0.0)
        self.rendered += 0.1
        wave = np.sin(2 * np.pi * pitch * time_s + phase)
        wave = np.sign(wave) if values.get("wave") == 1.0 else wave
        audio = (values.get("level", 0.5) * wave).astype(np.float32)
        if self.trouble == "faults" and round(pitch) == NAN:
            audio[3] = np.nan
        return audio[:-1] if self.trouble == "faults" and round(pitch) == SHORT else audio

    def fault(self, pitch: float) -> None:
        if pitch == HANG:
            time.sleep(100)
        if pitch == CRASH:
            os.kill(os.getpid(), signal.SIGSEGV)
        if pitch == EXIT:
            os._exit(3)
        if pitch == RAISE:
            raise KeyError("no such thing")
