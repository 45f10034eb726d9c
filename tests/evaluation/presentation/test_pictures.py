import warnings

import numpy as np
import pytest

from src.evaluation.presentation.pictures import (
    confusion_matrix,
    head_picture,
    sounds_picture,
    worst_picture,
)
from src.evaluation.scoring.split_predictions import SplitPredictions
from src.vimh.metadata import Metadata
from src.vimh.parameters import Parameter

DECAY = Parameter("decay", min=0.0, max=10.0, step=1.0, unit="s")
PET = Parameter("pet", min=0, max=255, kind="categorical", class_names=("cat", "dog", "bird"))
SOUND = Metadata.from_json(
    {
        "height": 2, "width": 3, "channels": 1, "sample_rate": 8000,
        "spectrogram_config": {"type": "stft", "n_fft": 80, "hop_length": 80},
        "parameter_names": ["decay"],
        "parameter_mappings": {"decay": {"min": 0.0, "max": 10.0, "step": 1.0}},
    }
)  # fmt: skip
PICTURE = Metadata.from_json(
    {
        "height": 2, "width": 3, "channels": 3, "channel_labels": ["R", "G", "B"],
        "parameter_names": ["pet"], "parameter_mappings": {"pet": PET.to_json()},
    }
)  # fmt: skip


def drawn(figure) -> None:
    """Draws for real: what a backend would warn of is an error."""
    figure.canvas.draw()


def predictions(parameter: Parameter, true: list[float], predicted: list[float], channels: int = 1):
    images = np.zeros((len(true), channels, 2, 3), np.uint8)
    return SplitPredictions(
        inputs=images.reshape(len(true), -1) / np.float32(255),
        true=np.array(true)[:, None],
        images=images,
        predicted=np.array(predicted)[:, None],
    )


def test_the_band_is_the_tolerance_that_is_counted() -> None:
    true = np.array([5.0, 5.0, 5.0, 5.0])
    figure = head_picture(DECAY, true, np.array([5.0, 6.0, 6.1, 2.0]))
    drawn(figure)
    values, histogram, errors = figure.axes
    assert histogram.get_title() == "50.0 % within 1 JND"
    assert (values.get_xlabel(), values.get_ylabel()) == ("true decay [s]", "predicted decay [s]")
    assert (errors.get_xlabel(), errors.get_ylabel()) == ("true decay [s]", "error [s]")
    (band,) = errors.patches
    assert band.get_height() == pytest.approx(2 * DECAY.tolerance())


def test_a_mean_error_is_drawn_where_there_are_samples_for_it() -> None:
    true = np.linspace(0.0, 10.0, 240)
    few, many = (head_picture(DECAY, part, part + 0.25).axes[2] for part in (true[:20], true))
    assert [line.get_label() for line in few.lines] == ["_child0"]
    (line,) = (line for line in many.lines if line.get_label() == "mean error")
    np.testing.assert_allclose(line.get_ydata(), 0.25)


@pytest.mark.parametrize("count", [1, 3])
def test_nan_predictions_are_left_out_and_said(count: int) -> None:
    predicted = np.array([4.0, np.nan, np.nan, np.nan])[-count - 1 :]
    figure = head_picture(DECAY, np.full(len(predicted), 5.0), predicted)
    drawn(figure)
    assert figure.get_suptitle().endswith("predictions are NaN")
    title = {1: "0.0 % within 1 JND", 3: "25.0 % within 1 JND"}[count]
    assert figure.axes[1].get_title() == title


def test_a_parameter_without_a_step_has_no_band() -> None:
    figure = head_picture(Parameter("level", -20.0, 0.0), np.array([-3.0]), np.array([-2.0]))
    drawn(figure)
    assert figure.axes[1].get_title() == ""
    assert len(figure.axes[2].patches) == 0


def test_classes_have_a_confusion_matrix() -> None:
    true, predicted = np.array([0.0, 1.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0, 2.0])
    counts = confusion_matrix(PET, true, predicted)
    assert counts.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    figure = head_picture(PET, true, predicted)
    drawn(figure)
    axes = figure.axes[0]
    assert axes.get_title() == "75.0 % of 4 in the right class"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog", "bird"]
    assert sorted(text.get_text() for text in axes.texts) == ["1", "1", "1", "1"]


