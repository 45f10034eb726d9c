import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest

from src.synth.engines.engine import EngineSpec
from src.synth.engines.worker import MOST_IN_A_ROW, EngineWorker
from src.vimh.errors import VIMHError
from tests.pages import ROOT
from tests.synth.engines.mock_engine import CRASH, EXIT, HANG, NAN, RAISE, SHORT

ENGINE = "tests.synth.engines.mock_engine.MockEngine"


def spec(trouble: str = "") -> EngineSpec:
    return EngineSpec(ENGINE, {"sample_rate_hz": 8000, "trouble": trouble})


@pytest.fixture
def faulty() -> Iterator[EngineWorker]:
    worker = EngineWorker(spec("faults"), timeout_s=1.0)
    yield worker
    worker.close()


def pitches(*values: float) -> np.ndarray:
    return np.array(values)[:, None]


def sine(pitch: float, count: int) -> np.ndarray:
    time_s = np.arange(count) / 8000
    return (0.5 * np.sin(2 * np.pi * pitch * time_s)).astype(np.float32)


def test_sounds_come_in_order_whatever_is_lost_between_them(faulty: EngineWorker) -> None:
    asked = (200.0, HANG, 300.0, CRASH, EXIT, 400.0, NAN, RAISE, SHORT, 500.0)
    audio, lost = faulty.render(["pitch"], pitches(*asked), 50)
    for row, pitch in enumerate(asked):
        if pitch >= 200:
            assert np.array_equal(audio[row], sine(pitch, 50))
        else:
            assert np.isnan(audio[row]).all()
    assert {asked[row]: reason for row, reason in lost.items()} == {
        HANG: "the engine gave no answer within 1 s",
        CRASH: "the engine was ended by SIGSEGV",
        EXIT: "the engine ended with exit code 3",
        NAN: "the engine gave a NaN or an infinity",
        RAISE: "KeyError: 'no such thing'",
        SHORT: "the engine gave an array of shape (49,), not (50,)",
    }


def test_an_engine_that_loses_everything_is_given_up(faulty: EngineWorker) -> None:
    with pytest.raises(VIMHError, match=rf"{MOST_IN_A_ROW} sounds in a row were lost.*NaN"):
        faulty.render(["pitch"], np.full((MOST_IN_A_ROW, 1), NAN), 50)


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("refuses", "cannot be used: say trouble=none"),
        ("kills", "ended by SIGKILL"),
    ],
)
def test_an_engine_that_does_not_start_says_why(trouble: str, reason: str) -> None:
    with pytest.raises(VIMHError, match=f"the engine did not start: .*{reason}"):
        EngineWorker(spec(trouble), timeout_s=5.0).describe()


def test_a_fresh_engine_for_each_sound_carries_nothing_over() -> None:
    worker = EngineWorker(spec("carries"), timeout_s=5.0)
    same = pitches(300.0, 300.0)
    carried, _ = worker.render(["pitch"], same, 50)
    fresh, _ = worker.render(["pitch"], same, 50, fresh=True)
    worker.close()
    assert not np.array_equal(carried[0], carried[1])
    assert np.array_equal(fresh[0], fresh[1])


def test_a_process_that_died_between_two_calls_costs_nothing(faulty: EngineWorker) -> None:
    faulty.describe()
    os.kill(faulty.process_id, signal.SIGKILL)
    time.sleep(0.1)
    audio, lost = faulty.render(["pitch"], pitches(300.0), 50)
    assert not lost
    assert np.array_equal(audio[0], sine(300.0, 50))


OWNER = """
import sys, time
import numpy as np
from src.synth.engines.engine import EngineSpec
from src.synth.engines.worker import EngineWorker
worker = EngineWorker(EngineSpec(%r, {"sample_rate_hz": 8000}), 5.0)
worker.describe()
print(worker.process_id, flush=True)
time.sleep(100)
"""


@pytest.mark.slow  # a process that starts another
def test_the_process_ends_when_its_owner_is_killed() -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER % ENGINE], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    with owner.stdout as lines:
        process_id = int(lines.readline())
    owner.kill()
    owner.wait()
    for _ in range(100):
        try:
            os.kill(process_id, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.kill(process_id, signal.SIGKILL)
    pytest.fail("the worker outlived its owner")
