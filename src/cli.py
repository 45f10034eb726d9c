"""What the command lines share: a user's mistake is one sentence, not a traceback."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from src.checkpoints.resume import CHECKPOINT, remove_if_nothing_began
from src.utils.errors import CheckpointError, ConfigError, Interrupted
from src.utils.foreign_errors import REFUSALS, refusal
from src.utils.words import path_word
from src.vimh.disk import cannot_write, in_words, is_of_the_disk, named_path
from src.vimh.errors import VIMHError


class JobError(CompactHydraException):
    """A user's mistake in a job of a multirun; Hydra prints it without a traceback."""


Result = TypeVar("Result")


def entry_point(main: Callable[[DictConfig], Result]) -> Callable[[DictConfig], Result]:
    """End the process with one sentence where the user can correct the cause or interrupts.

    Mistakes end with exit code 1, Ctrl-C with 130 and SIGTERM with 143. In a multirun errors are
    raised on: the sweeper decides about the other jobs. The folder of a run in which nothing began
    is removed.
    """

    @functools.wraps(main)
    def wrapped(cfg: DictConfig) -> Result:
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, _interrupt)
        try:
            return main(cfg)
        except (ConfigError, CheckpointError, VIMHError, OSError) as error:
            said = str(error)
            if isinstance(error, OSError):
                if not is_of_the_disk(error):
                    raise
                named = error.filename is not None
                path = named_path(error) if named else Path(cfg.paths.output_dir)
                said = cannot_write(path, error)
            if HydraConfig.get().mode is RunMode.MULTIRUN:
                raise JobError(said) from error
            _tidy(cfg)
            sys.exit(f"error: {said}")
        except Interrupted as interruption:
            _tidy(cfg)
            sys.stderr.write(f"{_how_to_go_on(interruption)}\n")
            sys.exit(interruption.exit_code)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    return wrapped


def start(
    main: Callable[[], object], *, name: str = "error", usage_code: int = 1, advice: str = ""
) -> None:
    """Run a command; what Hydra refuses before it calls our function is one sentence, too.

    The sentence begins with a name. That of a wrong command line ends with an advice, and has an
    exit code of its own; that of a folder that Hydra cannot make is 1.
    """
    # Hydra prints a stack trace for what goes wrong before our function is called. With this it
    # raises instead; who has set it already wants to see the trace.
    if os.environ.setdefault("HYDRA_FULL_ERROR", "0") != "0":
        main()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        main()
    except (OSError, *REFUSALS) as error:
        if is_of_the_disk(error):
            sys.exit(f"{name}: {in_words(error)}")
        sentence = refusal(error, sys.argv[1:])
        if sentence is None:
            raise
        sys.stderr.write(f"{name}: {sentence}{advice}\n")
        sys.exit(usage_code)


def _tidy(cfg: DictConfig) -> None:
    """Remove the folder of a run in which nothing began; a multirun's table lists its jobs'."""
    hydra = HydraConfig.get()
    if hydra.mode is not RunMode.MULTIRUN:
        remove_if_nothing_began(Path(hydra.runtime.output_dir), f"{cfg.get('task_name')}.log")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)


def _how_to_go_on(interruption: Interrupted) -> str:
    """Say what was saved, and which command goes on from it."""
    saved = interruption.checkpoint
    if saved is None:
        return f"{interruption}"
    at = f"{interruption}; saved {saved} (epoch {interruption.epoch}, step {interruption.step})"
    hydra = HydraConfig.get()
    if hydra.mode is RunMode.MULTIRUN:
        return at
    # Not ckpt_path=last: by then another run may be the newest.
    run = Path(hydra.runtime.output_dir)
    target = run if run / CHECKPOINT == Path(saved) else saved
    return f"{at}\ngo on with: python src/train.py {path_word('ckpt_path', target)}"
