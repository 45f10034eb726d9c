import io
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from rich.prompt import Prompt
from rich.table import Table

from src.utils import ConfigError, enforce_tags, write_config_tree
from src.utils.rich_utils import plain_console, print_table


def config(tmp_path: Path, **values: object) -> object:
    values = {"seed": 1, "paths": {"output_dir": str(tmp_path)}} | values
    return OmegaConf.create(values)


def test_tree(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cfg = config(tmp_path, data={"seed": "${seed}", "root": "???"}, ckpt_path="???")
    write_config_tree(cfg, show=True)
    shown = capsys.readouterr().out
    saved = (tmp_path / "config_tree.log").read_text()
    for text in (shown, saved):
        lines = [line.strip("├└─│ ") for line in text.splitlines()]
        assert lines[:4] == ["CONFIG", "data:", "seed: 1", "root: ???"]  # data comes first
        assert "ckpt_path: ???" in lines


def test_the_tree_is_on_the_screen_only_if_it_is_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    write_config_tree(config(tmp_path))
    assert capsys.readouterr().out == ""
    assert "seed: 1" in (tmp_path / "config_tree.log").read_text()


FIGURES = {"MAE": "0.01234", "of range": "35.69 %", "within 1 JND": "100.0 %", "accuracy": "57.1 %"}
NAMES = ("log10_decay_time", "least squares (aux)")


def shown(width: int, names: tuple[str, ...] = NAMES) -> str:
    table = Table(title="7 samples", caption="the end")
    for name in ("parameter", "method"):
        table.add_column(name, overflow="fold")
    for name in FIGURES:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(*names, *FIGURES.values())
    console = plain_console(width)
    with console.capture() as said:
        print_table(console, table)
    return said.get()


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_no_figure_is_cut_however_narrow_the_terminal_is(width: int) -> None:
    text = shown(width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "…" not in text
    for figure in FIGURES.values():
        assert text.count(figure) == 1, (figure, text)
    for once in ("7 samples", "the end"):
        assert text.count(once) == 1


def test_names_are_broken_at_blanks_before_figures_go_below() -> None:
    assert "within 1 JND" in shown(120)
    narrow = shown(80, ("log10_decay_time", "least squares of it (aux)"))
    assert narrow.count("┏") == 1
    assert "log10_decay_time" in narrow
    assert "│ least squares of │" in narrow
    assert shown(60).count("┏") == 2
    assert shown(60).count("│ log10_decay_time ") == 2  # a name in every part


def test_a_name_wider_than_the_terminal_is_broken_anywhere() -> None:
    text = shown(40, (50 * "p", 50 * "m"))
    assert text.count("p") >= 50
    for figure in FIGURES.values():
        assert figure in text


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
