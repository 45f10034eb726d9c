"""Files of events for TensorBoard: handed over many at a time, and one run for each stage."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import FileWriter

from src.loggers.metric_groups import OVERALL, metric_parts

_HAND_OVER_SECONDS = 1.0
_MAX_WAITING = 256  # events
STAGES = ("train", "val", "test")
# TensorBoard sorts by name: what everybody looks at comes first, what few do last.
OVERVIEW = "0 overview"
_IN_OVERVIEW = {"loss": "loss", "jnd": "within one JND", "acc": "accuracy"}
_LAST = ("grad_stats/",)


def _leave_to_the_run(failed: threading.ExceptHookArgs) -> None:
    """Print no traceback for a thread of TensorBoard's: the run's next event raises its error."""
    if not type(failed.thread).__module__.startswith("tensorboard."):
        threading.__excepthook__(failed)


class BatchingWriter:
    """Hand events to TensorBoard's writer many at a time, at most once a second.

    Each event wakes the writer's thread, which takes the interpreter away from the training step:
    some 0.3 ms each, a tenth of a small network's step.

    Args:
        writer: ``tensorboard.summary.writer.event_file_writer.EventFileWriter``.
    """

    def __init__(self, writer: Any) -> None:
        threading.excepthook = _leave_to_the_run
        self._writer = writer
        self._waiting: list[Any] = []
        self._handed_over = -_HAND_OVER_SECONDS

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def add_event(self, event: Any) -> None:
        """Take an event; hand over the first one in a second at once."""
        self._waiting.append(event)
        rested = time.monotonic() - self._handed_over >= _HAND_OVER_SECONDS
        if rested or len(self._waiting) >= _MAX_WAITING:
            self._hand_over()

    def flush(self) -> None:
        """Write everything."""
        self._hand_over()
        self._writer.flush()

    def close(self) -> None:
        """Write everything, and end the writer's thread."""
        self._hand_over()
        self._writer.close()

    def _hand_over(self) -> None:
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            self._writer.add_event(event)
        self._handed_over = time.monotonic()


class StageRuns:
    """A run of TensorBoard's for each stage, in a folder of the run's.

    TensorBoard colours by run. So training, validation and test are in one chart, in colours of
    their own, only where they are runs with the same tags.

    Args:
        folder: The run's.
        flush_secs: Seconds between two writes to a file.
    """

    def __init__(self, folder: str, flush_secs: int) -> None:
        self._folder = Path(folder)
        self._flush_secs = flush_secs
        self._writers: dict[str, Any] = {}

    def log(self, metrics: Mapping[str, float], step: int | None) -> None:
        """Write the metrics of stages, each to its own; others are left out."""
        values: dict[str, list[Summary.Value]] = {}
        for name, value in metrics.items():
            if (place := stage_tag(name)) is not None:
                stage, tag = place
                values.setdefault(stage, []).append(Summary.Value(tag=tag, simple_value=value))
        for stage, found in values.items():
            self._writer(stage).add_summary(Summary(value=found), step)

    def forget_from(self, step: int) -> None:
        """Make TensorBoard drop what an earlier process logged from this step on."""
        for stage in STAGES:
            if (self._folder / stage).is_dir():
                self._writer(stage).add_event(session_start(), step)

    def flush(self) -> None:
        """Hand everything to the system."""
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        """Write everything, and end the threads."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _writer(self, stage: str) -> Any:
        if stage not in self._writers:
            writer = FileWriter(str(self._folder / stage), flush_secs=self._flush_secs)
            writer.event_writer = BatchingWriter(writer.event_writer)
            self._writers[stage] = writer
        return self._writers[stage]


def session_start() -> Event:
    """Return the event that marks a process that goes on."""
    return Event(session_log=SessionLog(status=SessionLog.START))


def stage_tag(name: str) -> tuple[str, str] | None:
    """Return the stage of a metric, and its tag there; None for other metrics.

    Example:
        >>> stage_tag("val/loss"), stage_tag("train/decay_mae"), stage_tag("train/loss_step")
        (('val', '0 overview/loss'), ('train', 'decay/mae'), None)
    """
    stage, head, metric = metric_parts(name)
    if stage not in STAGES or metric.endswith(("_best", "_step", "_epoch")):
        return None
    if head == OVERALL and metric in _IN_OVERVIEW:
        return stage, f"{OVERVIEW}/{_IN_OVERVIEW[metric]}"
    return stage, f"{head}/{metric}"


def sorted_tag(name: str) -> str:
    """Return the tag of a metric in the run's own file: some come last in TensorBoard's lists.

    Example:
        >>> sorted_tag("grad_stats/norm_mean"), sorted_tag("val/loss")
        ('~grad_stats/norm_mean', 'val/loss')
    """
    return f"~{name}" if name.startswith(_LAST) else name
