import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lightning_utilities.core.rank_zero import rank_zero_only

from src.utils.pylogger import RankedLogger, silence_lightning_tips


def test_messages_name_the_rank(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    every, first = RankedLogger("a"), RankedLogger("a", rank_zero_only=True)
    every.info("one %s", 1)
    monkeypatch.setitem(vars(rank_zero_only), "rank", 2)
    every.info("two")
    first.info("not this")
    every.info("nor this", rank=1)
    first.info("but this", rank=2)
    assert caplog.messages == ["one 1", "[rank: 2] two", "[rank: 2] but this"]


def test_light_and_usable_without_lightning(project_root: Path) -> None:
    program = (
        "import sys, src.utils, logging;"
        "logging.basicConfig(level='INFO', format='%(filename)s:%(message)s');"
        "src.utils.RankedLogger('a', rank_zero_only=True).info('not on this rank');"
        "src.utils.RankedLogger('a').info('here');"
        "heavy = {'torch', 'lightning', 'wandb', 'mlflow', 'tensorboard', 'matplotlib'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project_root,
        env={**os.environ, "LOCAL_RANK": "1", "PYTHONPATH": str(project_root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
    assert done.stderr == "<string>:[rank: 1] here\n"


def test_tips_are_dropped(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    before = list(log.filters)
    caplog.set_level(logging.INFO)
    try:
        log.filters.clear()
        silence_lightning_tips()
        silence_lightning_tips()
        assert len(log.filters) == 1
        log.info("💡 Tip: install this")
        log.info("GPU available: False")
    finally:
        log.filters[:] = before
    assert caplog.messages == ["GPU available: False"]
