"""A PostgreSQL on this machine, in a folder of its own."""

import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.slurm import free_port

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
    as_owner: list[str] = []
    if os.geteuid() == 0:
        owner = pwd.getpwnam(OWNER)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        as_owner = ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--clear-groups"]

    def run(program: str, *options: str) -> None:
        subprocess.run(
            [*as_owner, str(bin_dir / program), *options], cwd=folder, check=True, text=True
        )

    data, port = folder / "data", free_port()
    run("initdb", "-D", str(data), "-U", "avix", "--auth=trust", "--no-sync")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c max_connections=200"
    run("pg_ctl", "-D", str(data), "-l", str(folder / "log"), "-o", options, "-w", "start")
    try:
        yield f"postgresql+psycopg://avix@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
