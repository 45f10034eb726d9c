"""docs/tutorial.md, done: in a fresh clone, its files are written and its commands run in order."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block of the page: a file where it has a path, else commands."""

    language: str
    path: str
    text: str


def blocks() -> list[Block]:
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    return [Block(*found) for found in BLOCK.findall(page)]


def test_every_block_is_a_file_or_commands() -> None:
    found = blocks()
    assert found[0].text.startswith("git clone <this repository> avix")
    for block in found:
        assert (block.language == "bash") == (block.path == ""), block
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    assert page.count("```") == 2 * len(found)


@pytest.mark.slow
def test_the_tutorial_works_as_it_is_written(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so there is nothing to clone")
    where = tmp_path
    for block in blocks():
        if block.path:
            (where / block.path).write_text(block.text, encoding="utf-8")
            continue
        run(block.text.replace("<this repository>", str(ROOT)), where)
        if where == tmp_path:
            where = tmp_path / "avix"
            use_our_packages(where)
    reports = list(where.glob("logs/train/runs/*/metrics.json"))
    assert len(reports) == 5
    assert len(list(where.glob("logs/train/multiruns/*/*/metrics.json"))) == 4


def use_our_packages(clone: Path) -> None:
    """A .venv that needs no download: the interpreter of the tests."""
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "bin" / "activate").write_text(
        f'PATH="{Path(sys.executable).parent}:$PATH"\n'
    )


def run(commands: str, where: Path) -> None:
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