def test_many_classes_are_neither_named_nor_counted() -> None:
    names = tuple(f"thing {k}" for k in range(100))
    many = Parameter("thing", min=0, max=255, kind="categorical", class_names=names)
    figure = head_picture(many, np.arange(100.0), np.arange(100.0))
    drawn(figure)
    assert not figure.axes[0].texts
    assert figure.get_size_inches().max() < 14


def test_the_worst_come_first() -> None:
    found = predictions(DECAY, [1.0, 1.0, 1.0, 1.0], [1.0, 9.0, 4.0, np.nan])
    figure = worst_picture(SOUND, [DECAY], found, 3)
    drawn(figure)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["decay NaN, true 1", "decay 9, true 1", "decay 4, true 1"]
    assert figure.axes[0].get_ylabel() == "frequency [Hz]"
    assert figure.axes[0].get_xlabel() == "time [s]"


def test_the_worst_of_classes_are_the_wrong_ones() -> None:
    found = predictions(PET, [0.0, 1.0, 2.0], [0.0, 0.0, 2.0], channels=3)
    figure = worst_picture(PICTURE, [PET], found, 8)
    drawn(figure)
    assert [axes.get_title() for axes in figure.axes] == ["pet cat, true dog"]
    assert worst_picture(PICTURE, [PET], predictions(PET, [1.0], [1.0]), 8) is None


@pytest.mark.parametrize("value", [0.0, np.nan, 1.0])
def test_sounds_that_are_all_alike_can_be_drawn(value: float) -> None:
    names = ("sound_mss", "sound_lsd", "sound_envelope", "sound_transport")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn(sounds_picture({"network": {name: np.full(3, value) for name in names}}))


def test_names_are_no_formulas() -> None:
    odd = Parameter("a$^$", min=0.0, max=10.0, step=1.0, unit="$\\frac$")
    drawn(head_picture(odd, np.array([1.0, 2.0]), np.array([2.0, 2.0])))
    pets = Parameter("p$^$", 0, 255, kind="categorical", class_names=("$^$", "$_$"))
    drawn(head_picture(pets, np.array([0.0, 1.0]), np.array([1.0, 1.0])))
    found = predictions(odd, [1.0, 2.0], [5.0, 2.0])
    worst = worst_picture(SOUND, [odd], found, 4)
    drawn(worst)
    assert worst.axes[0].get_title().startswith("a$^$ 5")


def test_ratios_have_logarithmic_axes_and_errors_in_percent() -> None:
    pitch = Parameter("pitch", 100.0, 1000.0, 0.03, unit="Hz", spacing="log", step_kind="tolerance")
    true = np.geomspace(100.0, 1000.0, 120)
    figure = head_picture(pitch, true, true * 1.02)
    drawn(figure)
    values, histogram, errors = figure.axes
    assert (values.get_xscale(), values.get_yscale(), errors.get_xscale()) == ("log",) * 3
    written = [label.get_text() for label in values.get_xticklabels()]
    assert {"100", "200", "500", "1000"} <= set(written)
    assert errors.get_yscale() == histogram.get_xscale() == "linear"
    assert values.get_xlabel() == "true pitch [Hz]"
    assert errors.get_ylabel() == histogram.get_xlabel() == "error [%]"
    assert histogram.get_title() == "100.0 % within 1 tolerance"
    (band,) = errors.patches
    ends = 100 * np.expm1([-pitch.tolerance(), pitch.tolerance()])
    assert [band.get_y(), band.get_y() + band.get_height()] == pytest.approx(ends)
    (line,) = (line for line in errors.lines if line.get_label() == "mean error")
    np.testing.assert_allclose(line.get_ydata(), 2.0)
    # An error of 2 % at 100 Hz is as large as one at 1000 Hz, and smaller than one of 3 %.
    found = predictions(pitch, [100.0, 1000.0, 500.0], [103.0, 1020.0, 500.0])
    worst = worst_picture(SOUND, [pitch], found, 1)
    drawn(worst)
    assert [axes.get_title() for axes in worst.axes] == ["pitch 103, true 100"]
