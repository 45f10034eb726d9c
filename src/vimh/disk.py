"""What is said when the disk is full or will not be written to."""

import errno
import os
import shutil
from pathlib import Path

# Errors of a disk or a folder, and not of what is written there.
DISK_ERRORS = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
        *(errno.EIO, errno.ENAMETOOLONG, errno.ENOTDIR),
    }
)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def cannot_write(target: Path, error: OSError) -> str:
    """One sentence that names the path, the reason and the space that is left.

    Args:
        target: What was to be written; it need not exist.
        error: What the system said.

    Example:
        >>> print(cannot_write(Path("/data/set"), OSError(errno.ENOSPC, "No space left")))
        /data/set cannot be written: No space left; ... MB are free in /...
    """
    folder = Path(os.path.abspath(target)).parent
    while not folder.exists():
        folder = folder.parent
    free_mb = shutil.disk_usage(folder).free / 1e6
    advice = "make room" if error.errno in _FULL else "check the folder's permissions"
    return (
        f"{target} cannot be written: {error.strerror or error}; {free_mb:,.1f} MB are free in "
        f"{folder}: {advice}, or choose another folder"
    )
