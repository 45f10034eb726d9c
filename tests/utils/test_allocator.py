import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from src.utils.utils import keep_freed_memory
assert sys.argv[1] != "keep" or keep_freed_memory()
np.ones(5_000_000)  # 40 MB, above what glibc ever keeps by itself
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(5_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_memory_is_used_again() -> None:
    def faults(word: str) -> int:
        command = [sys.executable, "-c", FAULTS, word]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    # In huge pages a page is 2 MB; 20 arrays are 400 of them.
    assert faults("keep") < 100 < faults("not")
