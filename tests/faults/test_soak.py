"""A minute of what `make soak` does for an hour."""

from pathlib import Path

from tests.faults.driver import faults
from tests.faults.soak import growth, soak

pytestmark = faults


def test_nothing_grows_with_the_epochs(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    found = growth(soak(45, tmp_path / "run", tmp_path / "data"))
    assert found["open_files_growth"] <= 0
    assert found["log_growth_bytes"] == 0
    assert found["checkpoint_files"] == 2
    assert found["rss_growth_mb"] < 50
