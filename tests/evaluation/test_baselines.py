import numpy as np

from src.evaluation.baselines import (
    SplitArrays,
    baselines,
    constant,
    least_squares,
    nearest_neighbours,
)
from src.evaluation.report import remarks, row_of
from src.vimh.parameters import Parameter


def _split(n: int, seed: int) -> SplitArrays:
    rng = np.random.default_rng(seed)
    auxiliary = rng.normal(size=(n, 2)).astype(np.float32)
    values = auxiliary @ np.array([[1.0, 0.0], [2.0, -1.0]]) + 3
    return SplitArrays(np.tile(auxiliary, 8), auxiliary, values)


def test_each_baseline_on_a_set_whose_answers_are_known() -> None:
    train, test = _split(200, 0), _split(50, 1)
    found = dict(baselines(train, test, [False, False]))
    np.testing.assert_allclose(found["always the mean"][0], train.values.mean(axis=0))
    exact = found["least squares (aux)"]
    np.testing.assert_allclose(exact, test.values, atol=1e-5)
    one = nearest_neighbours(train.images, train.values, train.images[:5], 1)
    np.testing.assert_allclose(one, train.values[:5])
    assert least_squares(train.auxiliary, train.values, test.auxiliary).shape == (50, 2)


def test_image_only_has_two_baselines() -> None:
    train, test = _split(20, 0), _split(5, 1)
    only_images = [SplitArrays(s.images, None, s.values) for s in (train, test)]
    assert len(list(baselines(*only_images, [False, False]))) == 2


def test_a_categorical_parameter_has_its_most_frequent_class() -> None:
    values = np.array([[0.0, 1.0], [9.0, 2.0], [9.0, 6.0]])
    np.testing.assert_allclose(constant(values, [True, False], 2), [[9.0, 3.0], [9.0, 3.0]])


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


def test_a_set_that_the_auxiliary_features_solve_is_said_to_be_no_yardstick() -> None:
    parameters = [Parameter(name="a", min=0, max=10, step=1)]
    true = np.linspace(0, 10, 11)[:, None]
    network, formula = (row_of(name, true, true, parameters) for name in ("network", "line (aux)"))
    assert "line (aux): 100.0 %" in remarks(network, [formula])[-1]
