"""A progress bar with the metrics in one row per head, or plain lines without a terminal.

The bar draws on a console of its own and without a thread. Lightning's RichProgressBar replaces
Rich's global console and empties the stack of its live displays, so that another display fails
with ``IndexError: pop from empty list``. This bar shares nothing that could be popped.
"""

import math
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any

from annotated_types import Interval, Predicate, doc
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar as Bar
from rich.table import Table
from rich.text import Text

from src.callbacks.gradient_stats import GradientStats
from src.loggers.metric_groups import GRADIENTS, OVERALL, format_groups, group_metrics, main_metrics
from src.schema.bounds import Count, Real, Seconds
from src.utils.errors import ConfigError

_BAR_WIDTH = 30


def _is_number_format(text: str) -> bool:
    try:
        return format(0.5, text) != text
    except ValueError:
        return False


NumberFormat = Annotated[
    str, Predicate(_is_number_format), doc("the format of a number, such as .4g")
]


@dataclass
class _Phase:
    """One pass over a loader."""

    description: str
    total: float
    completed: int = 0
    started_s: float = field(default_factory=time.monotonic)

    @property
    def progress(self) -> str:
        total = f"{self.total:.0f}" if math.isfinite(self.total) else "?"
        return f"{self.completed}/{total}"

    @property
    def timing(self) -> str:
        """Time taken, time left, and speed."""
        elapsed_s = max(time.monotonic() - self.started_s, 1e-9)
        speed_hz = self.completed / elapsed_s
        taken = timedelta(seconds=int(elapsed_s))
        if speed_hz == 0 or not math.isfinite(self.total):
            return f"{taken}  {speed_hz:.1f} it/s"
        left = timedelta(seconds=int((self.total - self.completed) / speed_hz))
        return f"{taken} + {left}  {speed_hz:.1f} it/s"


