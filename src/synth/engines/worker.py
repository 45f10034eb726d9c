"""The other end of an engine's pipe: starts its process, and stops it where it hangs."""

import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import numpy as np
from jaxtyping import Float32, Float64

from src.synth.engines.child import START_S, Ended, Sounds, Start
from src.synth.engines.engine import Description, EngineSpec
from src.vimh.errors import VIMHError

_CHILD = "from src.synth.engines.child import main; main()"
MOST_IN_A_ROW = 16  # lost sounds; then it is not the sounds' fault


class DeadEngineError(Exception):
    """The process has ended, or was stopped; the message says why."""


class EngineWorker:
    """An engine in a process of its own, which starts when it is first needed.

    The process ends with this object, or with this process, however that ends.

    Args:
        spec: what it builds.
        timeout_s: how long a sound may take.
    """

    def __init__(self, spec: EngineSpec, timeout_s: float) -> None:
        self._start = Start(spec, timeout_s)
        self._process: _Process | None = None
        self._lost_in_a_row = 0

    def describe(self) -> Description:
        """Return what the engine says of itself.

        Raises:
            VIMHError: if it does not start.
        """
        return self._running().description

    @property
    def process_id(self) -> int:
        """The process's number; it is started if need be."""
        return self._running().process_id

    def close(self) -> None:
        """End the process; the next call starts another."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def render(
        self,
        names: Sequence[str],
        values: Float64[np.ndarray, "B P"],
        num_samples: int,
        fresh: bool = False,
    ) -> tuple[Float32[np.ndarray, "B {num_samples}"], dict[int, str]]:
        """Render sounds.

        Args:
            names: the controls that are set.
            values: a row a sound.
            num_samples: of each.
            fresh: whether each gets a new engine.

        Returns:
            The sounds, and for each that is lost why; it is all NaN.

        Raises:
            VIMHError: if the engine does not start, or loses one sound after another.
        """
        audio = np.full((len(values), num_samples), np.nan, np.float32)
        lost: dict[int, str] = {}
        done = 0
        while done < len(values):
            left = Sounds(tuple(names), values[done:], num_samples, fresh)
            for sound in self._sounds(left):
                if isinstance(sound, str):
                    lost[done] = sound
                else:
                    audio[done] = sound
                self._count(lost.get(done))
                done += 1
        return audio, lost

    def _sounds(self, request: Sounds) -> Iterator[Float32[np.ndarray, "T"] | str]:
        """Yield one sound after another, or why it is lost, until all are there or it dies."""
        process = self._running()
        try:
            process.ask(request)
            for _ in request.values:
                yield process.sound(self._start.timeout_s)
        except DeadEngineError as death:
            self.close()
            yield str(death)

    def _count(self, reason: str | None) -> None:
        """Give up where one sound after another is lost."""
        self._lost_in_a_row = 0 if reason is None else self._lost_in_a_row + 1
        if self._lost_in_a_row >= MOST_IN_A_ROW:
            self.close()
            raise VIMHError(
                f"synth: {MOST_IN_A_ROW} sounds in a row were lost, the last because {reason}; "
                "try narrower ranges of the parameters, or a longer synth.timeout_s"
            )

    def _running(self) -> "_Process":
        if self._process is not None and not self._process.is_alive:
            self.close()
        if self._process is None:
            self._process = _Process(self._start)
        return self._process


class _Process:
    """A process with an engine, and its pipe.

    Raises:
        VIMHError: if it does not start.
    """

    def __init__(self, start: Start) -> None:
        self._connection, theirs = Pipe()
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
            "OMP_NUM_THREADS": "1",
            "QT_QPA_PLATFORM": "offscreen",  # for plug-ins that open windows of Qt
        }
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _CHILD, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        self.end = weakref.finalize(self, _end, self._process, self._connection)
        try:
            self.ask(start)
            self.description = self._described()
        except DeadEngineError as death:
            self.end()
            raise VIMHError(f"synth: the engine did not start: {death}") from death

    @property
    def process_id(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it waits for the next message."""
        return self._process.poll() is None

    def ask(self, message: Start | Sounds) -> None:
        """Send a message."""
        try:
            self._connection.send(message)
        except OSError as error:
            raise DeadEngineError(self._ending()) from error

    def _described(self) -> Description:
        found = self._answer(START_S)
        assert isinstance(found, Description)
        return found

    def sound(self, timeout_s: float) -> Float32[np.ndarray, "T"] | str:
        """Wait for the next sound, or why there is none.

        Raises:
            DeadEngineError: if there is no answer.
        """
        found = self._answer(timeout_s)
        assert isinstance(found, np.ndarray | str)
        return found

    def _answer(self, seconds: float) -> object:
        try:
            if not self._connection.poll(seconds):
                raise DeadEngineError(f"the engine gave no answer within {seconds:g} s")
            reply = self._connection.recv()
        except (EOFError, OSError) as error:
            raise DeadEngineError(self._ending()) from error
        if isinstance(reply, Ended):
            raise DeadEngineError(reply.reason)
        return reply

    def _ending(self) -> str:
        """Say how the process ended."""
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            return "the engine's pipe broke"
        if code < 0:
            return f"the engine was ended by {signal.Signals(-code).name}"
        return f"the engine ended with exit code {code}"


def _end(process: subprocess.Popen[bytes], connection: Connection) -> None:
    connection.close()
    process.kill()
    process.wait()
