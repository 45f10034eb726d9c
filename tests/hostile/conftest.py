"""What the tests of hostile checkpoints watch: files, the environment, and what is built."""

import functools
import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hydra
import omegaconf
import pytest
import torch

from src.model_settings import LOSSES, NETWORKS
from src.utils.errors import CheckpointError, ConfigError
from src.vimh.errors import VIMHError
from tests.hostile.attacks import CANARY, SECRET

OURS = (ConfigError, CheckpointError, VIMHError)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
    }


@pytest.fixture(autouse=True)
def canary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CANARY, SECRET)


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Runs what has to refuse a file in one sentence, and looks at what it left behind."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(what: Callable[..., Any], *arguments: Any) -> str:
        before = snapshot(tmp_path)
        with pytest.raises(OURS) as caught:
            what(*arguments)
        message = str(caught.value)
        assert snapshot(tmp_path) == before
        assert SECRET not in message
        assert len(message) < 3000
        return message

    yield run
    assert SECRET not in "".join(os.listdir(tmp_path))


class Built:
    """What was called while a checkpoint was loaded, by name."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def note(self, name: str) -> None:
        self.calls.append(name)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Built:
    """Notes each object of the tables that is built, and each way to a class by its name."""
    notes = Built()

    def watched(name: str, function: Callable[..., Any], refuse: bool) -> Callable[..., Any]:
        @functools.wraps(function)  # its signature is what the arguments are checked against
        def call(*arguments: Any, **named: Any) -> Any:
            notes.note(name)
            assert not refuse, f"{name} was called"
            return function(*arguments, **named)

        return call

    for cls in {*NETWORKS.values(), *LOSSES.values()}:
        call = watched(cls.__name__, cls.__init__, refuse=False)
        monkeypatch.setattr(cls, "__init__", call)
    for owner, name in (
        (importlib, "import_module"),
        (hydra.utils, "instantiate"),
        (hydra.utils, "get_class"),
        (hydra.utils, "get_method"),
        (hydra.utils, "get_object"),
        (omegaconf.OmegaConf, "create"),
        (omegaconf.OmegaConf, "to_container"),
        (torch, "load"),
    ):
        monkeypatch.setattr(owner, name, watched(name, getattr(owner, name), refuse=True))
    return notes
