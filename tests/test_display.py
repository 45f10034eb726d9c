"""The command that shows a data set, and the picture it makes."""

import io
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text
from rich.console import Console

import display_vimh
from src.evaluation.presentation.dataset_picture import dataset_figure, dataset_table, spread
from src.evaluation.presentation.image_axes import ImageAxes
from src.synth.generate import generate_dataset
from src.synth.resynthesis import synthesizer_of
from src.utils.rich_utils import print_table
from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata
from src.vimh.records import DatasetWriter, open_dataset
from tests.synth.conftest import MakeRecipe, make_recipe  # noqa: F401 - a fixture

ROOT = Path(__file__).resolve().parents[1]
COLOUR = {
    "dataset_name": "colours", "height": 4, "width": 6, "channels": 3,
    "parameter_names": ["label", "hue"],
    "parameter_mappings": {
        "label": {"min": 0, "max": 255, "kind": "categorical", "class_names": ["one", "two"]},
        "hue": {"min": 0.0, "max": 1.0},
    },
}  # fmt: skip


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    with DatasetWriter(tmp_path / "colours", COLOUR) as writer:
        for split, count in (("train", 5), ("test", 2)):
            images = np.full((count, 3, 4, 6), 10, np.uint8)
            images[:, 1] = 200
            labels = np.tile(np.array([[1, 128]], np.uint8), (count, 1))
            writer.write(split, images, labels, np.tile(np.float32([0, 255]), (count, 1)))
    return tmp_path / "colours"


@pytest.fixture
def sounds(make_recipe: MakeRecipe, tmp_path: Path) -> Path:  # noqa: F811
    recipe = make_recipe("simple", "temporal_envelope=true", "dataset.size=20")
    return generate_dataset(recipe, root=tmp_path, progress=False).dataset_dir


