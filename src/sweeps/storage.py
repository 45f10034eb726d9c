"""The storage that a sweep and its trials share, and epochs as a share of a training."""

from __future__ import annotations

import os
import random
import time
import warnings
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock
from omegaconf import OmegaConf

from src.utils.errors import ConfigError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

PRUNED_AT = "pruned_at"  # user attribute of a trial: the step at which it was stopped
HEARTBEAT_S = 30  # seconds between two signs of life of a worker
OPENING_PAUSES_S = (0.1, 0.2, 0.4, 0.8)  # between the tries to open a new database
STALE_S = 120  # seconds without one after which a worker counts as dead


def share_of_epochs(max_epochs: int | None, share: float) -> int:
    """Resolve ``${share_of_epochs:${trainer.max_epochs},0.25}``: pruners count in epochs, from 1.

    Raises:
        ConfigError: If ``max_epochs`` is no number of epochs.

    Example:
        >>> share_of_epochs(300, 0.25)
        75
    """
    if max_epochs is None or max_epochs < 1:
        raise ConfigError(
            f"hydra.sweeper.pruner counts in shares of trainer.max_epochs, which is {max_epochs}; "
            "set that to a number, or hydra.sweeper.pruner.min_resource to so many epochs"
        )
    return max(1, round(share * max_epochs))


# The sweeper and the pruning callback import this module, and both read the pruner's settings.
OmegaConf.register_new_resolver("share_of_epochs", share_of_epochs, replace=True)


def open_storage(storage: str) -> BaseStorage:
    """Open the storage of a study.

    It is the path of a journal file, which need not exist, or the URL of a database that SQLAlchemy
    knows, such as ``sqlite:///sweeps.db`` or ``postgresql://...``.

    Raises:
        ConfigError: If Optuna cannot open the URL.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     open_storage(f"{folder}/journal.log").get_all_studies()
        []
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend

    if "://" not in storage:
        path = Path(storage)
        path.parent.mkdir(parents=True, exist_ok=True)
        _drop_torn_line(path)
        return optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        return _open_database(storage)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise ConfigError(
            f"hydra.sweeper.storage={storage}: {error}. Expected the path of a journal file, "
            "or a URL such as sqlite:///sweeps.db"
        ) from error


def _open_database(url: str) -> BaseStorage:
    """Open a database; create its tables where they are missing.

    Workers that start at once on a new database would all create the tables, and all but the first
    fail. On SQLite they wait for each other; on a server they try again and find the tables there.
    """
    import optuna
    from sqlalchemy.exc import DBAPIError, IntegrityError

    with _alone(url), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of the heartbeat
        open_once = partial(
            optuna.storages.RDBStorage, url, heartbeat_interval=HEARTBEAT_S, grace_period=STALE_S
        )
        for pause_s in OPENING_PAUSES_S:
            try:
                return open_once()
            except DBAPIError as error:
                if not isinstance(error, IntegrityError) and "already exists" not in str(error):
                    raise
                time.sleep(pause_s * random.uniform(0.5, 1.5))
        return open_once()


def _alone(url: str) -> AbstractContextManager[object]:
    """Lock the file of a SQLite database, whose folder is made; nothing for other databases."""
    from sqlalchemy.engine import make_url

    found = make_url(url)
    if found.get_backend_name() != "sqlite" or found.database in (None, "", ":memory:"):
        return nullcontext()
    path = Path(str(found.database))
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f".{path.name}.lock"))


def _drop_torn_line(path: Path) -> None:
    """Cut off a last line that a full disk or a power cut left unfinished; it would spoil the next.

    Optuna writes its lines under the same lock.
    """
    from optuna.storages.journal import JournalFileSymlinkLock

    if not path.exists() or _ends_whole(path):
        return
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()
    try:
        if not _ends_whole(path):
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
    finally:
        lock.release()


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        return file.read() in (b"", b"\n")
