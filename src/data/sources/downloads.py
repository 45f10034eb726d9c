"""Original files, downloaded once with a pinned hash or found in a folder that the user names."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from src.utils.errors import ConfigError
from src.utils.pylogger import RankedLogger

log = RankedLogger(__name__, rank_zero_only=True)

TIMEOUT_S = 30  # without an answer, the next mirror is tried


@dataclass(frozen=True)
class RemoteFile:
    """A published file that never changes.

    Attributes:
        name: its usual name.
        sha256: of its bytes.
        mirrors: addresses of the folders it lies in, tried in order.
    """

    name: str
    sha256: str
    mirrors: tuple[str, ...]


def fetch(
    file: RemoteFile, folder: Path, *, needed: Sequence[str] = (), progress: bool = True
) -> Path:
    """Download a file, unless the folder has it with the right hash.

    The file gets its name only when it is complete and its hash is right.

    Args:
        file: what to download.
        folder: keeps the file.
        needed: the names of all files of the data set, for the message.
        progress: whether to show a bar.

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
    import zlib
    from tarfile import TarError

    from src.vimh.errors import VIMHError

    try:
        yield
    except (EOFError, OSError, zlib.error, TarError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise VIMHError(f"{where}: truncated or not what its name says: {error}") from error
