"""The folder that a data set is made in."""

import sys
import time
from pathlib import Path

import pytest

from src.data.dataset_files import DatasetFiles
from src.data.sources.digits import DigitsSource
from src.vimh.errors import VIMHError


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_folder_that_takes_no_file_is_refused_at_once() -> None:
    """In /proc there is no such file, ever, and a lock would wait for it."""
    started = time.monotonic()
    with pytest.raises(VIMHError, match=r"^/proc/vimh.*cannot be written.*another folder"):
        DatasetFiles(None, DigitsSource("/proc"), "fast").make_if_missing()
    assert time.monotonic() - started < 5


def test_a_file_in_the_way_of_the_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(VIMHError, match=r"cannot be written: (Not a directory|File exists)"):
        DatasetFiles(None, DigitsSource(tmp_path / "file"), "fast").make_if_missing()
