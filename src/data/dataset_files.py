"""A data set's directory, made if it is missing and opened once."""

from functools import cached_property
from pathlib import Path

from filelock import FileLock

from src.data.sources import Source
from src.utils.errors import ConfigError
from src.utils.pylogger import RankedLogger
from src.vimh.disk import cannot_write
from src.vimh.errors import VIMHError
from src.vimh.metadata import METADATA_FILE
from src.vimh.records import Check, OpenedDataset, open_dataset

log = RankedLogger(__name__, rank_zero_only=True)


class DatasetFiles:
    """The files behind a data module.

    Args:
        data_dir: the directory; None: the one that `source` makes.
        source: makes a missing data set; None: a missing one is an error.
        validate: how opening checks it.

    Raises:
        ConfigError: Neither a directory nor a source is given.
    """

    def __init__(self, data_dir: str | Path | None, source: Source | None, validate: Check) -> None:
        if data_dir is None and source is None:
            raise ConfigError(
                "data.data_dir and data.source are both null: name a data set's directory, or "
                "choose a data config that has a source"
            )
        self.source = source
        self.validate = validate
        self.named_by_source = data_dir is None
        if data_dir is None:
            assert source is not None
            data_dir = source.dataset_dir
        self.data_dir = Path(data_dir)

    @property
    def is_there(self) -> bool:
        """Whether the directory holds a data set, which is complete: a rename made it."""
        return (self.data_dir / METADATA_FILE).is_file()

    @cached_property
    def opened(self) -> OpenedDataset:
        """The opened data set; if it is missing, it is made first."""
        if not self.is_there:
            self.make_if_missing()
        return open_dataset(self.data_dir, check=self.validate)

    def make_if_missing(self) -> None:
        """Let the source make the data set: one process, under a file lock; the others wait.

        The source refuses a data set under its own name that another recipe made. A directory that
        the config names is used as it is.

        Raises:
            ConfigError: There is no source, or it makes another data set.
            VIMHError: The existing data set is not what the source makes.
        """
        if self.is_there:
            if self.named_by_source:
                assert self.source is not None
                self.source.make()
            return
        if self.source is None:
            raise ConfigError(
                f"data.data_dir: there is no data set at {self.data_dir} (no {METADATA_FILE}) and "
                "no data.source to make one: correct the path, generate it with "
                "`python generate_vimh.py`, or choose a data config that has a source"
            )
        if Path(self.source.dataset_dir).resolve() != self.data_dir.resolve():
            raise ConfigError(
                f"data.data_dir: there is no data set at {self.data_dir}, and data.source makes "
                f"{self.source.dataset_dir}: leave data.data_dir null, or correct one of them"
            )
        with FileLock(self._lock_file()):
            if not self.is_there:
                log.info(f"{self.data_dir} not found; generating it")
                self.source.make()

    def _lock_file(self) -> Path:
        """Make the lock's file; a lock would wait forever for one that cannot be made (/proc)."""
        lock = self.data_dir.parent / f".{self.data_dir.name}.lock"
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            lock.touch()
        except OSError as error:
            raise VIMHError(cannot_write(self.data_dir, error)) from error
        return lock
