"""Work in threads with the results in order, and a progress bar."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as ProgressTask
from rich.text import Text

Item = TypeVar("Item")
Result = TypeVar("Result")
Advance = Callable[[str, int, int], None]  # what, done, total

# Tasks of each thread that may wait or be finished while a chunk is being written.
_AHEAD = 4
_FREED_BYTES = 2**25 - 2**16  # glibc ignores blocks of 32 MB and more


def available_cores() -> int:
    """Cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def reuse_freed_blocks() -> None:
    """Let glibc keep what is freed for the next block, instead of giving it back each time.

    Its threshold for that follows the largest block that was freed so far (mallopt(3),
    "M_MMAP_THRESHOLD"), so freeing one of 32 MB, of which no page was ever touched, is enough.
    Without it the page faults take two thirds of the time of generating. Elsewhere: no effect.
    """
    np.empty(_FREED_BYTES, np.uint8)


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result, in the items' order; threads work some way ahead.

    The number of results that wait is bounded. Threads suffice: NumPy, SciPy and torch let go of
    the interpreter while they work. Until the last result, torch's own threads are one each.
    Without a number of threads, there is one for each core.

    Example:
        >>> list(in_order(lambda x: x * x, range(4), threads=2))
        [(0, 0), (1, 1), (2, 4), (3, 9)]
    """
    workers = threads or available_cores()
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    source = iter(items)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="synth")
    torch_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # also of threads that begin now
    try:
        ahead = islice(source, workers * _AHEAD)
        waiting.extend((item, pool.submit(function, item)) for item in ahead)
        while waiting:
            item, future = waiting.popleft()
            result = future.result()
            waiting.extend((next_, pool.submit(function, next_)) for next_ in islice(source, 1))
            yield item, result
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(torch_threads)


class _SamplesPerSecond(ProgressColumn):
    """Samples a second, over the last seconds."""

    def render(self, task: ProgressTask) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} samples/s")


@contextmanager
def progress_bar(visible: bool) -> Iterator[Advance]:
    """A progress bar on the terminal; yields ``advance(what, done, total)``."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _SamplesPerSecond(),
        TimeRemainingColumn(),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, disable=not visible) as progress:

        def advance(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done)

        yield advance
