"""Windows that widen, against their definition."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

from src.evaluation.presentation.image_axes import ImageAxes
from src.synth.errors import RecipeError
from src.synth.generate import generate_dataset
from src.synth.settings import build_front_end
from src.synth.widening import Widening
from src.vimh.records import open_dataset
from tests.synth.conftest import MakeRecipe

RATE = 8000
KEYS: dict[str, Any] = {
    "_target_": "src.synth.widening.Widening",
    "freq_min": 20.0,
    "freq_max": 3500.0,
    "shortest_s": 0.004,
    "longest_s": 0.5,
    "floor_db": -400.0,
}


def widening(height: int = 48, width: int = 8, **changes: Any) -> Widening:
    built = build_front_end(
        {**KEYS, **changes}, {}, sample_rate_hz=RATE, height=height, width=width
    )
    assert isinstance(built, Widening)
    return built


def ringing(hertz: float, amplitude: float = 1.0) -> np.ndarray:
    time_s = np.arange(RATE) / RATE
    return (amplitude * np.sin(2 * np.pi * hertz * time_s)).astype(np.float32)[None]


def test_rows_and_windows_lie_by_equal_ratios() -> None:
    front_end = widening()
    np.testing.assert_allclose(np.diff(np.log(front_end.row_hz)), np.log(175) / 47)
    np.testing.assert_allclose(np.diff(np.log(front_end.frame_s)), np.log(125) / 7, rtol=0.02)
    assert front_end.num_samples == 4000
    assert front_end.frame_s[-1] == 0.25
    assert front_end.frame_s[-1] + front_end.hop_s == 0.5


def test_a_pixel_is_the_mean_power_of_a_band() -> None:
    rng = np.random.default_rng(0)
    audio = rng.normal(size=(1, RATE)).astype(np.float32)
    front_end = widening()
    image = front_end(audio)
    row, column, length = 40, 6, round(0.004 * 125 ** (6 / 7) * RATE)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    fine = 1 << 20  # so many bins that the edges of the band do not count
    power = np.abs(np.fft.rfft(audio[0, :length] * window / window.sum(), fine)) ** 2
    hertz = np.arange(len(power)) * RATE / fine
    half = 175 ** (0.5 / 47)
    band = (hertz >= front_end.row_hz[row] / half) & (hertz < front_end.row_hz[row] * half)
    wanted = 10 * np.log10(power[band].mean())
    assert image[0, row, column] == pytest.approx(wanted, abs=0.1)


def test_a_tone_is_brightest_in_its_row() -> None:
    front_end = widening()
    image = front_end(ringing(float(front_end.row_hz[20])))[0]
    assert image[:, -1].argmax() == image[:, -2].argmax() == 20


def test_a_faint_sound_has_the_same_image_further_down() -> None:
    """Powers of a displacement of a picometre are below what float32 holds."""
    front_end = widening(floor_db=-700.0)
    loud, faint = front_end(ringing(300.0)), front_end(ringing(300.0, 2.0**-73))
    np.testing.assert_allclose(loud - faint, 20 * np.log10(2.0**73), atol=0.01)
    assert (front_end(np.zeros((1, RATE), np.float32)) == -700).all()


def test_a_sound_has_the_same_bits_alone_and_in_a_batch() -> None:
    audio = np.random.default_rng(1).normal(size=(7, RATE)).astype(np.float32)
    front_end = widening()
    together = front_end(audio)
    for i in range(7):
        np.testing.assert_array_equal(front_end(audio[i : i + 1])[0], together[i])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"freq_max": 4001.0}, "stft.freq_max is 4001; expected more than stft.freq_min, 20, and"),
        ({"freq_max": 20.0}, "stft.freq_max is 20; expected more than"),
        ({"longest_s": 0.004}, "stft.longest_s is 0.004; expected more than stft.shortest_s"),
        ({"shortest_s": 0.0001}, "expected from 2 to 8388608 samples at 8000 Hz"),
        ({"width": 1}, "image is 48x1; expected at least 2x2"),
        ({"hop_length": 4}, "stft.hop_length is unknown"),
    ],
)
def test_what_makes_no_image_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        widening(**changes)


def test_a_short_sound_is_refused() -> None:
    with pytest.raises(
        ValueError, match="a signal of 3999 samples gives 7 frames, the image needs 8"
    ):
        widening()(np.zeros((1, 3999), np.float32))


def test_times_of_uneven_columns_are_labelled_where_they_lie(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("simple", "dataset.size=4", "image.height=48", "image.width=8")
    recipe["stft"] = KEYS
    opened = open_dataset(generate_dataset(recipe, progress=False).dataset_dir)
    figure, axes = plt.subplots()
    ImageAxes(opened.metadata).draw(axes, opened.train.images[0], 0, time=True, frequency=True)
    labels = [tick.get_text() for tick in axes.get_xticklabels()]
    assert labels == ["0.01", "0.1"]
    left, right = axes.get_xlim()
    column = (axes.get_xticks() - left) / (right - left) * 8 - 0.5
    times = 0.002 * 125 ** (column / 7)  # the middle of a window of 4 to 500 ms
    np.testing.assert_allclose(times, [0.01, 0.1], rtol=0.02)
    plt.close(figure)
