"""TensorBoard with the network's graph, and with hyperparameters beside their metrics."""

import re
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Unpack

import torch
from annotated_types import Interval, Len
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.fabric.utilities.logger import _add_prefix
from lightning.pytorch import loggers as lightning_loggers
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor, nn
from torch.utils.tensorboard.summary import hparams
from typing_extensions import TypedDict  # pydantic reads typing's only from Python 3.12 on

from src.loggers.metric_groups import group_metrics
from src.utils.pylogger import rank_zero_only

_HAND_OVER_SECONDS = 1.0
_MAX_WAITING = 256  # events

Count = Annotated[int, Interval(ge=0, le=2**31 - 1)]
Folder = Annotated[str, Len(1, 4096)] | Path


class _BatchingWriter:
    """Hand events to TensorBoard's writer many at a time, at most once a second.

    Each event wakes the writer's thread, which takes the interpreter away from the training step:
    some 0.3 ms each, a tenth of a small network's step.

    Args:
        writer: ``tensorboard.summary.writer.event_file_writer.EventFileWriter``.
    """

    def __init__(self, writer: Any) -> None:
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


class WriterOptions(TypedDict, total=False):
    """Arguments for ``torch.utils.tensorboard.SummaryWriter``."""

    comment: str
    purge_step: Count | None
    max_queue: Annotated[int, Interval(ge=1, le=2**31 - 1)]
    flush_secs: Annotated[int, Interval(ge=1, le=86_400)]
    filename_suffix: str


class TensorBoardLogger(lightning_loggers.TensorBoardLogger):
    """Lightning's TensorBoard logger for networks that return a dict by head.

    With ``log_graph=True``, Lightning's logger fails when the network returns a dict, and sends its
    example input through the hook that takes raw batches. This logger traces the network itself
    (``module.net``), wrapped so that it returns a tuple, with zeros of the shape it was built for.

    All scalars of a step are one event, events go to the writer's thread many at a time, and that
    thread flushes the file every ``flush_secs``. Lightning's logger writes one event for each
    scalar and waits for a flush at every logging step.

    Args:
        save_dir: The folder.
        name: A folder in it for the experiment; None or "": none.
        version: A folder in that for the run: a name, or the number of a ``version_<number>``;
            None: the next free number; "": none.
        log_graph: Whether to log the network's graph.
        default_hp_metric: Whether the HParams tab has a metric called ``hp_metric``.
        prefix: Before every metric's name.
        sub_dir: A folder in the version's; None: none.
        **writer: See :class:`WriterOptions`.
    """

    _graph_logged = False
    _hyperparameters_saved = False

    def __init__(
        self,
        save_dir: Folder,
        name: str | None = "lightning_logs",
        version: Count | str | None = None,
        log_graph: bool = False,
        default_hp_metric: bool = True,
        prefix: str = "",
        sub_dir: Folder | None = None,
        **writer: Unpack[WriterOptions],
    ) -> None:
        super().__init__(
            save_dir,
            name,
            version,
            log_graph=log_graph,
            default_hp_metric=default_hp_metric,
            prefix=prefix,
            sub_dir=sub_dir,
            **writer,
        )

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The ``torch.utils.tensorboard.SummaryWriter``."""
        is_new = self._experiment is None
        experiment = super().experiment
        if is_new:
            file_writer = experiment._get_file_writer()
            file_writer.event_writer = _BatchingWriter(file_writer.event_writer)
        return experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Write scalars.

        Args:
            metrics: Values by name: numbers and tensors of one element.
            step: The optimiser steps done before, or None.
        """
        values = [
            Summary.Value(tag=tag, simple_value=float(value))
            for tag, value in _add_prefix(metrics, self._prefix, self.LOGGER_JOIN_CHAR).items()
        ]
        self.experiment._get_file_writer().add_summary(Summary(value=values), step)

    @rank_zero_only
    def save(self) -> None:
        """Write ``hparams.yaml``; Lightning calls this at every logging step."""
        if not self._hyperparameters_saved:
            # Lightning would keep an existing file, also half of one that a kill left.
            Path(self.log_dir, self.NAME_HPARAMS_FILE).unlink(missing_ok=True)
            super().save()
            self._hyperparameters_saved = True

    @rank_zero_only
    def flush(self) -> None:
        """Hand everything logged so far to the system, so that a kill does not lose it."""
        self.experiment.flush()

    @rank_zero_only
    def forget_from(self, step: int) -> None:
        """Make TensorBoard drop what an earlier process logged from this step on.

        Args:
            step: The optimiser steps of the checkpoint that the run goes on from.
        """
        start = SessionLog(status=SessionLog.START)
        self.experiment._get_file_writer().add_event(Event(session_log=start), step)

    @rank_zero_only
    def log_graph(
        self, model: nn.Module, input_array: Tensor | tuple[Tensor, ...] | None = None
    ) -> None:
        """Log the graph of ``model.net``, once; Lightning calls this when a run starts.

        Args:
            model: The LightningModule; its ``net`` is a network of ``src.models.components``.
            input_array: The inputs of the trace; None: the network's own example.
        """
        if not self._log_graph or self._graph_logged:
            return
        self._graph_logged = True
        network: Any = model.net
        inputs = network.example_inputs() if input_array is None else input_array
        trace_graph(self.experiment, network, inputs)

    @rank_zero_only
    def declare_hyperparameters(
        self, params: Mapping[str, object], metric_names: Sequence[str] = ()
    ) -> None:
        """Log hyperparameters and name the metrics that the HParams tab shows beside them.

        ``log_hyperparams(params, metrics)`` would write a value for each metric before there is
        any. This method writes the names only; the values follow when they are logged.

        Args:
            params: Plain containers, at any depth.
            metric_names: Names of later scalars, such as ``"test/loss"``.
        """
        self.hparams = {**self.hparams, **params}
        self._hyperparameters_saved = False
        writer = self.experiment._get_file_writer()
        for summary in hparams(_flat(params), dict.fromkeys(metric_names, 0.0)):
            writer.add_summary(summary)

    @rank_zero_only
    def group_scalars(self, metric_names: Sequence[str]) -> None:
        """Lay out the Custom Scalars tab: a category for each head, its figures over all stages.

        The Scalars tab groups by the stage, which stands before the slash.

        Args:
            metric_names: Names of later scalars, such as ``"val/decay_mae"``.
        """
        if layout := head_layout(metric_names):
            self.experiment.add_custom_scalars(layout)


