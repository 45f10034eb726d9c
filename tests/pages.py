"""Pages of the documentation, done: their files are written and their commands run, in order."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block of a page: a file where it has a path, else commands."""

    language: str
    path: str
    text: str


def blocks(page: str) -> list[Block]:
    """The page's blocks that name a language; others only show something.

    Args:
        page: its text.
    """
    return [Block(*found) for found in BLOCK.findall(page)]


def clone(folder: Path) -> Path:
    """A fresh clone of the last commit in `folder`, with the packages of the tests.

    Args:
        folder: where to; the clone is `avix` in it.
    """
    run(f"git clone -q {ROOT} avix", folder)
    use_our_packages(folder / "avix")
    return folder / "avix"


def use_our_packages(clone: Path) -> None:
    """A .venv that needs no download: the interpreter of the tests.

    Args:
        clone: the folder that gets it.
    """
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "bin" / "activate").write_text(
        f'PATH="{Path(sys.executable).parent}:$PATH"\n'
    )


def run(commands: str, where: Path) -> str:
    """Runs commands in bash, which stops at the first that fails.

    Args:
        commands: as the page has them.
        where: the folder.

    Returns:
        What they printed.
    """
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHON": sys.executable,  # the Makefile then makes no .venv
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for inherited in ("PROJECT_ROOT", "PYTHONPATH"):
        environment.pop(inherited, None)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=where,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout
