"""A SLURM and a PostgreSQL of our own, where the programs are there."""

import importlib.util
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import postgres, slurm

SLURM_NEEDS = "docs/cluster.md says how to install SLURM; missing here: "


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[slurm.Slurm]:
    missing = [name for name in slurm.PROGRAMS if shutil.which(name, path=slurm.PATH) is None]
    if missing:
        pytest.skip(SLURM_NEEDS + ", ".join(missing))
    with slurm.started(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture(scope="session")
def database() -> Iterator[str]:
    if postgres.programs() is None:
        pytest.skip("docs/cluster.md says how to install PostgreSQL, which is missing here")
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv of util-linux is missing, which starts PostgreSQL")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("the driver is missing: pip install 'psycopg[binary]'")
    # Not in pytest's folder, which is closed to the user that the server runs as.
    with (
        tempfile.TemporaryDirectory(prefix="avix-postgres-") as folder,
        postgres.started(Path(folder)) as url,
    ):
        yield url


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"
