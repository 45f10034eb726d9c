"""docs/adding_a_synthesizer.md, done: its files are written and its commands run, in a clone."""

import json
from pathlib import Path

import pytest

from tests.pages import ROOT, blocks, clone, run

PAGE = (ROOT / "docs" / "adding_a_synthesizer.md").read_text(encoding="utf-8")


def test_one_class_and_one_yaml_file() -> None:
    found = blocks(PAGE)
    assert PAGE.count("```") == 2 * len(found)
    files = [block.path for block in found if block.path and not block.path.startswith("tests/")]
    assert files == [
        "src/synth/fm.py", "configs/synth/fm.yaml", "src/synth/bar.py", "configs/synth/bar.yaml",
    ]  # fmt: skip
    assert {block.language for block in found if not block.path} == {"bash"}


@pytest.mark.slow
def test_the_page_works_as_it_is_written(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so there is nothing to clone")
    where = clone(tmp_path)
    for block in blocks(PAGE):
        if block.path:
            (where / block.path).write_text(block.text, encoding="utf-8")
        else:
            run(block.text, where)
    assert (where / "fm.png").stat().st_size > 10_000
    assert len(list(where.glob("data-vimh/*_fm_2p"))) == 1  # training found the set
    assert len(list(where.glob("data-vimh/*_bar_2p"))) == 1
    (report,) = where.glob("logs/train/runs/*/metrics.json")
    assert set(json.loads(report.read_text())["parameters"]) == {
        "modulation_index", "log10_decay_time",
    }  # fmt: skip
    assert len(list(where.glob("logs/predict/runs/*/*_resynthesised.wav"))) == 3
