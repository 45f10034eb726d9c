import math
from typing import Any

import numpy as np
import pytest
import torch

from src.models.losses import CORNLoss, EMDLoss, OrdinalRegressionLoss, QuantizedRegressionLoss
from src.models.losses.ordinal import corn_index, corn_loss, emd_loss
from src.vimh.parameters import Parameter

RNG = np.random.default_rng(7)
LOGITS = RNG.normal(size=(6, 5))
TARGET = np.array([0, 4, 2, 1, 3, 2])


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ["l1", "l2", "huber"])
def test_ordinal_against_the_definition(kind: str) -> None:
    p = softmax(LOGITS)
    e = (p * np.arange(5)).sum(1) - TARGET
    far = {
        "l1": np.abs(e),
        "l2": e**2,
        "huber": np.where(np.abs(e) <= 0.7, 0.5 * e**2, 0.7 * (np.abs(e) - 0.35)),
    }[kind]
    expected = far.mean() * 2.0 / 4 - 0.3 * np.log(p[np.arange(6), TARGET]).mean()
    loss = OrdinalRegressionLoss(5, 2.0, kind, alpha=0.3, huber_delta=0.7)
    value = loss(torch.from_numpy(LOGITS), torch.from_numpy(TARGET))
    assert value.item() == pytest.approx(expected, abs=1e-12)


def test_ordinal_by_hand(velocity: Parameter) -> None:
    loss = OrdinalRegressionLoss(**OrdinalRegressionLoss.arguments_from(velocity), alpha=0.1)
    # Uniform: expectation 1, target 0 is one class of 0.5 away; cross-entropy log 3.
    value = loss(torch.zeros(1, 3), torch.tensor([0]))
    assert value.item() == pytest.approx(0.5 + 0.1 * math.log(3))
    assert loss.decode(torch.zeros(1, 3), velocity).tolist() == [126.5]


def test_quantized_regression_by_hand() -> None:
    loss = QuantizedRegressionLoss(num_classes=5, param_range=2.0, loss_type="l2")
    outputs = torch.tensor([[1.5], [-3.0]], requires_grad=True)
    value = loss(outputs, torch.tensor([1, 0]))
    assert value.item() == pytest.approx(0.5 * (0.25 + 9) / 2)
    value.backward()
    assert outputs.grad is not None
    assert (outputs.grad != 0).all(), "outside 0...K−1 there is a gradient too"


def test_quantized_regression_clamps_in_decoding(decay: Parameter) -> None:
    loss = QuantizedRegressionLoss(**QuantizedRegressionLoss.arguments_from(decay))
    values = loss.decode(torch.tensor([[-7.0], [0.0], [10.5], [23.0], [99.0]]), decay)
    torch.testing.assert_close(values, torch.tensor([-2.0, -2.0, -0.95, 0.3, 0.3]))


def test_emd_by_hand() -> None:
    # All mass at 0 against all at 2 of 3: CDFs (1, 1, 1) and (0, 0, 1).
    certain = torch.tensor([[50.0, 0.0, 0.0]])
    assert EMDLoss()(certain, torch.tensor([2])).item() == pytest.approx(2.0)
    assert EMDLoss()(certain, torch.tensor([1])).item() == pytest.approx(1.0)
    assert EMDLoss()(certain, torch.tensor([0])).item() == pytest.approx(0.0, abs=1e-12)


def test_emd_takes_distributions_against_the_definition() -> None:
    q = softmax(RNG.normal(size=(6, 5)))
    gaps = np.cumsum(softmax(LOGITS), axis=1) - np.cumsum(q, axis=1)
    expected = (gaps**2).sum(axis=1).mean()
    assert emd_loss(torch.from_numpy(LOGITS), torch.from_numpy(q)).item() == pytest.approx(expected)
    by_class = EMDLoss()(torch.from_numpy(LOGITS), torch.from_numpy(q))
    assert by_class.item() == pytest.approx(expected)
    with pytest.raises(ValueError, match="distributions"):
        EMDLoss()(torch.from_numpy(LOGITS), torch.from_numpy(q[:, :4]))


def test_corn_against_a_loop() -> None:
    logits = LOGITS[:, :4]
    total, pairs = 0.0, 0
    for i, y in enumerate(TARGET):
        for k in range(4):
            if y >= k:
                s = 1 / (1 + np.exp(-logits[i, k]))
                total -= np.log(s) if y > k else np.log(1 - s)
                pairs += 1
    value = CORNLoss(5)(torch.from_numpy(logits), torch.from_numpy(TARGET))
    assert value.item() == pytest.approx(total / pairs, abs=1e-12)


def test_corn_asks_only_those_who_got_there() -> None:
    logits = torch.zeros(1, 3, requires_grad=True)
    corn_loss(logits, torch.tensor([0])).backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0.5, 0.0, 0.0]]


def test_corn_decodes_by_the_products(velocity: Parameter) -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(loc=1.0, size=(200, 6))
    expected = []
    for row in 1 / (1 + np.exp(-logits)):
        product, index = 1.0, 0
        for s in row:
            product *= s
            index += product > 0.5
        expected.append(index)
    assert len(set(expected)) > 3
    assert corn_index(torch.from_numpy(logits)).tolist() == expected
    outputs = torch.tensor([[-9.0, 9.0], [9.0, -9.0], [9.0, 9.0]])
    assert CORNLoss(3).decode(outputs, velocity).tolist() == [126.0, 126.5, 127.0]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: OrdinalRegressionLoss(1, 1.0), "num_classes is 1"),
        (lambda: OrdinalRegressionLoss(3, 0.0), "param_range is 0.0"),
        (lambda: OrdinalRegressionLoss(3, -1.0), "param_range is -1.0"),
        (lambda: OrdinalRegressionLoss(3, 1.0, "l3"), "regression_loss is 'l3'; allowed are l1"),
        (lambda: OrdinalRegressionLoss(3, 1.0, alpha=-0.1), "alpha is -0.1"),
        (lambda: QuantizedRegressionLoss(3, float("inf")), "param_range is inf"),
        (lambda: QuantizedRegressionLoss(3, 1.0, "smooth"), "loss_type is 'smooth'; allowed are"),
        (lambda: QuantizedRegressionLoss(3, 1.0, huber_delta=-1), "huber_delta is -1"),
        (lambda: CORNLoss(1), "num_classes is 1"),
    ],
)
def test_wrong_arguments_are_refused(make: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()
