"""Pickles that are made to take time or memory: bounded by their size, and one error of our own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.vimh.conftest import ROOT, make_json
from tests.vimh.pickle_bombs import BOMBS

MEGABYTE = 2**20
# Processor seconds for 1 MB: the slowest take one on a machine of 2020; the worst once took 40.
SECONDS_A_MEGABYTE = 6.0
CHILD = """
import json, os, resource, sys, time
from pathlib import Path
from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata
from src.vimh.pickles import read_pickle

metadata = Metadata.from_json(json.loads(sys.argv[1]))
for path in map(Path, sys.argv[2:]):
    child = os.fork()
    if not child:
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        most = in_use + 4 * path.stat().st_size + 200_000_000
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
        started, ending = time.process_time(), "read"
        try:
            read_pickle(path, metadata)
        except VIMHError as error:
            ending = "refused" if len(str(error)) < 1000 else "a message of %d" % len(str(error))
        except BaseException as error:
            ending = f"{type(error).__name__}: {error}"[:300]
        print(json.dumps([path.name, ending, time.process_time() - started]), flush=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        print(json.dumps([path.name, f"ended by {status}", 0.0]), flush=True)
"""


def endings(folder: Path, bombs: dict[str, bytes], **more: Any) -> dict[str, tuple[str, float]]:
    """How reading each ends, and its seconds, in processes of 4 times its size and 200 MB."""
    names = {}
    for number, (name, data) in enumerate(bombs.items()):
        names[f"{number}_batch"] = name
        (folder / f"{number}_batch").write_bytes(data)
    info = json.dumps(make_json(**more))
    paths = [str(folder / name) for name in names]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, info, *paths],
        capture_output=True, text=True, cwd=ROOT, check=False, env=os.environ | {"PYTHONPATH": "."},
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(bombs), done.stderr
    return {names[name]: (ending, seconds) for name, ending, seconds in lines}


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are those of Linux")
@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [0.25, 1, 8])
def test_bombs_take_no_more_than_their_size_warrants(tmp_path: Path, megabytes: float) -> None:
    bombs = {name: make(int(megabytes * MEGABYTE)) for name, make in BOMBS.items()}
    found = endings(tmp_path, bombs)
    assert {name: end for name, (end, _) in found.items() if end not in ("refused", "read")} == {}
    slow = {n: s for n, (_, s) in found.items() if s > SECONDS_A_MEGABYTE * max(1, megabytes)}
    assert slow == {}
    harmless = {
        "one row of bytes", "one row of numbers", "one row of a tuple",
        "one list, extended by nothing",
    }  # fmt: skip
    if megabytes < 1:  # so few of them are no bomb
        harmless.add("lists on the stack")
    assert {name for name, (ending, _) in found.items() if ending == "read"} <= harmless
