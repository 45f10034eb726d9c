"""A minute of what `make soak` does for an hour."""

import json
from pathlib import Path

from tests.faults.driver import faults, run
from tests.faults.soak import growth, soak

pytestmark = faults


def test_nothing_grows_with_the_epochs(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    answer = tmp_path / "growth.json"
    # In a fork: a process that has trained cannot be forked for training any more.
    assert run(
        lambda: answer.write_text(json.dumps(growth(soak(45, tmp_path / "run", tmp_path / "data"))))
    )
    found = json.loads(answer.read_text())
    assert found["open_files_growth"] <= 0
    assert found["log_growth_bytes"] == 0
    assert found["checkpoint_files"] == 2
    assert found["rss_growth_mb"] < 50
