"""TensorBoard with the network's graph, and with hyperparameters beside their metrics."""

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Unpack

import torch
from annotated_types import Interval, Len
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.fabric.utilities.logger import _add_prefix
from lightning.pytorch import loggers as lightning_loggers
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor, nn
from torch.utils.tensorboard.summary import hparams
from typing_extensions import TypedDict  # pydantic reads typing's only from Python 3.12 on

from src.loggers.event_files import (
    BatchingWriter,
    StageRuns,
    session_start,
    sorted_tag,
    stage_tag,
)
from src.loggers.hyperparameters import flat
from src.loggers.metric_groups import OVERALL, metric_parts
from src.schema.bounds import Count, PositiveCount
from src.utils.pylogger import rank_zero_only

Folder = Annotated[str, Len(1, 4096)] | Path


class WriterOptions(TypedDict, total=False):
    """Arguments for ``torch.utils.tensorboard.SummaryWriter``."""

    comment: str
    purge_step: Count | None
    max_queue: PositiveCount
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

    The metrics of training, validation and test are also runs of their own (``train``, ``val`` and
    ``test`` in the folder), with the same tags: TensorBoard then draws them in one chart, in
    different colours.

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
    _stages: StageRuns | None = None

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
            file_writer.event_writer = BatchingWriter(file_writer.event_writer)
        return experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Write scalars."""
        numbers = {name: float(value) for name, value in metrics.items()}
        values = [
            Summary.Value(tag=sorted_tag(tag), simple_value=value)
            for tag, value in _add_prefix(numbers, self._prefix, self.LOGGER_JOIN_CHAR).items()
        ]
        self.experiment._get_file_writer().add_summary(Summary(value=values), step)
        self._stage_runs().log(numbers, step)

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
        self._stage_runs().flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write everything, and close the files."""
        super().finalize(status)
        self._stage_runs().close()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what a spawned process opens itself."""
        return {**super().__getstate__(), "_stages": None}

    def _stage_runs(self) -> StageRuns:
        if self._stages is None:
            self._stages = StageRuns(self.log_dir, self._kwargs.get("flush_secs", 120))
        return self._stages

    @rank_zero_only
    def forget_from(self, step: int) -> None:
        """Make TensorBoard drop what an earlier process logged from this step on."""
        self.experiment._get_file_writer().add_event(session_start(), step)
        self._stage_runs().forget_from(step)

    @rank_zero_only
    def log_graph(
        self, model: nn.Module, input_array: Tensor | tuple[Tensor, ...] | None = None
    ) -> None:
        """Log the graph of ``model.net``, once; Lightning calls this when a run starts."""
        if not self._log_graph or self._graph_logged:
            return
        self._graph_logged = True
        network: Any = model.net
        inputs = network.example_inputs() if input_array is None else input_array
        trace_graph(self.experiment, network, inputs)

    @rank_zero_only
    def declare_hyperparameters(
        self,
        params: Mapping[str, object],
        metric_names: Sequence[str] = (),
        shown: Mapping[str, bool | int | float | str] | None = None,
    ) -> None:
        """Log hyperparameters and name the metrics that the HParams tab shows beside them.

        ``log_hyperparams(params, metrics)`` would write a value for each metric before there is
        any. This method writes the names only; the values follow when they are logged. The tab
        shows all hyperparameters, or those in ``shown``; all of them go to ``hparams.yaml``.
        """
        self.hparams = {**self.hparams, **params}
        self._hyperparameters_saved = False
        writer = self.experiment._get_file_writer()
        for summary in hparams(
            flat(params) if shown is None else dict(shown), dict.fromkeys(metric_names, 0.0)
        ):
            writer.add_summary(summary)

    @rank_zero_only
    def group_scalars(self, metric_names: Sequence[str]) -> None:
        """Lay out the Custom Scalars tab: a category for each head, its figures over all stages."""
        if layout := head_layout(metric_names):
            self.experiment.add_custom_scalars(layout)


def head_layout(metric_names: Sequence[str]) -> dict[str, dict[str, list[Any]]]:
    r"""Group charts by head, in the form that ``SummaryWriter.add_custom_scalars`` takes.

    Example:
        >>> head_layout(["train/decay_mae", "val/decay_mae", "val/jnd", "val/jnd_best"])
        {'all': {'jnd': ['Multiline', ['0\\ overview/within\\ one\\ JND$', 'val/jnd_best$']]},
         'decay': {'mae': ['Multiline', ['decay/mae$']]}}
    """
    layout: dict[str, dict[str, list[Any]]] = {OVERALL: {}}
    for name in metric_names:
        _, head, metric = metric_parts(name)
        charts = layout.setdefault(head, {})
        place = stage_tag(name)
        pattern = f"{re.escape(name if place is None else place[1])}$"
        patterns = charts.setdefault(metric.removesuffix("_best").removesuffix("_step"), [])
        if not patterns:
            patterns += ["Multiline", []]
        if pattern not in patterns[1]:
            patterns[1].append(pattern)
    return {head: charts for head, charts in layout.items() if charts}


class _TupleOutput(nn.Module):
    """A network that returns its dict of outputs as a tuple, since the tracer takes no dict."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, auxiliary: Tensor | None = None) -> Any:
        # The graph calls its inputs by these names.
        outputs = self.network(image) if auxiliary is None else self.network(image, auxiliary)
        return tuple(outputs.values()) if isinstance(outputs, dict) else outputs


def trace_graph(writer: Any, network: nn.Module, inputs: Tensor | tuple[Tensor, ...]) -> None:
    """Trace a network and write its graph; leave the network and the random states as they were."""
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
