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
    if not is_of_the_disk(error):
        return str(error)
    assert isinstance(error, OSError)
    if error.filename is None:
        return f"a file cannot be written: {error.strerror}: {_remedy(error)}"
    return cannot_write(named_path(error), error)


def is_of_the_disk(error: BaseException) -> bool:
    """Whether an error says that a file cannot be written, which the error need not name."""
    return is_of_a_folder(error) or (isinstance(error, OSError) and error.errno in DISK_ERRORS)


def named_path(error: OSError) -> Path:
    """Return the path that an error names, which may do so in bytes.

    Example:
        >>> named_path(OSError(errno.ENOENT, "No such file or directory", b"/data/set"))
        PosixPath('/data/set')
    """
    return Path(os.fsdecode(error.filename))


def is_of_a_folder(error: BaseException) -> bool:
    """Whether an error says that a file or folder, which it names, cannot be made or written."""
    return (
        isinstance(error, OSError)
        and error.filename is not None
        and error.errno in (*DISK_ERRORS, errno.ENOENT)
    )


def _advice(path: Path, folder: Path, error: OSError) -> str:
    if error.errno in _FULL:
        return _remedy(error)
    if error.errno == errno.EISDIR:
        return f"{path} is a folder where a file is expected: remove it"
    if error.errno == errno.ENOENT:
        return f"{folder} refuses it, or its folder was removed meanwhile"
    # The first part of the path that is missing or in the way.
    first = folder / path.relative_to(folder).parts[0]
    if first.is_file():
        return f"{first} is a file where a folder is expected: remove it"
    return "check the folder's permissions"


def _remedy(error: OSError) -> str:
    if error.errno == errno.EFBIG:
        return "raise the limit on the size of files (ulimit -f)"
    return "make room"
