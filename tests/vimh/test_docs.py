"""The examples of docs/vimh.md run as they stand."""

import re
from pathlib import Path

import numpy as np
import pytest

from src.vimh.metadata import Metadata
from src.vimh.records import DatasetWriter, check_dataset
from tests.vimh.conftest import ROOT, make_json, make_samples

EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "vimh.md").read_text(), re.S)


def test_examples_of_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = Path("data-vimh")
    images, labels, scale_factors = make_samples(6, 1, 32, 32)
    parameters = Metadata.from_json(make_json()).parameters.values()
    values = np.stack([p.dequantise(q) for p, q in zip(parameters, labels.T, strict=True)], axis=1)
    for name in ("avix-vimh-32x32x1_8000Hz_1p0s_72dss_simple_2p_shuffled", "old_set"):
        options = {"output_format": "both", "values": True}
        with DatasetWriter(data / name, make_json(1, 32, 32), **options) as writer:
            writer.write("train", images, labels, scale_factors, values)
    assert len(EXAMPLES) == 5
    for example in EXAMPLES:
        exec(compile(example, "docs/vimh.md", "exec"), {})
    out = capsys.readouterr().out
    assert "(6, 1, 32, 32)" in out
    assert str(np.asarray(-2.0 + labels[:, 1] / 255 * 2.3)) in out
    assert str(values[:3].astype(np.float32)) in out
    assert len(check_dataset(data / "my_set").train) == 30
    assert len(check_dataset(data / "new_set").train) == 6


def test_plain_numpy_takes_ten_lines() -> None:
    lines = [line for line in EXAMPLES[0].splitlines() if line]
    assert len(lines) <= 10
