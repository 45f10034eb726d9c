"""Original files, downloaded once with a pinned hash or found in a folder that the user names."""

import gzip
import math
import os
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from src.utils.errors import ConfigError
from src.utils.pylogger import RankedLogger
from src.vimh.errors import VIMHError

log = RankedLogger(__name__, rank_zero_only=True)

TIMEOUT_S = 30  # without an answer, the next mirror is tried
# Of an archive: photographs hardly pack, the real ones hold 1.1 times their size.
UNPACKED_SHARE, UNPACKED_FREE = 1.125, 16 * 2**20
_BLOCK = 512
_FILE_TYPES = (b"0", b"\0", b"7")


@dataclass(frozen=True)
class RemoteFile:
    """A published file that never changes."""

    name: str
    sha256: str
    mirrors: tuple[str, ...]  # addresses of the folders it lies in, tried in order


def fetch(
    file: RemoteFile, folder: Path, *, needed: Sequence[str] = (), progress: bool = True
) -> Path:
    """Download a file, unless the folder has it with the right hash.

    The file gets its name only when it is complete and its hash is right. A message names all
    files that are `needed`.

    Raises:
        ConfigError: No mirror has it; says which file to put where.
    """
    import pooch
    from requests.exceptions import RequestException

    pooch.get_logger().setLevel("WARNING")
    reasons = []
    for mirror in file.mirrors:
        url = f"{mirror.rstrip('/')}/{file.name}"
        try:
            return Path(
                pooch.retrieve(
                    url,
                    known_hash=f"sha256:{file.sha256}",
                    fname=file.name,
                    path=folder,
                    downloader=pooch.HTTPDownloader(progressbar=progress, timeout=TIMEOUT_S),
                )
            )
        except RequestException as error:
            reasons.append(f"{url}: {type(error).__name__}")
        except ValueError as error:  # pooch's word for another hash
            if "hash" not in str(error).lower():
                raise
            reasons.append(f"{url}: its SHA-256 is not the published one")
        log.warning("%s", reasons[-1])
    names = " and ".join(needed or (file.name,))
    raise ConfigError(
        f"{file.name} could not be downloaded ({'; '.join(reasons)}): put the original {names} "
        f"into {folder}, or into a folder that you name with data.source.root=..."
    )


def find(folder: Path, names: Sequence[str]) -> Path:
    """Return the first of the names that a folder has.

    Raises:
        ConfigError: It has none of them.
    """
    for name in names:
        # Not a pipe or a device, which has no end.
        if os.path.isfile(folder / name) or os.path.isdir(folder / name):
            return folder / name
    raise ConfigError(
        f"data.source.root: {folder} has no {' and no '.join(names)}; put the original file there, "
        "or leave data.source.root null to download it"
    )


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Name the file in the errors that broken bytes raise."""
    try:
        yield
    except (EOFError, OSError, zlib.error) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise VIMHError(f"{where}: truncated or not what its name says: {error}") from error


def members(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the wanted files of a .tar.gz and their contents, in its order and in memory.

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
