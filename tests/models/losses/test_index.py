from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from src.models.losses import IndexLoss, head_loss
from src.models.losses.index import index_loss
from src.vimh.parameters import Parameter

RNG = np.random.default_rng(0)
PREDICTED, TARGET = RNG.random((6, 3)), RNG.random((6, 3))
WEIGHTS = {"a": 1.0, "b": 2.5, "c": 0.0}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("kind", ["l1", "l2", "huber"])
def test_vectors_against_the_definition(kind: str, reduction: str) -> None:
    e = PREDICTED - TARGET
    errors = {
        "l1": np.abs(e),
        "l2": e**2,
        "huber": np.where(np.abs(e) <= 0.1, 0.5 * e**2, 0.1 * (np.abs(e) - 0.05)),
    }[kind]
    per_sample = (errors * list(WEIGHTS.values())).sum(axis=1)
    expected = {"mean": per_sample.mean(), "sum": per_sample.sum(), "none": per_sample}[reduction]
    loss = IndexLoss(reduction, list(WEIGHTS.values()), kind)
    value = loss(torch.from_numpy(PREDICTED), torch.from_numpy(TARGET))
    assert value.numpy() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weights", [None, WEIGHTS, OmegaConf.create(WEIGHTS)])
def test_heads_sum_up_to_the_vector(reduction: str, weights: Any) -> None:
    predicted, target = torch.from_numpy(PREDICTED), torch.from_numpy(TARGET)
    total = torch.zeros((), dtype=torch.float64)
    for column, name in enumerate(WEIGHTS):
        arguments = IndexLoss.arguments_from(Parameter(name, 0.0, 5.0, 0.5))
        head = IndexLoss(reduction, weights, **arguments)
        total = total + head(predicted[:, column, None], target[:, column])
    whole = None if weights is None else torch.tensor(list(WEIGHTS.values()))
    expected = index_loss(predicted, target, whole, reduction=reduction)
    torch.testing.assert_close(total, expected)


def test_errors_are_absolute_unless_asked_otherwise() -> None:
    predicted, target = torch.tensor([[0.75, 0.5]]), torch.tensor([[0.5, 0.0]])
    assert IndexLoss()(predicted, target).item() == 0.75
    assert index_loss(predicted, target).item() == 0.75


def test_weights_can_be_set_anew() -> None:
    predicted, target = torch.ones(4, 2), torch.zeros(4, 2)
    loss = IndexLoss(parameter_weights=[1.0, 2.0])
    for weights, expected in (([3.0, 0.5], 3.5), (torch.tensor([1.0, 4.0]), 5.0), (None, 2.0)):
        loss.set_parameter_weights(weights)
        assert loss(predicted, target).item() == expected
    assert "weights" in dict(loss.named_buffers())
    head = IndexLoss(parameter="b")
    head.set_parameter_weights(WEIGHTS)
    assert head(torch.ones(2, 1), torch.zeros(2)).item() == 2.5
    with pytest.raises(ValueError, match=r"parameter_weights is -1.0"):
        loss.set_parameter_weights([1.0, -1.0])
    with pytest.raises(ValueError, match="no weight for head 'b'; it has a"):
        head.set_parameter_weights({"a": 1.0})


def test_a_single_dimension_is_no_vector() -> None:
    with pytest.raises(
        ValueError, match=r"vectors \(B, P\).*got outputs of shape \(3,\).*\(B, 1\)"
    ):
        IndexLoss()(torch.zeros(3), torch.zeros(3))
    with pytest.raises(ValueError, match=r"vectors \(B, P\)"):
        index_loss(torch.zeros(3), torch.zeros(3))


def test_a_head_cannot_be_trained_with_a_loss_for_each_sample() -> None:
    loss = IndexLoss("none", parameter="a")
    with pytest.raises(
        ValueError, match=r"IndexLoss of head 'a' has reduction 'none'.*mean or sum"
    ):
        head_loss(loss, Parameter("a", 0.0, 5.0, 0.5))


def test_a_weight_that_is_missing_or_has_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match="no weight for head 'd'; it has a, b, c"):
        IndexLoss(parameter_weights=WEIGHTS, parameter="d")
    with pytest.raises(ValueError, match="give a dict by name"):
        IndexLoss(parameter_weights=[1.0, 2.0], parameter="a")
    with pytest.raises(ValueError, match="vectors have no names"):
        IndexLoss(parameter_weights=WEIGHTS)


def test_vectors_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"same shape \(B, 2\)"):
        IndexLoss(parameter_weights=[1.0, 2.0])(torch.zeros(4, 3), torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"\(4, 3\) and \(4, 1\)"):
        IndexLoss()(torch.zeros(4, 3), torch.zeros(4))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"reduction": "median"}, "reduction is 'median'; allowed are mean, sum, none"),
        ({"loss_type": "l3"}, "loss_type is 'l3'; allowed are l1, l2, mse, huber"),
        ({"huber_delta": 0.0}, "huber_delta is 0.0"),
        ({"parameter_weights": [1.0, -2.0]}, "parameter_weights is -2.0"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        IndexLoss(**arguments)
