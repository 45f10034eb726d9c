import numpy as np
import pytest
import torch

from src.evaluation.scoring.figures import (
    figures_of,
    joint_figures,
    measure,
    sample_columns,
    sound_figures,
)
from src.models.metrics import ParameterMetrics
from src.vimh.parameters import Parameter

DECAY = Parameter("decay", min=0.0, max=10.0, step=1.0, unit="s")
LEVEL = Parameter("level", min=-20.0, max=0.0, unit="dB")
PET = Parameter("pet", min=0, max=255, kind="categorical", class_names=("cat", "dog", "bird"))
ALL = [DECAY, LEVEL, PET]
TRUE = np.array([[5.0, -10.0, 0.0], [5.0, -10.0, 1.0], [2.0, -4.0, 2.0], [0.0, 0.0, 2.0]])
PREDICTED = TRUE + np.array([[0.4, 3.0, 0.0], [-1.0, -4.0, 1.0], [2.0, 0.0, 0.0], [5.0, 0.0, -2.0]])


def measured(predicted: np.ndarray = PREDICTED, true: np.ndarray = TRUE, parameters=ALL):
    columns = {"network": sample_columns(predicted, true, parameters)}
    return measure(columns, parameters, resamples=50, seed=0)["network"]


def test_figures_by_hand() -> None:
    values = measured().values
    assert values["decay_mae"] == pytest.approx(2.1)
    assert values["decay_mae_percent"] == pytest.approx(21.0)
    assert values["decay_rmse"] == pytest.approx(np.sqrt((0.16 + 1 + 4 + 25) / 4))
    assert values["decay_bias"] == pytest.approx(1.6)
    # an error of exactly one and of exactly two steps is within
    shares = [values[f"decay_{key}"] for key in ("half_jnd", "jnd", "two_jnd")]
    assert shares == [0.25, 0.5, 0.75]
    # half a quantum of the stored byte, here 0.0196, is granted and no more
    for error, share in ((0.51, 1.0), (0.53, 0.0)):
        off = measured(TRUE + error * np.array([1.0, 0.0, 0.0])).values
        assert off["decay_half_jnd"] == share
    assert values["level_mae"] == pytest.approx(1.75)
    assert values["level_bias"] == pytest.approx(-0.25)
    assert values["pet_acc"] == values["all_acc"] == 0.5
    assert values["mae_jnd"] == pytest.approx(2.1)
    assert values["jnd"] == 0.5


def test_joint_shares_are_of_all_heads_at_once() -> None:
    pair = [DECAY, Parameter("pitch", min=0.0, max=10.0, step=2.0)]
    errors = np.array([[0.0, 0.0], [1.0, 5.0], [3.0, 0.0], [0.5, 2.0]])
    found = measured(errors, np.zeros_like(errors), pair).values
    assert found["decay_jnd"] == 0.75
    assert found["pitch_jnd"] == 0.75
    assert found["jnd"] == 0.5
    assert found["half_jnd"] == 0.25
    assert found["mae_jnd"] == pytest.approx((4.5 / 4 + 3.5 / 4) / 2)
    assert "nmse" not in found


def test_the_nmse_is_of_values_in_shares_of_their_range() -> None:
    """Also where they are spaced by ratios: a factor of 2 is more at the upper end."""
    pair = [DECAY, Parameter("f", min=100.0, max=1100.0, spacing="log")]
    true = np.array([[0.0, 100.0], [5.0, 500.0]])
    found = measured(true + np.array([[1.0, 100.0], [2.0, 500.0]]), true, pair).values
    assert found["nmse"] == pytest.approx((0.1**2 + 0.1**2 + 0.2**2 + 0.5**2) / 4)
    assert [f.name for f in joint_figures(pair)][-1] == "nmse"


def test_what_training_logs_too_is_the_same() -> None:
    rng = np.random.default_rng(0)
    pair = [DECAY, PET]
    true = np.stack([rng.integers(0, 256, 200) / 25.5, rng.integers(0, 3, 200)], axis=1)
    predicted = np.stack([true[:, 0] + rng.normal(0, 1, 200), rng.integers(0, 3, 200)], axis=1)
    logged = ParameterMetrics(pair, with_accuracy=False)
    logged.update(torch.from_numpy(predicted), torch.from_numpy(true))
    values = measured(predicted, true, pair).values
    common = values.keys() & logged.names
    assert common >= {"decay_mae", "decay_mae_percent", "decay_jnd", "pet_acc", "jnd", "mae_jnd"}
    for name, value in logged.compute().items():
        if name in common:
            assert values[name] == pytest.approx(float(value), rel=1e-6), name


