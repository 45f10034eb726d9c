"""What a finished run shows in TensorBoard, seen in a real browser."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import open_dict

from src.train import train
from tests.browser import Browser, browser, missing_programs, server
from tests.helpers import shrink

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(missing_programs()),
        reason="no Chromium and its driver: apt-get install chromium chromium-driver",
    ),
]
EPOCHS = 6


@pytest.fixture
def metrics(compose_config, data_root: Path, tmp_path: Path) -> dict[str, float]:
    """Of a short run of the main job, with pictures and sounds, under tmp_path."""
    cfg = shrink(
        compose_config(
            "train",
            "experiment=avix_cnn_72dss_jnd_dg_hybrid",
            "callbacks=[default,prediction_plots]",
            "callbacks.gradient_stats={few:false,histogram_every_n_logs:1}",
        ),
        data_root,
    )
    with open_dict(cfg):
        cfg.trainer.max_epochs = EPOCHS
        cfg.callbacks.prediction_plots.at_end = True
    found, _ = train(cfg)
    return {name: float(value) for name, value in found.items()}


@pytest.fixture
def page(metrics: dict[str, float], tmp_path: Path) -> Iterator[tuple[Browser, str]]:
    """A browser, and TensorBoard's address up to the name of the tab."""
    words = [sys.executable, "-m", "tensorboard.main", "--logdir", str(tmp_path)]
    with (
        server([*words, "--port=0"], r"http://localhost:(\d+)") as port,
        browser(tmp_path / "profile") as window,
    ):
        yield window, f"http://localhost:{port}/#"


def test_every_tab_shows_what_the_run_logged(
    page: tuple[Browser, str], metrics: dict[str, float], tmp_path: Path
) -> None:
    window, address = page

    def look(tab: str, *texts: str) -> None:
        window.open(address + tab)
        for text in texts:
            window.wait_until(f"{text} in the tab {tab}", lambda text=text: text in window.texts())

    look("scalars", "0 overview", "~grad_stats", "train", "val", "test")
    window.wait_until("charts", lambda: len(window.elements("svg path", "tagName")) > 10)
    window.screenshot(tmp_path / "scalars.png")

    look("graphs", "Main Graph", "_TupleOutput")
    window.screenshot(tmp_path / "graphs.png")

    panels = ("", "_errors", "_histogram")
    heads = [name + panel for name in ("note_velocity", "log10_decay_time") for panel in panels]
    look("images", *(f"{when}/{name}" for when in ("final", "predictions") for name in heads))
    window.wait_until(
        "pictures of both times, and the worst samples of both",
        lambda: [w > 100 for w in window.elements("img", "naturalWidth")] == [True] * 14,
    )
    window.screenshot(tmp_path / "images.png")

    kinds = ("target", "predicted")
    look("audio", *(f"sounds/{k}_{kind}" for k in range(3) for kind in kinds))
    window.wait_until(
        "twelve sounds of one second", lambda: window.elements("audio", "duration") == [1.0] * 12
    )
    window.screenshot(tmp_path / "audio.png")

    look("histograms", "~grad_stats/histogram")
    window.wait_until(
        "curve for each epoch", lambda: len(window.elements(".histogram", "tagName")) >= EPOCHS
    )
    window.screenshot(tmp_path / "histograms.png")

    look("text", "SimpleCNN", "always the mean")
    window.screenshot(tmp_path / "text.png")

    look("hparams", "model/optimizer/lr", "test/loss", "TABLE VIEW")
    numbers = re.compile(r"^-?\d+\.?\d*(?:e[-+]?\d+)?$", re.MULTILINE)
    expected = pytest.approx(metrics["test/loss"], rel=1e-4)
    window.wait_until(
        "test loss", lambda: expected in [float(n) for n in numbers.findall(window.texts())]
    )
    window.screenshot(tmp_path / "hparams.png")
