"""Files and directories that appear under their names whole, or not at all.

A writer fills `<parent>/.vimh-writing-<random>/<name>`, one level below the data sets, and renames
it to `<parent>/<name>` when all files are complete and synced. A file lock shows that the writer
lives; the next writer removes what a killed one left.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from src.vimh.errors import VIMHError

_PREFIX = ".vimh-writing-"
_LOCK = "lock"
_REPLACED = "replaced"
_AT_FDCWD, _EXCHANGE = -100, 2  # Linux: renameat2(2); macOS: RENAME_SWAP of renamex_np(2)
_NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Write or replace a file, whose folder exists, that is seen only when it is complete.

    Yields:
        The path to write to. At the end of the block this file is synced and takes the target's
        place; after an exception it is removed. Its name is fixed, so that the next writer
        overwrites what a killed one left.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with whole_file(Path(folder, "a.json")) as path:
        ...         _ = path.write_text("{}")
        ...     os.listdir(folder)
        ['a.json']
    """
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(target)
        sync(target.parent)
    finally:
        _remove_leftover(temporary)


class AtomicDirectory:
    """Write a directory, `path`, so that it is seen only when it is complete.

    It has its final name already; `scratch` is a directory for temporary files.
    """

    def __init__(self, target: Path, *, replace: bool) -> None:
        """Make the temporary directory beside `target`, which may be a symbolic link.

        Raises:
            VIMHError: `target` exists and may not be replaced.
        """
        self._target = Path(os.path.realpath(target))
        self._replace = replace
        if not replace:
            self._check_free()
        parent = self._target.parent
        parent.mkdir(parents=True, exist_ok=True)
        clean_stale(parent)
        self.scratch, self._lock = _locked_directory(parent)
        self.path = self.scratch / self._target.name
        self.path.mkdir()

    def commit(self) -> None:
        """Sync the directory and put it in its place; delete what it replaces.

        Raises:
            VIMHError: `target` has appeared in the meantime and may not be replaced.
        """
        sync(self.path)
        if self._replace and self._target.exists():
            if not _exchange(self.path, self._target):
                self._replace_in_two_steps()
        else:
            self._check_free()
            try:
                self.path.rename(self._target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                self._check_free()  # it appeared just now
                raise
        sync(self._target.parent)
        self.discard()

    def discard(self) -> None:
        """Remove the temporary directory with all that is in it."""
        _remove(self.scratch)
        os.close(self._lock)

    def _check_free(self) -> None:
        # rename(2) replaces an empty directory, which is no data set
        is_empty = self._target.is_dir() and not any(self._target.iterdir())
        if self._target.exists() and not is_empty:
            raise VIMHError(
                f"{self._target}: is already there; set overwrite=true to replace it, or give "
                "another name"
            )

    def _replace_in_two_steps(self) -> None:
        """Replace where directories cannot be exchanged; `_put_back` undoes an interrupted move."""
        replaced = self.scratch / _REPLACED
        replaced.mkdir()
        self._target.rename(replaced / self._target.name)
        self.path.rename(self._target)


def clean_stale(parent: Path) -> None:
    """Remove what killed writers left in `parent`; put back a directory that they moved away."""
    for scratch in parent.glob(f"{_PREFIX}*"):
        try:
            lock = os.open(scratch / _LOCK, os.O_RDWR)
        except FileNotFoundError:
            # The writer was killed before it made the lock or after it removed it. A writer that
            # lives makes another directory.
            with contextlib.suppress(OSError):
                scratch.rmdir()
            continue
        except (NotADirectoryError, PermissionError):
            continue  # another user's
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(scratch)
        except BlockingIOError:
            pass  # its writer lives
        finally:
            os.close(lock)


def sync(path: Path) -> None:
    """Flush a file, or a directory's entries, to the disk: so a rename in it lasts."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_leftover(temporary: Path) -> None:
    try:
        temporary.unlink(missing_ok=True)
    except OSError:
        # Where a folder became read-only, the failed write has been reported already.
        if temporary.exists() and os.access(temporary.parent, os.W_OK):
            raise


def _put_back(scratch: Path) -> None:
    """Put back a directory that was moved away for a replacement that did not come."""
    for replaced in (scratch / _REPLACED).glob("*"):
        if not (scratch.parent / replaced.name).exists():
            replaced.rename(scratch.parent / replaced.name)


def _remove(scratch: Path) -> None:
    """Remove a temporary directory, the lock last: it marks what is still to remove."""
    _put_back(scratch)
    with contextlib.suppress(OSError):
        for path in scratch.iterdir():
            if path.name != _LOCK:
                shutil.rmtree(path, ignore_errors=True)
        (scratch / _LOCK).unlink()
        scratch.rmdir()


def _locked_directory(parent: Path) -> tuple[Path, int]:
    """Make a temporary directory and lock it; retry where another writer removes it before."""
    while True:
        scratch = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        try:
            lock = os.open(scratch / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        if os.fstat(lock).st_nlink == 1:
            return scratch, lock
        os.close(lock)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two directories in one step; False where the system or the file system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(first), os.fsencode(second)
    if sys.platform == "linux" and getattr(libc, "renameat2", None) is not None:
        failed = libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE)
    elif sys.platform == "darwin":
        failed = libc.renamex_np(*names, _EXCHANGE)
    else:
        return False
    if not failed:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(first), None, str(second))