def head_layout(metric_names: Sequence[str]) -> dict[str, dict[str, list[Any]]]:
    """Group charts by head, in the form that ``SummaryWriter.add_custom_scalars`` takes.

    Args:
        metric_names: Logged names.

    Returns:
        The kind of chart and the patterns for its scalars, by head (first all of them) and figure.

    Example:
        >>> head_layout(["train/decay_mae", "val/decay_mae", "val/jnd", "val/jnd_best"])
        {'all': {'jnd': ['Multiline', ['val/jnd$', 'val/jnd_best$']]},
         'decay': {'mae': ['Multiline', ['train/decay_mae$', 'val/decay_mae$']]}}
    """
    places = {name: place for place, name in enumerate(metric_names)}
    layout: dict[str, dict[str, list[Any]]] = {}
    for head, figures in group_metrics(places).items():
        charts = layout.setdefault(head, {})
        for figure, place in figures.items():
            chart = figure.split(" ")[-1].removesuffix("_best").removesuffix("_step")
            patterns = charts.setdefault(chart, ["Multiline", []])[1]
            patterns.append(f"{re.escape(metric_names[int(place)])}$")
    return {head: charts for head, charts in layout.items() if charts}


def _flat(params: Mapping[str, object], prefix: str = "") -> dict[str, bool | int | float | str]:
    """Flatten containers to ``{"model/net/dropout": 0.1}``; write other values as text."""
    flat: dict[str, bool | int | float | str] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}/")
        else:
            name = f"{prefix}{key}"
            flat[name] = value if isinstance(value, bool | int | float | str) else str(value)
    return flat


class _TupleOutput(nn.Module):
    """A network that returns its dict of outputs as a tuple, since the tracer takes no dict."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        outputs = self.network(*inputs)
        return tuple(outputs.values()) if isinstance(outputs, dict) else outputs


def trace_graph(writer: Any, network: nn.Module, inputs: Tensor | tuple[Tensor, ...]) -> None:
    """Trace a network and write its graph; leave the network and the random states as they were.

    Args:
        writer: A ``torch.utils.tensorboard.SummaryWriter``.
        network: Returns a tensor, a tuple or a dict of tensors.
        inputs: The network's arguments.
    """
    training = {module: module.training for module in network.modules()}
    # The tracer refuses a compiled network; Module.compile() keeps it in this attribute.
    compiled, network._compiled_call_impl = network._compiled_call_impl, None
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        # add_graph still uses torch.jit.trace, which torch itself has deprecated.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        # A trace makes the checks of shapes in forward() constants, which is right here.
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        writer.add_graph(_TupleOutput(network).eval(), inputs)
    network._compiled_call_impl = compiled
    for module, was_training in training.items():
        module.training = was_training
