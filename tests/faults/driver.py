"""Work in a forked process that is ended at a moment which a seed chooses.

A fork, since importing torch and Lightning would cost more than everything that is tried here.
"""

import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from src.utils.errors import Interrupted

# `make faults` sets it to 100.
NUM_KILLS = int(os.environ.get("AVIX_FAULTS", "6"))
SEED = int(os.environ.get("AVIX_FAULTS_SEED", "0"))
# The calls by which something on the disk becomes final, or goes.
FINAL_CALLS = ("fsync", "rename", "replace", "unlink", "rmdir")

faults = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="forks a process that has imported torch"),
]


@dataclass(frozen=True)
class Ending:
    """How and when a process is ended.

    Attributes:
        after_s: Seconds after it began; None: see ``before_call``.
        before_call: It kills itself before the so manieth of its FINAL_CALLS, from 0.
        number: The signal.
    """

    after_s: float | None = None
    before_call: int | None = None
    number: int = signal.SIGKILL


def draw_ending(chance: random.Random, duration_s: float, num_calls: int) -> Ending:
    """Half of the kills are at any time, half around the calls that make something final."""
    if chance.random() < 0.5:
        return Ending(after_s=chance.uniform(0, duration_s))
    return Ending(before_call=chance.randrange(num_calls))


def run(work: Callable[[], Any], ending: Ending | None = None) -> bool:
    """Runs the work in a fork; returns whether it came to its end.

    Raises:
        AssertionError: If it failed by itself; with what it wrote.
    """
    with tempfile.TemporaryFile() as output:
        process = os.fork()
        if process == 0:
            _in_the_fork(work, ending, output.fileno())
        if ending is not None and ending.after_s is not None:
            time.sleep(ending.after_s)
            os.kill(process, ending.number)
        _, status = os.waitpid(process, 0)
        code = os.waitstatus_to_exitcode(status)
        output.seek(0)
        expected = {0} if ending is None else {0, -ending.number, 128 + ending.number}
        assert code in expected, f"exit code {code}\n{output.read().decode(errors='replace')}"
        return code == 0


def measure(work: Callable[[], Any]) -> tuple[float, int]:
    """Runs the work in a fork to its end: its seconds, and how many FINAL_CALLS it made."""
    with tempfile.NamedTemporaryFile() as file:

        def counted() -> None:
            calls = _count_final_calls(None)
            work()
            Path(file.name).write_text(str(calls[0]))

        started = time.monotonic()
        assert run(counted)
        return time.monotonic() - started, int(Path(file.name).read_text())


def _in_the_fork(work: Callable[[], Any], ending: Ending | None, output: int) -> None:
    code = 1
    try:
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _interrupt)
        if ending is not None and ending.before_call is not None:
            _count_final_calls(ending.before_call)
        work()
        code = 0
    except Interrupted as interruption:
        code = interruption.exit_code
    except BaseException:  # noqa: BLE001 - the parent raises it
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)  # as src.cli has it, until the training listens by itself


def _count_final_calls(deadly: int | None) -> list[int]:
    calls = [0]

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            if calls[0] == deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            calls[0] += 1
            return original(*arguments, **keywords)

        return call

    for name in FINAL_CALLS:
        setattr(os, name, counted(getattr(os, name)))
    return calls
