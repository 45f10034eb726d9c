import io
import pickle
import re
import time
from typing import Any

import pytest
import rich
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.tuner import Tuner
from rich.console import Console
from rich.progress import Progress

from src.callbacks import grouped_progress_bar
from src.callbacks.gradient_stats import GradientStats
from src.callbacks.grouped_progress_bar import GroupedProgressBar
from src.utils.errors import ConfigError
from tests.callbacks.fakes import Remembers, SmallModule, loader, trainer


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal of 120 columns would get from every bar's own console."""
    screen = io.StringIO()
    monkeypatch.setattr(
        grouped_progress_bar,
        "Console",
        lambda: Console(file=screen, force_terminal=True, width=120, color_system=None),
    )
    return screen


@pytest.fixture
def global_terminal() -> Any:
    """Rich's global console, which other displays share, as a terminal."""
    rich.reconfigure(file=io.StringIO(), force_terminal=True)
    yield rich.get_console()
    rich.reconfigure()


def fit(tmp_path: Any, *callbacks: Callback, **kwargs: Any) -> None:
    fitting = trainer(tmp_path, callbacks=list(callbacks), **kwargs)
    module = SmallModule()
    fitting.fit(module, loader(), loader(2))
    fitting.validate(module, loader(2), verbose=False)
    fitting.test(module, loader(2), verbose=False)
    fitting.predict(module, loader(2))


def test_draws_epochs_and_a_row_for_each_head(tmp_path: Any, terminal: io.StringIO) -> None:
    fit(tmp_path, GroupedProgressBar(refresh_rate=1e9))
    screen = terminal.getvalue()
    for expected in ("Sanity check", "Epoch 1/1 ━", "Epoch 1/1 validation", "Test", "Predict"):
        assert expected in screen
    assert "level val mae_jnd 0.25" in " ".join(screen.split())


def test_rows_of_heads_can_be_left_out(tmp_path: Any, terminal: io.StringIO) -> None:
    fit(tmp_path, GroupedProgressBar(refresh_rate=1e9, by_head=False))
    assert "mae_jnd" not in terminal.getvalue()
    assert "val loss" in terminal.getvalue()


def test_gradients_have_a_row(tmp_path: Any, terminal: io.StringIO) -> None:
    bar = GroupedProgressBar(refresh_rate=1e9, with_gradients=True)
    fit(tmp_path, bar, GradientStats(), logger=Remembers())
    assert "gradients norm_mean" in " ".join(terminal.getvalue().split())


def test_gradients_that_nobody_measures(tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match="gradient_stats"):
        fit(tmp_path, GroupedProgressBar(with_gradients=True))


def test_plain_text_without_a_terminal(tmp_path: Any, capsys: pytest.CaptureFixture) -> None:
    fit(tmp_path, GroupedProgressBar())
    lines = capsys.readouterr().out.splitlines()
    # The interval is ten seconds: the first epoch, and the last state of each pass.
    shown = ["Epoch 0/1", "Epoch 1/1", "Validation", "Test", "Predict"]
    assert [line.split("  ")[0] for line in lines] == shown
    assert "6/6" in lines[1]
    assert re.search(r"train loss \S+  val loss \S+$", lines[1])
    assert max(map(len, lines)) <= 120  # one figure a head would be hundreds of characters
    assert "\x1b" not in "".join(lines)


def test_plain_text_gives_each_epoch_a_line(tmp_path: Any, capsys: pytest.CaptureFixture) -> None:
    bar = GroupedProgressBar(plain_interval_s=1e-9)
    trainer(tmp_path, callbacks=[bar], max_epochs=3).fit(SmallModule(), loader(), loader(2))
    shown = [line.split("  ")[:2] for line in capsys.readouterr().out.splitlines()]
    for epoch in ("0", "1", "2"):
        assert [f"Epoch {epoch}/2", "6/6"] in shown


