"""Checkpoints with a few parts changed at random: a model, or one of our errors."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


def run(seed: int, cases: int, folder: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.mutate", str(seed), str(cases), str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.slow
def test_mutated_checkpoints_load_or_are_refused(tmp_path: Path) -> None:
    counts = run(1, 120, tmp_path)
    assert counts["loaded"] > 20
    assert counts["refused"] > 20


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_many_mutated_checkpoints_load_or_are_refused(seed: int, tmp_path: Path) -> None:
    run(seed, 5_400, tmp_path)  # one in twenty cannot be written, and does not count
