"""CONTRIBUTING.md, done: its recipes are applied to a clone, which passes the checks."""

import re
import sys
from pathlib import Path

import pytest

from tests.pages import ROOT, Block, blocks, clone, run

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = {"loss": 2, "network": 2, "synthesiser": 2, "metric": 1}
TABLE = "\nAUDIO_METRICS = (\n"
# What holds for all of a kind, and derives its list from what is there.
DERIVED = {
    "tests/models/losses/test_contract.py": "power or config",
    "tests/models/test_tables.py": "",
    "tests/configs/test_model_sizes.py": "one_layer",
    "tests/evaluation/scoring/test_audio_metrics.py": "",
    "tests/test_readme.py": "synthesiser",
    "tests/test_suite.py": "plan or table",
    "tests/test_imports.py": "power or one_layer or buzz",
    "tests/test_project.py": "house_rules or docstring",
}


def recipe(kind: str) -> list[Block]:
    """The files of a recipe."""
    text = re.search(rf"^## Adding a {kind}\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)[1]
    return [block for block in blocks(text) if block.path]


@pytest.mark.parametrize(("kind", "count"), FILES.items())
def test_a_recipe_touches_few_files(kind: str, count: int) -> None:
    assert len({block.path for block in recipe(kind)}) == count
    for block in recipe(kind):
        assert (ROOT / block.path).parent.is_dir()
        assert (ROOT / block.path).exists() == (kind == "metric"), block.path


def apply(block: Block, where: Path) -> None:
    """Writes a new file; to the one of the metrics adds a function, or a row of the table."""
    path = where / block.path
    if not path.exists():
        path.write_text(block.text, encoding="utf-8")
        return
    text = path.read_text(encoding="utf-8")
    assert text.count(TABLE) == 1
    is_row = block.text.startswith(" ")
    added = TABLE + block.text if is_row else f"\n{block.text}\n{TABLE}"
    path.write_text(text.replace(TABLE, added), encoding="utf-8")


@pytest.mark.slow
def test_the_recipes_pass_the_checks(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so there is nothing to clone")
    where = clone(tmp_path)
    touched = [block for kind in FILES for block in recipe(kind)]
    for block in touched:
        apply(block, where)
    changed = run("git status --porcelain -uall", where).split()[1::2]
    assert {path for path in changed if not path.startswith(".venv")} == {b.path for b in touched}
    files = " ".join(sorted({b.path for b in touched if b.path.endswith(".py")}))
    run(f"ruff format --check {files}; ruff check {files}; mypy {files}", where)
    for path, only in DERIVED.items():
        run(
            f"{sys.executable} -m pytest -q -p no:cacheprovider {path} -m 'not slow' -k '{only}'",
            where,
        )
    run(
        "python src/train.py loss=power model=avix_one_layer_8k "
        "synth@data.source.recipe.synth=buzz "
        "data=vimh_16kdss data.source.recipe.dataset.name=buzz data.source.recipe.dataset.size=200 "
        "trainer=cpu trainer.max_epochs=1 && python src/eval.py trainer=cpu report.resamples=10 "
        'ckpt_path="$(ls logs/train/runs/*/checkpoints/last.ckpt)"',
        where,
    )
    (report,) = where.glob("logs/eval/runs/*/report.md")
    assert "envelope level" in report.read_text(encoding="utf-8")