def test_drawing_is_rare(tmp_path: Any, terminal: io.StringIO) -> None:
    draws = []

    class Counted(GroupedProgressBar):
        def _draw(self, trainer: Any) -> None:
            draws.append(time.monotonic())
            super()._draw(trainer)

    started = time.monotonic()
    fitting = trainer(tmp_path, callbacks=[Counted(refresh_rate=2.0)], max_epochs=1)
    fitting.fit(SmallModule(), loader(num_batches=300), loader(2))
    assert len(draws) <= 2 * (time.monotonic() - started) + 3


# Two live displays at once: "IndexError: pop from empty list" with Lightning's own bar.


def test_a_display_that_is_live_around_training(
    tmp_path: Any, terminal: io.StringIO, global_terminal: Console
) -> None:
    with Progress(console=global_terminal) as generating:
        generating.add_task("generating")
        fit(tmp_path, GroupedProgressBar())
    # Both displays have ended: the cursor is back, and another display can begin.
    screen = global_terminal.file.getvalue()
    assert screen.endswith("\x1b[?25h")
    with Progress(console=global_terminal) as again:
        again.add_task("another one")
    assert "another one" in global_terminal.file.getvalue()[len(screen) :]


def test_a_display_that_starts_and_ends_during_training(
    tmp_path: Any, terminal: io.StringIO, global_terminal: Console
) -> None:
    class Nested(Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            self.progress = Progress(console=global_terminal)
            self.progress.start()

        def on_test_start(self, trainer: Any, pl_module: Any) -> None:
            self.progress.stop()

    fit(tmp_path, GroupedProgressBar(), Nested())


def test_lightnings_bar_inside_of_ours(
    tmp_path: Any, terminal: io.StringIO, global_terminal: Console
) -> None:
    class TrainsAnother(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            other = {"file": io.StringIO(), "force_terminal": True}
            fit(tmp_path, RichProgressBar(console_kwargs=other))

    fit(tmp_path, GroupedProgressBar(), TrainsAnother())


def test_ours_inside_of_ours(tmp_path: Any, terminal: io.StringIO) -> None:
    class TrainsAnother(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            fit(tmp_path, GroupedProgressBar(refresh_rate=1e9))

    fit(tmp_path, GroupedProgressBar(refresh_rate=1e9), TrainsAnother())


def test_the_tuner(tmp_path: Any, terminal: io.StringIO) -> None:
    module = SmallModule()
    module.lr = 0.01
    fitting = trainer(tmp_path, callbacks=[GroupedProgressBar()], enable_checkpointing=True)
    Tuner(fitting).lr_find(module, loader(20), loader(2), num_training=10, update_attr=False)
    fitting.fit(module, loader(), loader(2))
    assert "Epoch 1/1" in terminal.getvalue()


def test_an_error_gives_the_terminal_back(tmp_path: Any, terminal: io.StringIO) -> None:
    class Fails(Callback):
        def on_train_batch_end(self, *args: Any) -> None:
            raise RuntimeError("on purpose")

    bar = GroupedProgressBar()
    with pytest.raises(RuntimeError, match="on purpose"):
        fit(tmp_path, bar, Fails())
    assert terminal.getvalue().endswith("\x1b[?25h")  # the cursor is shown
    drawn = len(terminal.getvalue())
    fit(tmp_path, bar)
    assert "Epoch 1/1" in terminal.getvalue()[drawn:]  # and the same bar draws again


def test_training_again_with_the_same_bar(tmp_path: Any, terminal: io.StringIO) -> None:
    bar = GroupedProgressBar()
    fit(tmp_path, bar)
    fit(tmp_path, bar)


def test_other_processes_draw_nothing(tmp_path: Any, terminal: io.StringIO) -> None:
    bar = GroupedProgressBar()
    bar.disable()
    fit(tmp_path, bar)
    assert terminal.getvalue() == ""


def test_goes_to_a_spawned_process(tmp_path: Any, terminal: io.StringIO) -> None:
    bar = GroupedProgressBar()
    fit(tmp_path, bar)
    there = pickle.loads(pickle.dumps(bar))
    drawn = len(terminal.getvalue())
    fit(tmp_path, there)
    assert "Epoch 1/1" in terminal.getvalue()[drawn:]


def test_refresh_rate_out_of_range() -> None:
    with pytest.raises(ConfigError, match="refresh_rate"):
        GroupedProgressBar(refresh_rate=0)