def test_every_figure_has_a_value_and_an_interval_around_it() -> None:
    found = measured()
    figures = [figure for p in ALL for figure in figures_of(p)] + joint_figures(ALL)
    assert {figure.name for figure in figures} == found.values.keys()
    assert not any(figure.name.endswith("jnd") for figure in figures_of(LEVEL))
    for figure in figures:
        value, low, high = found.estimate(figure.name)
        assert low <= value <= high, figure.name
    assert joint_figures([DECAY]) == []
    assert {figure.better for figure in sound_figures()} == {"lower", "higher"}


def test_a_nan_is_wrong_and_shows() -> None:
    predicted = PREDICTED.copy()
    predicted[0] = np.nan
    values = measured(predicted).values
    assert np.isnan([values["decay_mae"], values["decay_rmse"], values["level_bias"]]).all()
    assert values["decay_half_jnd"] == 0.0
    assert values["pet_acc"] == 0.25
    assert values["jnd"] == 0.25


def test_one_sample() -> None:
    found = measured(PREDICTED[:1], TRUE[:1])
    assert found.estimate("decay_mae") == pytest.approx((0.4, 0.4, 0.4))


def test_better_means_beyond_chance() -> None:
    """A tie and a difference that resampling turns around do not count, a clear one does."""
    rng = np.random.default_rng(0)
    true = np.full((300, 1), 5.0)
    error = rng.normal(0, 1, (300, 1))
    noisy = error + rng.normal(0, 0.05, (300, 1))
    columns = {
        name: sample_columns(true + off, true, [DECAY])
        for name, off in (("own", error), ("same", error), ("noisy", noisy), ("poor", 2 * error))
    }
    found = measure(columns, [DECAY], resamples=500, seed=0)
    mae, share = (f for f in figures_of(DECAY) if f.name in ("decay_mae", "decay_jnd"))
    for figure in (mae, share):
        beats = {name: found["own"].beats(other, figure) for name, other in found.items()}
        assert beats == {"own": False, "same": False, "noisy": False, "poor": True}
        assert not found["poor"].beats(found["own"], figure)


def test_figures_of_ratios_by_hand() -> None:
    octaves = Parameter("f", 110.0, 880.0, 1.0, unit="Hz", spacing="log", step_kind="tolerance")
    true, predicted = np.array([[110.0], [220.0], [880.0]]), np.array([[220.0], [220.0], [220.0]])
    found = measured(predicted, true, [octaves])
    assert found.values["f_mae"] == pytest.approx(770 / 3)
    assert found.values["f_bias"] == pytest.approx(-550 / 3)
    assert found.values["f_mae_percent"] == pytest.approx(100 * 1.75 / 3)
    shares = [found.values[f"f_{key}"] for key in ("half_jnd", "jnd", "two_jnd")]
    assert shares == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert found.values["mae_jnd"] == pytest.approx(1.0)
    labels = {figure.name: figure.label for figure in figures_of(octaves)}
    assert labels["f_mae_percent"] == "MAE of value"
    assert labels["f_half_jnd"] == "within ½ tolerance"
    assert [f.unit for f in joint_figures([octaves, DECAY]) if f.name == "mae_jnd"] == ["tolerance"]
    assert joint_figures([DECAY, LEVEL])[1].label == "within ½ JND"


def test_what_training_logs_of_ratios_is_the_same() -> None:
    octaves = Parameter("f", 110.0, 880.0, 0.1, spacing="log")
    rng = np.random.default_rng(0)
    pair = [octaves, DECAY]
    true = np.stack([110 * 8 ** rng.random(100), 10 * rng.random(100)], axis=1)
    predicted = true * np.exp(rng.normal(0, 0.1, (100, 2)))
    logged = ParameterMetrics(pair, with_accuracy=False)
    logged.update(torch.from_numpy(predicted), torch.from_numpy(true))
    values = measured(predicted, true, pair).values
    training = logged.compute()
    common = values.keys() & training.keys()
    assert common >= {"f_mae", "f_mae_percent", "f_jnd", "mae_jnd", "jnd"}
    for name in common:
        assert values[name] == pytest.approx(float(training[name]), rel=1e-6), name
