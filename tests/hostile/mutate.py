"""Loads many mutated checkpoints in one process, and prints what became of them as JSON.

``python -m tests.hostile.mutate SEED CASES FOLDER``: ends with an error at the first case that is
neither a model nor one of our errors, that takes long, or that leaves a file.
"""

import collections
import json
import os
import resource
import sys
import time
from pathlib import Path

import torch

from src.checkpoint import check_content, load_model, read_checkpoint
from tests.hostile.attacks import CANARY, FOLDER, NAMES, SECRET, Mutations, write
from tests.hostile.conftest import OURS

MAX_SECONDS = 8.0
MEMORY_KB = 200 * 1024


def main(seed: int, cases: int, folder: Path) -> None:
    os.environ[CANARY] = SECRET
    torch.set_num_threads(1)
    for name in NAMES:  # what the first loads take is no case's
        load_model(read_checkpoint(FOLDER / f"{name}.ckpt"))
    os.chdir(folder)
    mutations, counts = Mutations(seed), collections.Counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    largest, slowest = 0, 0.0
    for number in range(cases):
        # Every fourth goes through a file; the rest are checked as they would be read.
        content = mutations.draw(whole=number % 16 == 0)
        start = time.monotonic()
        path = folder / ("case.ckpt" if number % 8 else "case.safetensors")
        try:
            if number % 4 == 0:
                try:
                    write(content, path)
                except (TypeError, ValueError, KeyError, AttributeError, RuntimeError, MemoryError):
                    path.unlink(missing_ok=True)
                    counts["unwritable"] += 1
                    continue
                largest = max(largest, path.stat().st_size)
                start = time.monotonic()
                checkpoint = read_checkpoint(path)
            else:
                checkpoint = check_content(content, FOLDER / "simple_cnn.ckpt")
            model = load_model(checkpoint)
            assert SECRET not in json.dumps(model.provenance)
            counts["loaded"] += 1
        except OURS as error:
            assert SECRET not in str(error)  # noqa: PT017 - one of many
            counts["refused"] += 1
        except BaseException:
            sys.stderr.write(f"seed {seed}, case {number}\n")
            raise
        slowest = max(slowest, time.monotonic() - start)
        path.unlink(missing_ok=True)
        assert os.listdir(folder) == [], f"seed {seed}, case {number} left {os.listdir(folder)}"
        assert slowest < MAX_SECONDS, f"seed {seed}, case {number} took {slowest} s"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < MEMORY_KB + 4 * largest // 1024, f"{grown} kB more"
    print(json.dumps({**counts, "grown_kb": grown, "slowest_s": round(slowest, 2)}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
