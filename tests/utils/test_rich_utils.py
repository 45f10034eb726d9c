import io
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from rich.prompt import Prompt
from rich.table import Table

from src.utils import ConfigError, enforce_tags, print_config_tree
from src.utils.rich_utils import plain_console


def config(tmp_path: Path, **values: object) -> object:
    values = {"seed": 1, "paths": {"output_dir": str(tmp_path)}} | values
    return OmegaConf.create(values)


def test_tree(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cfg = config(tmp_path, data={"seed": "${seed}", "root": "???"}, ckpt_path="???")
    print_config_tree(cfg, resolve=True, save_to_file=True)
    shown = capsys.readouterr().out
    saved = (tmp_path / "config_tree.log").read_text()
    for text in (shown, saved):
        lines = [line.strip("├└─│ ") for line in text.splitlines()]
        assert lines[:4] == ["CONFIG", "data:", "seed: 1", "root: ???"]  # data comes first
        assert "ckpt_path: ???" in lines


def test_tree_unresolved(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    print_config_tree(config(tmp_path, other="${seed}"))
    assert "other: ${seed}" in capsys.readouterr().out


def test_names_are_no_markup(capsys: pytest.CaptureFixture) -> None:
    table = Table("[a]", title="runs/[b]/:x:")
    table.add_row("[red]c[/]")
    plain_console(width=60).print("takes [d]/:smile:.wav", table)
    shown = capsys.readouterr().out
    for text in ("takes [d]/:smile:.wav", "[a]", "runs/[b]/:x:", "[red]c[/]"):
        assert text in shown


def test_tags_are_written(tmp_path: Path) -> None:
    enforce_tags(config(tmp_path, tags=["a", "b"]), save_to_file=True)
    assert (tmp_path / "tags.log").read_text() == "a\nb\n"


def test_one_tag_is_no_list_of_letters(tmp_path: Path) -> None:
    enforce_tags(config(tmp_path, tags="first"), save_to_file=True)
    assert (tmp_path / "tags.log").read_text() == "first\n"


def test_tags_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = config(tmp_path, tags=[])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(Prompt, "ask", lambda *args, **kwargs: "first, second,")
    enforce_tags(cfg)
    assert cfg.tags == ["first", "second"]


def test_nobody_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(ConfigError, match="no terminal"):
        enforce_tags(config(tmp_path))
