"""Make the C library's allocator keep the memory that the next training step needs again."""

import ctypes
import sys

# Of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEPT_BYTES = 1 << 30


def keep_freed_memory() -> bool:
    """Keep freed memory in the process, up to 1 GiB a block, for the next allocation.

    glibc returns large blocks to the system as soon as they are freed, so a training step on the
    CPU asks for its activations again each time, and the system clears every page of them. The
    environment can set the same: MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_. Existing blocks
    stay as they are. (Generating needs less and changes no settings of the process:
    `src.synth.parallel.reuse_freed_blocks`.)

    Returns:
        Whether the allocator took the settings; False for other C libraries (macOS, musl).
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    try:
        library.gnu_get_libc_version  # noqa: B018  # only glibc has it; musl has no mallopt
        mallopt = library.mallopt
    except AttributeError:
        return False
    done = [mallopt(option, _KEPT_BYTES) for option in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD)]
    return all(done)
