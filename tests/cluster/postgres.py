"""A PostgreSQL on this machine, in a folder of its own."""

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.slurm import WITH_US, free_port

OWNER = "postgres"  # Debian's user for it: the server refuses to run as root


def programs() -> Path | None:
    """Return the folder of the server's programs, which Debian keeps out of the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@contextmanager
def started(folder: Path) -> Iterator[str]:
    """Start a server; yield the URL of an empty database; stop it at the end.

    Args:
        folder: An empty one; the user `postgres` may go into all folders above it.
    """
    bin_dir = programs()
    assert bin_dir is not None
    as_owner: tuple[str, ...] = ()
    if os.geteuid() == 0:
        owner = pwd.getpwnam(OWNER)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        as_owner = (f"--reuid={OWNER}", f"--regid={OWNER}", "--clear-groups")
    data, port = str(folder / "data"), free_port()

    def command(program: str, *options: str) -> list[str]:
        # A fast shutdown where this process is gone.
        return [*WITH_US, "INT", *as_owner, str(bin_dir / program), "-D", data, *options]

    make = command("initdb", "-U", "avix", "--auth=trust", "--no-sync")
    subprocess.run(make, cwd=folder, check=True, capture_output=True)
    options = ["-k", str(folder), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]
    serve = command("postgres", "-p", str(port), *options)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(serve, cwd=folder, stdout=log, stderr=log)
    try:
        _await_ready(folder / "data" / "postmaster.pid", server)
        yield f"postgresql+psycopg://avix@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGQUIT)  # at once
        server.wait()


def _await_ready(status: Path, server: subprocess.Popen[bytes], timeout_s: float = 120) -> None:
    """Wait for the word that the server writes into the last line of its file."""
    until = time.monotonic() + timeout_s
    while "ready" not in _text_of(status):
        assert server.poll() is None, "the server has ended"
        assert time.monotonic() < until, "the server is not ready"
        time.sleep(0.1)


def _text_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""
