"""The workers of a study: a lock file and a heartbeat show which of them live."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout
from optuna.storages import BaseStorage, RDBStorage

from src.sweeps.storage import HEARTBEAT_S, STALE_S


class Worker:
    """This process as one of a study's workers, alive while the context is open.

    The worker holds a lock on a file of its own, which the kernel frees when the process dies. It
    touches that file every half minute for workers on other machines. A database also gets
    Optuna's own heartbeats of the running trials.

    Args:
        folder: The study's folder.
        storage: The study's storage.
    """

    def __init__(self, folder: Path, storage: BaseStorage) -> None:
        self.host = socket.gethostname()
        self._folder = folder / "workers"
        name = f"{self.host}-{os.getpid()}-{secrets.token_hex(4)}.lock"
        self._path = (self._folder / name).absolute()
        self._lock = FileLock(self._path)
        self._database = storage if isinstance(storage, RDBStorage) else None
        self._trial_ids: set[int] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="sweep-heartbeat")

    def __enter__(self) -> Worker:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock.acquire(timeout=0)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._path.unlink(missing_ok=True)
        self._lock.release()

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes that a trial keeps of its worker."""
        return {"host": self.host, "lock": str(self._path)}

    def started(self, trial_id: int) -> None:
        """Send heartbeats of this trial too, where the storage keeps them."""
        self._trial_ids.add(trial_id)
        if self._database is not None:
            self._database.record_heartbeat(trial_id)

    def ended(self, trial_id: int) -> None:
        """Send no more heartbeats of this trial."""
        self._trial_ids.discard(trial_id)

    def is_dead(self, attributes: Mapping[str, str]) -> bool:
        """Whether a worker is known to have died.

        With a database, this is known of workers on this machine only; the others' trials have
        Optuna's heartbeats.

        Args:
            attributes: That worker's :attr:`attributes`, from a running trial.
        """
        path = Path(attributes["lock"])
        if path == self._path:
            return False
        if attributes["host"] != self.host:
            # The folder is shared, but may be mounted elsewhere.
            return self._database is None and self._is_stale(self._folder / path.name)
        if not path.exists():
            return True
        with contextlib.suppress(Timeout), FileLock(path).acquire(timeout=0):
            return True
        return False

    def _is_stale(self, path: Path) -> bool:
        # Both times are the file system's, so that the machines' clocks do not matter.
        self._path.touch()
        with contextlib.suppress(FileNotFoundError):
            return self._path.stat().st_mtime - path.stat().st_mtime > STALE_S
        return True

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            self._path.touch()
            if self._database is not None:
                for trial_id in list(self._trial_ids):
                    self._database.record_heartbeat(trial_id)
