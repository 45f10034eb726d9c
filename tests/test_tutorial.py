"""docs/tutorial.md, done: in a fresh clone, its files are written and its commands run in order."""

from pathlib import Path

import pytest

from tests.pages import ROOT, blocks, run, use_our_packages

PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")


def test_every_block_is_a_file_or_commands() -> None:
    found = blocks(PAGE)
    assert found[0].text.startswith("git clone <this repository> avix")
    for block in found:
        assert (block.language == "bash") == (block.path == ""), block
    assert PAGE.count("```") == 2 * len(found)


@pytest.mark.slow
def test_the_tutorial_works_as_it_is_written(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so there is nothing to clone")
    where = tmp_path
    for block in blocks(PAGE):
        if block.path:
            (where / block.path).write_text(block.text, encoding="utf-8")
            continue
        run(block.text.replace("<this repository>", str(ROOT)), where)
        if where == tmp_path:
            where = tmp_path / "avix"
            use_our_packages(where)
    # A new loss needs no change of the tests that hold for all of them.
    run("python -m pytest -q tests/models/losses/test_contract.py -k log_cosh", where)
    run("python -m pytest -q tests/test_suite.py -k plan", where)
    reports = list(where.glob("logs/train/runs/*/metrics.json"))
    assert len(reports) == 5
    assert len(list(where.glob("logs/train/multiruns/*/*/metrics.json"))) == 4