def run(*arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "MPLBACKEND": "Agg", "COLUMNS": "100", **more}
    return subprocess.run(
        [sys.executable, ROOT / "display_vimh.py", *arguments],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip


def texts(figure) -> list[str]:
    found = []
    for axes in figure.axes:
        found += [axes.get_title(), axes.get_title(loc="left"), axes.get_xlabel()]
        found += [axes.get_ylabel(), *(text.get_text() for text in axes.texts)]
    return [text for text in found if text]


def test_the_picture_of_sounds_names_channels_units_and_values(sounds: Path) -> None:
    dataset = open_dataset(sounds)
    found = texts(dataset_figure(dataset))
    joined = "\n".join(found)
    for wanted in (
        "time [s]\nGray",
        "Gray_temporal_envelope",
        "frequency [Hz]",
        "16 train, 4 test",
        "2.2, exact values",
        "level [dB]",
        "the first 0.32 s of 1 s",
    ):
        assert wanted in joined
    assert any(text.startswith("log10_decay_time [") for text in found)
    value = dataset.train.values[0, 1]
    decay = dataset.metadata.parameters["log10_decay_time"]
    assert f"{value:.4g}" != f"{decay.dequantise(dataset.train.labels[0, 1]):.4g}"
    assert "train 0\nnote_velocity" in joined
    assert f"log10_decay_time {value:.4g}" in joined


def test_colours_of_a_sound_are_levels_and_those_of_its_envelope_are_not(sounds: Path) -> None:
    dataset = open_dataset(sounds)
    axes = ImageAxes(dataset.metadata)
    assert [axes.in_decibels(panel) for panel in range(2)] == [True, False]
    (first, envelope, *_) = (
        image for drawn in dataset_figure(dataset).axes for image in drawn.get_images()
    )
    _, _, scale_factors = dataset.train.gather(np.array([0]))
    low, high = scale_factors[0].tolist()
    assert first.get_clim() == (low, high)
    assert np.asarray(first.get_array()).max() == pytest.approx(high)
    assert envelope.get_clim() == (0.0, 255.0)


def test_rows_are_the_bins_of_the_spectrogram(sounds: Path) -> None:
    metadata = Metadata.load(sounds)
    n_fft = metadata.spectrogram_config["n_fft"]
    row_hz = ImageAxes(metadata).front_end.row_hz
    assert row_hz[0] == pytest.approx(metadata.sample_rate / n_fft)  # DC was dropped
    assert len(row_hz) == metadata.height


def test_colours_are_one_picture_the_right_way_up(colours: Path) -> None:
    dataset = open_dataset(colours)
    figure = dataset_figure(dataset)
    pictures = [image for axes in figure.axes for image in axes.get_images()]
    assert len(pictures) == 7
    assert np.array_equal(np.asarray(pictures[0].get_array())[0, 0], [10, 200, 10])
    assert pictures[0].origin == "upper"
    assert "label two" in "\n".join(texts(figure))


def test_names_in_the_picture_are_no_formulas(tmp_path: Path) -> None:
    odd = {
        **COLOUR, "dataset_name": "$^$", "channel_labels": ["$^$", "a", "b"],
        "parameter_names": ["a$^$"], "parameter_mappings": {"a$^$": {"min": 0.0, "max": 1.0}},
    }  # fmt: skip
    with DatasetWriter(tmp_path / "x$^$", odd) as writer:
        for split in ("train", "test"):
            some = (np.zeros((2, 3, 4, 6), np.uint8), np.zeros((2, 1), np.uint8))
            writer.write(split, *some, np.tile(np.float32([0, 255]), (2, 1)))
    figure = dataset_figure(open_dataset(tmp_path / "x$^$"))
    figure.canvas.draw()
    assert "a$^$" in "\n".join(texts(figure))
    named = [text for text in figure.findobj(Text) if "$" in text.get_text()]
    assert not any(text.get_parse_math() for text in named)


def test_spread_takes_the_ends() -> None:
    assert spread(10, 4).tolist() == [0, 3, 6, 9]
    assert spread(0, 4).tolist() == []


@pytest.mark.slow
def test_saving_and_checking(sounds: Path, tmp_path: Path) -> None:
    picture = tmp_path / "out.png"
    result = run(sounds, "--save", picture, "--check")
    assert result.returncode == 0, result.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "all 20 samples" in result.stdout
    assert "that every exact value is that of its byte" in result.stdout
    assert "SHA-256 of test, test_values, train, train_values" in result.stdout


def test_a_table_where_there_is_no_display(colours: Path) -> None:
    result = run(colours)
    assert result.returncode == 0, result.stderr
    assert "5 train, 2 test" in result.stdout
    assert "2 classes" in result.stdout


@pytest.mark.slow
def test_a_narrow_terminal_cuts_no_figure(sounds: Path) -> None:
    for columns in (60, 80, 120):
        console = Console(width=columns, record=True, file=io.StringIO())
        for table in dataset_table(open_dataset(sounds), sounds):
            print_table(console, table)
        text = console.export_text()
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= columns
        for figure in ("log10(s)", "126", "0.5", "-2", "0.3", "█"):
            assert figure in text


@pytest.mark.slow
def test_a_display_that_shows_nothing_is_no_success(colours: Path) -> None:
    for more in (
        {"DISPLAY": ":9"},
        {"DISPLAY": ":9", "MPLBACKEND": "TkAgg"},
        {"WAYLAND_DISPLAY": "x"},
    ):
        result = run(colours, **more)
        assert result.returncode == 1
        assert "matplotlib can open no window" in result.stderr
        assert "--save OUT.png" in result.stderr
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""


def test_a_toolkit_that_is_missing_or_shows_nothing_is_no_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plt, "get_backend", lambda: "agg")
    with pytest.raises(VIMHError, match=r"no screen, or no toolkit such as Qt or Tk\. Write"):
        display_vimh.pyplot_with_windows()

    def missing(backend: str) -> None:
        raise ImportError("No module named 'tkinter'")

    monkeypatch.setattr(plt, "get_backend", lambda: "tkagg")
    monkeypatch.setattr(plt, "switch_backend", missing)
    with pytest.raises(VIMHError, match=r"no window: No module named 'tkinter'\. Write"):
        display_vimh.pyplot_with_windows()


@pytest.mark.slow
def test_bad_input_gets_one_sentence(sounds: Path, tmp_path: Path) -> None:
    train = bytearray((sounds / "train").read_bytes())
    train[-1] ^= 1
    (sounds / "train").write_bytes(train)
    for arguments in (
        (tmp_path / "nowhere",), (sounds, "--check"), (tmp_path,),
        (sounds, "--save", tmp_path / "out.xyz"), (sounds, "--save", tmp_path / "no" / "out.png"),
    ):  # fmt: skip
        result = run(*arguments)
        assert result.returncode == 1, arguments
        assert result.stderr.count("\n") == 1, result.stderr
    assert "SHA-256" in run(sounds, "--check").stderr


def test_the_newest_is_taken(sounds: Path, colours: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(VIMHError, match="there is no data set"):
        display_vimh.find_dataset(None, tmp_path / "folder")
    assert display_vimh.find_dataset(None, colours.parent) == colours
    assert display_vimh.find_dataset("colours", tmp_path) == colours


@pytest.mark.parametrize(
    "target", ["os.system", "src.vimh.errors.VIMHError", "src.synth.recipe.Recipe", "builtins.eval"]
)
def test_a_file_names_only_our_synthesisers(sounds: Path, target: str) -> None:
    content = Metadata.load(sounds).to_json()
    content["recipe"]["synth"]["_target_"] = target
    with pytest.raises(VIMHError, match=r"synth\._target_"):
        synthesizer_of(Metadata.from_json(content, where="test"))
