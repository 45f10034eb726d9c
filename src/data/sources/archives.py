"""A packed archive (.tar.gz), read in order and in memory, up to a bound on its content."""

import gzip
import math
from collections.abc import Collection, Iterator
from pathlib import Path

from src.data.sources.downloads import naming
from src.vimh.errors import VIMHError

# Photographs hardly pack: the real archives hold 1.1 times their size.
UNPACKED_SHARE, UNPACKED_FREE = 1.125, 16 * 2**20
_BLOCK = 512
_FILE_TYPES = (b"0", b"\0", b"7")


def members(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the wanted files of an archive and their contents, in the archive's order.

    It reads only the plain headers of POSIX 1003.1 (ustar): it skips names of more than 100 bytes
    and extended headers, follows no links and writes nothing.

    Raises:
        VIMHError: The archive is broken, or its content is too large for its size.
    """
    room = math.floor(UNPACKED_SHARE * path.stat().st_size) + UNPACKED_FREE
    with naming(str(path)), gzip.open(path) as file:
        while header := file.read(_BLOCK):
            if len(header) < _BLOCK:
                raise EOFError("a header is cut off")
            if not header.strip(b"\0"):  # the end
                return
            name = header[:100].split(b"\0")[0].decode("latin-1").removeprefix("./")
            size = _octal(header[124:136])
            padded = -(-size // _BLOCK) * _BLOCK
            room -= _BLOCK + padded
            if room < 0:
                raise VIMHError(
                    f"{path}: unpacks to more than {UNPACKED_SHARE} times its size and "
                    f"{UNPACKED_FREE // 2**20} MB, so it is not the archive that its name says"
                )
            content = file.read(padded)
            if len(content) < size:
                raise EOFError(f"{name[:100]!r} is cut off")
            if name in wanted and header[156:157] in _FILE_TYPES:
                yield name, content[:size]


def _octal(field: bytes) -> int:
    digits = field.strip(b" \0")
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise EOFError("a header without a size, so this is no archive of plain files")
    return int(digits, 8)
