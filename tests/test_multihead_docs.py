"""The examples of docs/multihead.md run as they stand."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "multihead.md").read_text(), re.S)


def test_examples_of_the_documentation() -> None:
    assert len(EXAMPLES) == 2
    single, many = {}, {}
    exec(compile(EXAMPLES[0], "docs/multihead.md", "exec"), single)
    assert single["loss"].isfinite()
    assert single["predictions"]["output"].shape == (8,)
    exec(compile(EXAMPLES[1], "docs/multihead.md", "exec"), many)
    decay = many["values"]["log10_decay_time"]
    assert decay.shape == (8,)
    assert decay.min() >= -2.0
    assert decay.max() <= 0.3


def test_experiments_and_data_that_the_documents_name_exist() -> None:
    configs = ROOT / "configs"
    there = {
        path.stem
        for group in ("data", "experiment", "model")
        for path in (configs / group).glob("*.yaml")
    }
    text = (ROOT / "docs" / "avix.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:avix|vimh|simple)_[a-z0-9_]+)`", text))
    assert len(named) > 15
    assert named - there - {"simple_3p", "simple_wide", "simple_noisy"} == set()
    endings = set(re.findall(r"`…(_[a-z0-9_]+)`", text))
    assert {e for e in endings if not any(name.endswith(e) for name in there)} == set()
