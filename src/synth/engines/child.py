"""The process of an engine: builds it, and renders what the other end of a pipe asks for."""

import importlib
import signal
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
from jaxtyping import Float32, Float64

from src.synth.engines.engine import Description, Engine, EngineError, EngineSpec

START_S = 60.0  # so long may an engine take to start


@dataclass(frozen=True)
class Start:
    """The first message: what to build, and how long a sound may take, in seconds."""

    spec: EngineSpec
    timeout_s: float


@dataclass(frozen=True)
class Sounds:
    """A message: sounds to render; each is answered by an array, or by a text that says why not.

    Attributes:
        names: Of the controls that are set.
        values: A row a sound.
        num_samples: Of each.
        fresh: Whether each gets a new engine.
    """

    names: tuple[str, ...]
    values: Float64[np.ndarray, "B P"]
    num_samples: int
    fresh: bool


@dataclass(frozen=True)
class Ended:
    """The last message of an engine that failed: why."""

    reason: str


def build(spec: EngineSpec) -> Engine:
    """Import an engine's class and build it."""
    guard(START_S)
    module, _, name = spec.engine.rpartition(".")
    engine: Engine = getattr(importlib.import_module(module), name)(**spec.arguments)
    return engine


def serve(connection: Connection) -> None:
    """Answer one message after another until the other end is closed.

    What the engine raises is the last message, and ends the process: nobody knows in which state
    it left the engine.
    """
    try:
        start = connection.recv()
        assert isinstance(start, Start)
        engine = build(start.spec)
        connection.send(Description(engine.version(), tuple(engine.controls())))
        while True:
            guard(0)
            request = connection.recv()
            assert isinstance(request, Sounds)
            engine = answer(connection, request, engine, start)
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:
        is_said = isinstance(error, EngineError)
        connection.send(Ended(str(error) if is_said else f"{type(error).__name__}: {error}"))
        raise


def answer(connection: Connection, request: Sounds, engine: Engine, start: Start) -> Engine:
    """Render the sounds of a message, and return the engine for the next."""
    for row in request.values:
        if request.fresh:
            engine = build(start.spec)
        guard(start.timeout_s)
        sound = rendered(engine, dict(zip(request.names, row.tolist(), strict=True)), request)
        connection.send(sound)
        if isinstance(sound, str):  # what made it may ring on
            engine = build(start.spec)
    return engine


def rendered(
    engine: Engine, values: dict[str, float], request: Sounds
) -> Float32[np.ndarray, "T"] | str:
    """Return a sound, or why it is none."""
    engine.clear()
    sound = np.asarray(engine.render(values, request.num_samples), np.float32)
    if sound.shape != (request.num_samples,):
        return f"the engine gave an array of shape {sound.shape}, not ({request.num_samples},)"
    if not np.isfinite(sound).all():
        return "the engine gave a NaN or an infinity"
    return sound


def guard(seconds: float) -> None:
    """Let the system end this process if it is still busy after twice as long; 0: not any more.

    The other end stops a process that hangs. This is for one whose other end was killed.
    """
    signal.setitimer(signal.ITIMER_REAL, 2 * seconds)


def main() -> None:
    """Serve the pipe whose file descriptor is the first argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the other end closes the pipe
    with Connection(int(sys.argv[1])) as connection:
        serve(connection)
