import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lightning_utilities.core.rank_zero import rank_zero_only

from src.utils.pylogger import RankedLogger, ScreenFormatter, silence_lightning


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


def test_tips_and_what_the_run_says_itself_are_dropped(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    before = list(log.filters)
    caplog.set_level(logging.INFO)
    try:
        log.filters.clear()
        silence_lightning()
        silence_lightning()
        assert len(log.filters) == 1
        log.info("💡 Tip: install this")
        log.info("GPU available: False, used: False")
        log.info("Restoring states from the checkpoint path at /a")
        log.info("something else")
    finally:
        log.filters[:] = before
    assert caplog.messages == ["something else"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("level", "stream", "expected"),
    [
        (logging.INFO, io.StringIO(), "7 of 8"),
        (logging.WARNING, io.StringIO(), "warning: 7 of 8"),
        (logging.ERROR, io.StringIO(), "error: 7 of 8"),
        (logging.INFO, Terminal(), "7 of 8"),
        (logging.WARNING, Terminal(), "\x1b[33mwarning:\x1b[0m 7 of 8"),
        (logging.ERROR, Terminal(), "\x1b[31merror:\x1b[0m 7 of 8"),
    ],
)
def test_colours_are_for_a_terminal(
    level: int, stream: io.StringIO, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stdout", stream)
    record = logging.LogRecord("a", level, "a.py", 1, "%d of %d", (7, 8), None)
    assert ScreenFormatter().format(record) == expected
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in ScreenFormatter().format(record)
