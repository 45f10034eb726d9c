"""Small folders of sounds with their tables."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import notes, write_sounds

Folder = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """`folder(20)`: so many notes in `tmp_path / "sounds"`."""

    def made(count: int = 20, name: str = "sounds") -> Path:
        return write_sounds(tmp_path / name, notes(count))

    return made
