from unittest.mock import Mock

import numpy as np
import pytest

import src.evaluation.scoring.baselines as module
from src.evaluation.scoring.baselines import (
    baselines,
    constant,
    least_squares,
    nearest_neighbours,
)
from src.evaluation.scoring.rows import Row, remarks, row_of
from src.evaluation.scoring.split_predictions import SplitArrays
from src.vimh.parameters import Parameter


def _split(n: int, seed: int) -> SplitArrays:
    rng = np.random.default_rng(seed)
    auxiliary = rng.normal(size=(n, 2)).astype(np.float32)
    values = auxiliary @ np.array([[1.0, 0.0], [2.0, -1.0]]) + 3
    return SplitArrays(np.tile(auxiliary, 8), values, auxiliary)


def test_each_baseline_on_a_set_whose_answers_are_known() -> None:
    train, test = _split(200, 0), _split(50, 1)
    found = dict(baselines(train, test, [False, False]))
    np.testing.assert_allclose(found["always the mean"][0], train.true.mean(axis=0))
    exact = found["least squares (aux)"]
    np.testing.assert_allclose(exact, test.true, atol=1e-5)
    one = nearest_neighbours(train.inputs, train.true, train.inputs[:5], 1)
    np.testing.assert_allclose(one, train.true[:5])
    assert least_squares(train.auxiliary, train.true, test.auxiliary).shape == (50, 2)


def test_image_only_has_two_baselines() -> None:
    train, test = _split(20, 0), _split(5, 1)
    only_images = [SplitArrays(s.inputs, s.true) for s in (train, test)]
    assert len(list(baselines(*only_images, [False, False]))) == 2


def test_a_categorical_parameter_has_its_most_frequent_class() -> None:
    values = np.array([[0.0, 1.0], [9.0, 2.0], [9.0, 6.0]])
    np.testing.assert_allclose(constant(values, [True, False], 2), [[9.0, 3.0], [9.0, 3.0]])


def test_neighbours_and_a_line_vote_for_a_class() -> None:
    """A mean of class numbers would be a class between them."""
    auxiliary = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])
    true = np.column_stack([[2.0, 2.0, 0.0, 0.0, 0.0, 1.0], auxiliary[:, 0]])
    train = SplitArrays(np.zeros((6, 4)), true, auxiliary)
    test = SplitArrays(np.zeros((2, 4)), true[[0, 3]], np.array([[0.1], [5.1]]))
    found = dict(baselines(train, test, [True, False]))
    np.testing.assert_allclose(found["3 neighbours (aux)"], [[2.0, 0.1], [0.0, 5.1]])
    np.testing.assert_allclose(found["least squares (aux)"], [[2.0, 0.1], [0.0, 5.1]])


def test_a_network_no_better_than_a_baseline_is_said_not_to_be() -> None:
    parameters = [Parameter(name="a", min=0, max=10, step=1)]
    true = np.linspace(0, 10, 11)[:, None]
    network = row_of("network", true + 3, true, parameters)
    mean = row_of("mean", np.full_like(true, 5), true, parameters)
    perfect = row_of("perfect", true, true, parameters)
    assert remarks(network, [mean, perfect]) == [
        "Not better than: mean.",
        "Not better than: perfect.",
    ]
    assert remarks(perfect, [mean]) == []


def test_a_tie_at_nothing_is_decided_by_the_error() -> None:
    parameters = [Parameter(name="a", min=0, max=100, step=1)]
    true = np.linspace(0, 100, 11)[:, None]
    near, far, further = (row_of(f"{d}", true + d, true, parameters) for d in (10, 20, 30))
    assert {row.metrics["jnd"] for row in (near, far, further)} == {0.0}
    assert remarks(near, [far, further]) == []
    assert remarks(far, [near, far]) == ["Not better than: 10.", "Not better than: 20."]
    lucky = row_of("lucky", np.where(true == 0, 0, true + 50), true, parameters)
    assert remarks(near, [lucky]) == ["Not better than: lucky."]


def test_a_share_that_shows_as_nothing_is_nothing() -> None:
    found = [
        Row(name, {"jnd": jnd, "mae_jnd": mae})
        for name, jnd, mae in (
            ("network", 0.0, 5.0),
            ("mean", 0.0004, 10.0),
            ("exact", 0.0004, 5.0),
        )
    ]
    assert remarks(found[0], found[1:]) == ["Not better than: exact."]


def test_classes_of_which_none_is_right_have_no_error() -> None:
    assert remarks(Row("network", {"acc": 0.0}), [Row("nearest", {"acc": 0.0})]) == []


def test_a_set_that_the_auxiliary_features_solve_is_said_to_be_no_yardstick() -> None:
    parameters = [Parameter(name="a", min=0, max=10, step=1)]
    true = np.linspace(0, 10, 11)[:, None]
    network, formula = (row_of(name, true, true, parameters) for name in ("network", "line (aux)"))
    assert "line (aux): 100.0 %" in remarks(network, [formula])[-1]


def test_the_mean_of_ratios_is_geometric(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = {
        "f": Parameter("f", 100.0, 10000.0, 0.1, spacing="log"),
        "a": Parameter("a", 0.0, 10.0),
    }
    true = np.array([[100.0, 2.0], [10000.0, 4.0]])
    train = SplitArrays(np.eye(2, dtype=np.float32), true)
    monkeypatch.setattr(module, "split_arrays", lambda *_, **__: train)
    model, data = Mock(parameters_by_head=parameters), Mock()
    data.get_dataset_info.return_value = {"split_sizes": {"train": 2}}
    found = module.baseline_predictions(model, data, train)
    np.testing.assert_allclose(found["always the mean"], [[1000.0, 3.0]] * 2)
    np.testing.assert_allclose(found["nearest image"], true)
