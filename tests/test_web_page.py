"""The page of examples/web in a real browser: sounds in, the values of predict.py out."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from src.checkpoint import load_model, read_checkpoint
from src.evaluation.prediction.predictor import Predictor
from tests.browser import Browser, browser, missing_programs, server
from tests.pages import ROOT

MODEL = ROOT / "examples" / "model"
MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
missing = [*missing_programs(), *(() if shutil.which("npm") else ("npm",))]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(missing),
        reason=f"no {', '.join(missing)}: apt-get install chromium chromium-driver npm",
    ),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page as `make web` installs and serves it, out of a copy."""
    folder = tmp_path_factory.mktemp("examples")
    for name in ("web", "model"):
        ignored = shutil.ignore_patterns("node_modules")
        shutil.copytree(ROOT / "examples" / name, folder / name, ignore=ignored)
    words = ["npm", "ci", "--prefix", folder / "web", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(words, check=True, timeout=900)
    serve = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with server([*serve, "--directory", str(folder)], r"port (\d+)") as port:
        yield f"http://127.0.0.1:{port}/web/"


@pytest.fixture(scope="module")
def opened(site: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile"), *MICROPHONE) as window:
        window.open(site)
        wait(window, "the model")
        window.devtools("Network.enable")
        yield window


@pytest.fixture
def page(opened: Browser) -> Iterator[Browser]:
    """The page with its model loaded, and from then on without any network."""
    gone = {"latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    opened.devtools("Network.emulateNetworkConditions", offline=True, **gone)
    before = opened.requests()
    yield opened
    assert opened.requests() == before  # nothing was asked of anybody


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    read = read_checkpoint(MODEL / "simple_wide.safetensors")
    return Predictor(load_model(read), read.metadata)


def wait(window: Browser, what: str) -> None:
    window.wait_until(what, lambda: window.run("return document.body.dataset.state") == "ready")


def take(window: Browser, path: Path) -> None:
    """Chooses a file and waits for what the page makes of it."""
    window.run("document.body.dataset.state = 'busy'")
    window.choose_file("#file", path)
    wait(window, path.name)


def shown(window: Browser) -> dict[str, float]:
    rows: list[dict[str, Any]] = window.run(
        "return [...document.querySelectorAll('#values tr')].map((row) => ({...row.dataset}))"
    )
    return {row["name"]: float(row["value"]) for row in rows}


def text(window: Browser, selector: str) -> str:
    """An element's text; none where it is hidden."""
    found: str = window.run(
        "const found = document.querySelector(arguments[0]);"
        "return found.closest('[hidden]') ? '' : found.textContent",
        selector,
    )
    return found


def assert_as_predicted(window: Browser, predictor: Predictor, path: Path, share: float) -> None:
    expected = predictor.predict_file(path)[0].values
    found = shown(window)
    assert list(found) == list(expected)
    for name, parameter in predictor.metadata.parameters.items():
        assert abs(found[name] - expected[name]) < share * parameter.range, name


def test_the_pages_own_address_is_all_that_it_asks(site: str, opened: Browser) -> None:
    host = site.removesuffix("web/")
    asked = opened.requests()
    assert any(address.endswith(".wasm") for address in asked)
    assert any(address.endswith(".onnx") for address in asked)
    assert all(address.startswith(host) for address in asked)


def test_a_sound_shows_the_values_of_predict(page: Browser, predictor: Predictor) -> None:
    take(page, MODEL / "saw.wav")
    assert text(page, "#error") == ""
    assert_as_predicted(page, predictor, MODEL / "saw.wav", 1e-4)
    assert "interval at 90 %" in text(page, "#interval-head")
    (velocity, _) = page.run(
        "return [...document.querySelectorAll('#values tr')].map((row) => ({...row.dataset}))"
    )
    assert float(velocity["low"]) < 61.28 < float(velocity["high"])
    assert text(page, "#warning") == ""
    assert re.search(r"^\d+\.\d ms from samples to values", text(page, "#latency"))
    colours: int = page.run(
        "const canvas = document.querySelector('#spectrogram');"
        "const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;"
        "return new Set(Array.from({length: data.length / 4}, (_, k) => data[4 * k])).size"
    )
    assert colours > 50


def test_a_foreign_sound_shows_a_warning(page: Browser, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 8000)
    soundfile.write(tmp_path / "noise.wav", noise, 8000)
    take(page, tmp_path / "noise.wav")
    assert "unlike the training sounds (p < 0.01)" in text(page, "#warning")
    assert len(shown(page)) == 2
    page.screenshot(tmp_path / "unlike.png")


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_U8", "FLOAT", "DOUBLE"])
def test_every_wav_is_read_as_predict_reads_it(
    subtype: str, page: Browser, predictor: Predictor, tmp_path: Path
) -> None:
    audio, rate_hz = soundfile.read(MODEL / "saw.wav", dtype="float32")
    silence = np.zeros(700, np.float32)
    sides = np.stack([np.concatenate([silence, 0.5 * audio[:5000]])] * 2, axis=1)
    path = tmp_path / "stereo.wav"
    soundfile.write(path, sides, rate_hz, subtype=subtype)
    take(page, path)
    # Of eight bits the page and libsndfile make samples that differ in their last bit.
    assert_as_predicted(page, predictor, path, 1e-4)
    assert "2 channels mixed down to one" in text(page, "#notes")
    assert "padded from" in text(page, "#notes")


def test_a_dropped_sound_of_another_rate_is_resampled(
    page: Browser, predictor: Predictor, tmp_path: Path
) -> None:
    time_s = np.arange(44100) / 44100
    path = tmp_path / "saw.flac"
    soundfile.write(path, 0.5 * (2 * ((100 * time_s) % 1) - 1) * np.exp(-3 * time_s), 44100)
    page.run("document.body.dataset.state = 'busy'")
    page.run(
        "const input = document.createElement('input');"
        "input.type = 'file'; input.id = 'dropped'; document.body.append(input)"
    )
    page.choose_file("#dropped", path)
    page.run(
        "const data = new DataTransfer(); const input = document.querySelector('#dropped');"
        "data.items.add(input.files[0]); input.remove();"
        "document.querySelector('#drop').dispatchEvent("
        "new DragEvent('drop', {dataTransfer: data, bubbles: true}))"
    )
    wait(page, "the dropped sound")
    assert text(page, "#sound-name") == "saw.flac"
    # The browser decodes FLAC, and resamples by a filter of its own.
    assert_as_predicted(page, predictor, path, 0.1)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"RIFF", "it cannot be read as a sound"),
        (b"nothing of a sound", "it cannot be read as a sound"),
        (np.zeros(4000), "it is silent"),
        (np.zeros(0), "there are no samples in it"),
        (np.full(100, np.nan), "it holds samples that are no numbers"),
    ],
    ids=["cut off", "text", "silent", "empty", "not finite"],
)
def test_a_broken_file_is_a_sentence(content, sentence: str, page: Browser, tmp_path: Path) -> None:
    path = tmp_path / "broken.wav"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        soundfile.write(path, content, 8000, subtype="FLOAT")
    take(page, path)
    assert text(page, "#error") == f"broken.wav: {sentence}."
    assert text(page, "#sound-name") == ""  # no values of another sound beside it


