"""Logging that knows the rank of its process."""

import logging
import os
import sys
from typing import Any

from lightning_utilities.core.rank_zero import rank_prefixed_message, rank_zero_only

# Launchers number the processes here; the names and their order are Lightning's.
_RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


def rank_of_process() -> int:
    """Return the rank, 0 where there is only one process."""
    rank: int | None = getattr(rank_zero_only, "rank", None)
    if rank is None:
        found = [os.environ[name] for name in _RANK_VARIABLES if name in os.environ]
        rank = int(found[0]) if found else 0
        # rank_zero_only needs it; Lightning sets it too, but only when it is imported.
        vars(rank_zero_only)["rank"] = rank
    return rank


rank_of_process()


class RankedLogger(logging.LoggerAdapter):
    """A logger that puts the rank before each message where there is more than one process.

    With ``rank_zero_only`` it drops the messages of all processes but the first.

    Example:
        >>> log = RankedLogger("example", rank_zero_only=True)
        >>> log.info("epoch %d", 3)
    """

    def __init__(self, name: str, rank_zero_only: bool = False) -> None:
        super().__init__(logging.getLogger(name))
        self.rank_zero_only = rank_zero_only

    def log(  # type: ignore[override]  # narrower than the stub's list of keywords
        self, level: int, msg: object, *args: Any, rank: int | None = None, **kwargs: Any
    ) -> None:
        """Log as :meth:`logging.Logger.log`, on one rank; None: on all, or only on the first."""
        if not self.isEnabledFor(level):
            return
        own_rank = rank_of_process()
        wanted = 0 if self.rank_zero_only and rank is None else rank
        if wanted is not None and own_rank != wanted:
            return
        message, options = self.process(msg, kwargs)
        options["stacklevel"] = options.get("stacklevel", 1) + 1
        text = rank_prefixed_message(str(message), own_rank or None)
        self.logger.log(level, text, *args, **options)


class ScreenFormatter(logging.Formatter):
    """Messages alone, with ``warning:`` or ``error:`` before those that are one.

    The word is in colour where standard output is a terminal.
    """

    def __init__(self) -> None:
        super().__init__()
        self._with_colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Write the message as text; logging adds a traceback."""
        if record.levelno < logging.WARNING:
            return record.message
        word = f"{record.levelname.lower()}:"
        if self._with_colours:
            colour = 33 if record.levelno < logging.ERROR else 31  # yellow, red
            word = f"\x1b[{colour}m{word}\x1b[0m"
        return f"{word} {record.message}"


class LogFile(logging.FileHandler):
    """A run's log file; where it cannot be written any more, one line says so, and the run goes on.

    Python's own prints a traceback for each message.
    """

    _said = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say once that the disk refuses; other errors are as Python shows them."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._said:
            self._said = True
            sys.stderr.write(f"warning: {self.baseFilename} is incomplete: {error.strerror}\n")


# Lightning's advertisements, and what a run says itself: its device, its files, why it ended.
_LIGHTNINGS = (
    "Tip:",
    "GPU available:",
    "TPU available:",
    "Trainer already configured with model summary callbacks",
    "Restoring states from the checkpoint path",
    "Restored all states from the checkpoint",
    "Loaded model weights from the checkpoint",
    "`Trainer.fit` stopped:",
)


def _is_news(record: logging.LogRecord) -> bool:
    return not any(known in str(record.msg) for known in _LIGHTNINGS)


def silence_lightning() -> None:
    """Drop messages of Lightning that sell something, or that the run's own lines say."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_news)
