"""Words that are printed for copying come back as they were, through a shell and through Hydra."""

import shlex
import subprocess
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from src.utils.words import path_word, quoted, shell_word, shown_path

NAMES = [
    *("plain.wav", "saw (1).wav", "a=b.wav", "a,b.wav", "[x].wav", "it's.wav", 'say "a".wav'),
    *("a#b.wav", "José.wav", "a$^$.wav", "~/x", "12", "null", "true", "1e3", "${x}.wav", "{a}"),
    *("range(1,2)", "back\\slash", "ends\\", "my (é) [x], y=1/z", " ", "a;b&c|d", "*?!", "`x`"),
]


def parsed(override: str) -> str:
    """What the config gets."""
    value = OverridesParser.create().parse_override(override).value()
    return OmegaConf.create({"key": value}).key


@pytest.mark.parametrize("name", NAMES)
def test_hydra_reads_what_was_quoted(name: str) -> None:
    assert parsed(f"key={quoted(name)}") == name


@pytest.mark.parametrize("name", NAMES)
def test_a_shell_reads_it_too(name: str) -> None:
    word = f"key={quoted(name)}"
    assert shlex.split(shell_word(word)) == [word]
    done = subprocess.run(
        ["sh", "-c", f"printf %s {shell_word(word)}"], capture_output=True, text=True, check=True
    )
    assert parsed(done.stdout) == name


def test_a_path_is_relative_where_it_can_be(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / "runs" / "a.ckpt") == "runs/a.ckpt"
    assert shown_path("runs/a.ckpt") == "runs/a.ckpt"
    assert shown_path(tmp_path.parent / "a.ckpt") == str(tmp_path.parent / "a.ckpt")
    word = path_word("ckpt_path", tmp_path / "my (é) [x], y=1" / "epoch=3.ckpt")
    assert word == "\"ckpt_path='my (é) [x], y=1/epoch=3.ckpt'\""