def test_a_file_that_is_no_model_is_a_sentence(page: Browser, tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(b"\x00" * 100)
    page.run("document.body.dataset.state = 'busy'")
    page.choose_file("#model-file", path)
    wait(page, "the model")
    assert "it is no model of sounds that AVIX exported" in text(page, "#error")
    assert text(page, "#model-name") == "simple_wide.onnx"


def test_a_recording_is_heard(site: str, opened: Browser) -> None:
    """Chromium's own device beeps; the worklet that reads it comes from the server."""
    normal = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    opened.devtools("Network.emulateNetworkConditions", offline=False, **normal)
    opened.run("document.body.dataset.state = 'busy'; document.querySelector('#record').click()")
    wait(opened, "the recording")
    assert text(opened, "#error") == ""
    assert text(opened, "#sound-name") == "recording"
    assert shown(opened).keys() == {"note_velocity", "log10_decay_time"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(
    width: int, scheme: str, page: Browser, tmp_path: Path
) -> None:
    metrics = {"width": width, "height": 1100, "deviceScaleFactor": 1, "mobile": False}
    page.devtools("Emulation.setDeviceMetricsOverride", **metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    page.devtools("Emulation.setEmulatedMedia", features=[feature])
    take(page, MODEL / "saw.wav")
    page.screenshot(tmp_path / f"{width}_{scheme}.png")
    assert page.run("return document.documentElement.scrollWidth") <= width
    ground = page.run("return getComputedStyle(document.body).backgroundColor")
    levels = [int(level) for level in re.findall(r"\d+", ground)[:3]]
    assert (sum(levels) < 200) == (scheme == "dark")
