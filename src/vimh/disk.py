"""Words for errors of the disk: it is full, or refuses to be written."""

import errno
import os
import shutil
from pathlib import Path

# Errors of a disk or a folder, not of the data.
DISK_ERRORS = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
        *(errno.EIO, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST, errno.EISDIR),
    }
)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def cannot_write(target: Path, error: OSError) -> str:
    """Write one sentence that names the path, which need not exist, the reason and the free space.

    Example:
        >>> print(cannot_write(Path("/data/set"), OSError(errno.ENOSPC, "No space left")))
        /data/set cannot be written: No space left; ... MB are free in /...
    """
    path = Path(os.path.abspath(target))
    folder = next(parent for parent in path.parents if parent.is_dir())
    free_mb = shutil.disk_usage(folder).free / 1e6
    return (
        f"{target} cannot be written: {error.strerror or error}; {free_mb:,.1f} MB are free in "
        f"{folder}: {_advice(path, folder, error)}, or choose another folder"
    )


def in_words(error: Exception) -> str:
    """Describe the error that ended a command; that of a disk with :func:`cannot_write`.

    Example:
        >>> print(in_words(ValueError("no such key")))
        no such key
        >>> print(in_words(OSError(errno.EROFS, "Read-only file system", "/data/set")))
        /data/set cannot be written: Read-only file system; ... MB are free in /...
    """
    if is_of_a_folder(error):
        assert isinstance(error, OSError)
        return cannot_write(Path(error.filename), error)
    return str(error)


def is_of_a_folder(error: BaseException) -> bool:
    """Whether an error says that a file or folder, which it names, cannot be made or written."""
    return (
        isinstance(error, OSError)
        and error.filename is not None
        and error.errno in (*DISK_ERRORS, errno.ENOENT)
    )


def _advice(path: Path, folder: Path, error: OSError) -> str:
    if error.errno in _FULL:
        return "make room"
    if error.errno == errno.EISDIR:
        return f"{path} is a folder where a file is expected: remove it"
    # The first part of the path that is missing or in the way.
    first = folder / path.relative_to(folder).parts[0]
    if first.is_file():
        return f"{first} is a file where a folder is expected: remove it"
    return "check the folder's permissions"