def _logged(trainer: Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


class GroupedProgressBar(ProgressBar):
    """Progress of an epoch with speed and time left, and below it the metrics, one row per head.

    Args:
        refresh_rate: The highest rate of drawing, in Hz. Drawing takes a few milliseconds of the
            training's own time.
        plain_interval_s: Without a terminal: the shortest time between two lines, in seconds. The
            last epoch always gets a line. A line has the main figures of all heads together.
        with_gradients: Whether a row shows the latest figures of ``gradient_stats``.
        by_head: Whether each head has a row; False: only the metrics of all heads together.
        max_heads: The most heads that get a row.
        value_format: The format of a metric.
        leave: Whether the bar stays on the screen at the end.

    Raises:
        ConfigError: If an argument is out of range.
    """

    def __init__(
        self,
        refresh_rate: Annotated[Real, Interval(gt=0, le=1000)] = 2.0,
        plain_interval_s: Seconds = 10.0,
        with_gradients: bool = False,
        by_head: bool = True,
        max_heads: Count = 8,
        value_format: NumberFormat = ".4g",
        leave: bool = True,
    ) -> None:
        super().__init__()
        if refresh_rate <= 0:
            raise ConfigError(
                f"progress_bar.refresh_rate: expected more than 0 Hz, found {refresh_rate}; "
                "callbacks.progress_bar=null takes the bar away"
            )
        self.refresh_rate = refresh_rate
        self.plain_interval_s = plain_interval_s
        self.with_gradients = with_gradients
        self.by_head = by_head
        self.max_heads = max_heads
        self.value_format = value_format
        self.leave = leave
        self._enabled = True
        self._console: Console | None = None
        self._live: Live | None = None
        self._gradients: GradientStats | None = None
        self._lines: dict[str, str] = {}
        self._phase: _Phase | None = None
        self._outer: _Phase | None = None
        self._next_draw_s = 0.0

    def __getstate__(self) -> dict[str, object]:
        """Leave out consoles, which hold locks; a spawned process makes its own."""
        return self.__dict__ | {"_console": None, "_live": None}

    # The interface of Lightning's progress bars.

    def enable(self) -> None:
        """Show the bar again; Lightning's tuner calls this."""
        self._enabled = True

    def disable(self) -> None:
        """Hide the bar: in all processes but the first, and while the tuner works."""
        self._enabled = False
        self._stop()

    def print(self, *args: object, sep: str = " ", **kwargs: Any) -> None:
        """Print above the bar."""
        text = sep.join(str(arg) for arg in args)
        self._own_console().print(
            text, markup=False, emoji=False, highlight=False, soft_wrap=True, **kwargs
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the gradient statistics among the callbacks.

        Raises:
            ConfigError: If ``with_gradients`` is true and no callback measures gradients.
        """
        super().setup(trainer, pl_module, stage)
        if not self.with_gradients:
            return
        found = [c for c in trainer.callbacks if isinstance(c, GradientStats)]  # type: ignore[attr-defined]
        if not found:
            raise ConfigError(
                "callbacks.progress_bar.with_gradients=true shows the figures of "
                "callbacks.gradient_stats, which is not among the callbacks; add it, or set this "
                "to false"
            )
        self._gradients = found[0]

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the terminal back."""
        self._stop()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Give the terminal back before a traceback is printed."""
        self._stop()

    # The phases of a run. Metrics are read only where Lightning has no reduction pending: elsewhere
    # a read in this process alone would wait for the other processes for ever.

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin an epoch; without a terminal, the epoch before gets its line."""
        due = trainer.current_epoch > 0 and time.monotonic() >= self._next_draw_s
        if due and self._live is None:
            self._draw(trainer)
        last = trainer.max_epochs
        of = "" if last is None or last < 0 else f"/{last - 1}"
        self._begin(f"Epoch {trainer.current_epoch}{of}", self.total_train_batches)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count a batch; draw now and then."""
        self._advance(trainer, batch_idx + 1)

    on_validation_batch_end = on_train_batch_end
    on_test_batch_end = on_train_batch_end
    on_predict_batch_end = on_train_batch_end

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the last state, which stays on the screen."""
        self._draw(trainer)
        self._stop()

    on_test_end = on_train_end
    on_predict_end = on_train_end

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a validation: a few batches before training, inside of an epoch, or on its own."""
        if trainer.sanity_checking:
            self._begin("Sanity check", sum(trainer.num_sanity_val_batches))
            return
        epoch = self._outer = self._phase if trainer.state.fn == "fit" else None
        description = "Validation" if epoch is None else f"{epoch.description} validation"
        self._begin(description, sum(trainer.num_val_batches))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Return to the epoch that the validation belongs to."""
        if trainer.state.fn == "validate":
            self.on_train_end(trainer, pl_module)
        elif self._outer is not None:
            self._phase, self._outer = self._outer, None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a test."""
        self._begin("Test", sum(trainer.num_test_batches))

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a prediction."""
        self._begin("Predict", sum(trainer.num_predict_batches))

    # Drawing.

    def _own_console(self) -> Console:
        if self._console is None:
            self._console = Console()
        return self._console

    def _begin(self, description: str, total: int | float) -> None:
        if not self._enabled:
            return
        self._phase = _Phase(description, float(total))
        console = self._own_console()
        if self._live is None and (console.is_interactive or console.is_jupyter):
            self._live = Live(
                get_renderable=self._render,
                console=console,
                auto_refresh=False,
                transient=not self.leave,
            )
            self._live.start()

    def _advance(self, trainer: Trainer, completed: int) -> None:
        if self._phase is None:
            return
        self._phase.completed = completed
        now = time.monotonic()
        if now < self._next_draw_s:
            return
        # Without a terminal one line per epoch is enough, unless the epoch is long.
        if self._live is not None or now - self._phase.started_s > self.plain_interval_s:
            self._draw(trainer)

    def _draw(self, trainer: Trainer) -> None:
        if not self._enabled or self._phase is None:
            return
        if self._live is not None:
            self._lines = self._metric_lines(trainer)
            self._live.refresh()
            interval_s = 1 / self.refresh_rate
        else:
            phase, metrics = self._phase, main_metrics(_logged(trainer))
            found = [f"{name} {value:{self.value_format}}" for name, value in metrics.items()]
            found += [f"{n} {v:{self.value_format}}" for n, v in self._gradient_figures(trainer)]
            self.print("  ".join([phase.description, phase.progress, phase.timing, *found]))
            interval_s = self.plain_interval_s
        self._next_draw_s = time.monotonic() + interval_s

    def _gradient_figures(self, trainer: Trainer) -> list[tuple[str, float]]:
        if self._gradients is None or trainer.state.fn != "fit":
            return []
        latest = self._gradients.latest.items()
        return [(name, value) for name, value in latest if name.startswith(("norm_", "snr_"))]

    def _metric_lines(self, trainer: Trainer) -> dict[str, str]:
        groups = group_metrics(_logged(trainer))
        if not self.by_head:
            groups = {OVERALL: groups[OVERALL]}
        if gradients := self._gradient_figures(trainer):
            groups[GRADIENTS] = dict(gradients)
        return format_groups(groups, self.value_format, self.max_heads)

    def _render(self) -> RenderableType:
        phase = self._phase
        if phase is None:
            return Text()
        known = math.isfinite(phase.total)
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            phase.description,
            Bar(
                total=max(phase.total, 1.0) if known else None,
                completed=phase.completed,
                width=_BAR_WIDTH,
                pulse=not known,
            ),
            phase.progress,
            Text(phase.timing, style="dim"),
        )
        metrics = Table.grid(padding=(0, 2))
        name_width = max((len(group) for group in self._lines), default=0)
        metrics.add_column(style="bold", no_wrap=True, min_width=name_width)
        metrics.add_column()  # wraps, so that a narrow terminal hides nothing
        for group, text in self._lines.items():
            metrics.add_row(Text(group), Text(text))
        return Group(bar, metrics)

    def _stop(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()
        self._phase = self._outer = None
