import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from src.models.losses import CrossEntropyHead, SoftTargetLoss, WeightedCrossEntropyLoss
from src.models.losses.classification import soft_target_loss, weighted_cross_entropy
from src.vimh.parameters import Parameter

LOGITS = np.array([[0.3, -1.2, 2.0, 0.0], [1.0, 1.0, -3.0, 0.5]])


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True)


def test_weighted_cross_entropy_by_hand() -> None:
    # Uniform over 3 classes, target 0: log 3 + (1 + 1)/3 + (1 + 4)/3; target 1: log 3 + 2·(1 + 1)/3
    logits = torch.zeros(2, 3, dtype=torch.float64)
    loss = weighted_cross_entropy(logits, torch.tensor([0, 1]), distance_power=2, base_weight=1)
    assert loss.item() == pytest.approx(math.log(3) + (7 / 3 + 4 / 3) / 2, abs=1e-12)


@pytest.mark.parametrize(("power", "base"), [(2, 1), (1, 0), (0.5, 3.0)])
def test_weighted_cross_entropy_against_a_loop(power: float, base: float) -> None:
    target = [2, 0]
    p = softmax(LOGITS)
    expected = 0.0
    for i, t in enumerate(target):
        expected -= np.log(p[i, t]) / 2
        for k in range(4):
            if k != t:
                expected += (base + abs(k - t) ** power) * p[i, k] / 2
    loss = WeightedCrossEntropyLoss(4, power, base)(torch.from_numpy(LOGITS), torch.tensor(target))
    assert loss.item() == pytest.approx(expected, abs=1e-12)


def test_soft_target_loss_against_the_definition() -> None:
    q = np.array([[0.0, 0.25, 0.75, 0.0], [0.1, 0.2, 0.3, 0.4]])
    logs = np.log(np.where(q > 0, q, 1.0)) - np.log(softmax(LOGITS))
    expected = (q * logs).sum() / 2
    loss = soft_target_loss(torch.from_numpy(LOGITS), torch.from_numpy(q))
    assert loss.item() == pytest.approx(expected, abs=1e-12)


def test_soft_target_loss_is_zero_for_the_target_itself() -> None:
    q = torch.tensor([[0.1, 0.2, 0.7]])
    assert soft_target_loss(q.log(), q).item() == pytest.approx(0.0, abs=1e-7)


def test_soft_target_loss_refuses_class_indices() -> None:
    with pytest.raises(ValueError, match=r"data.target_width > 0"):
        SoftTargetLoss()(torch.zeros(2, 3), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"data.target_width > 0"):
        SoftTargetLoss()(torch.zeros(2, 3), torch.zeros(2, 4))


def test_cross_entropy_adapter_is_the_plain_loss(decay: Parameter) -> None:
    logits, index = torch.randn(5, 24), torch.randint(24, (5,))
    head = CrossEntropyHead(nn.CrossEntropyLoss(label_smoothing=0.1), decay)
    assert head(logits, index) == F.cross_entropy(logits, index, label_smoothing=0.1)
    soft = torch.softmax(torch.randn(5, 24), dim=1)
    plain = CrossEntropyHead(nn.CrossEntropyLoss(), decay)
    assert plain(logits, soft).item() == pytest.approx(
        -(soft * logits.log_softmax(1)).sum(1).mean().item(), rel=1e-6
    )


def test_cross_entropy_decodes_by_arg_max(velocity: Parameter) -> None:
    head = CrossEntropyHead(nn.CrossEntropyLoss(), velocity)
    logits = torch.tensor([[0.0, 0.1, -5.0], [9.0, 8.0, 8.9]])
    assert head.decode(logits, velocity).tolist() == [126.5, 126.0]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"num_classes": 1}, "num_classes is 1"),
        ({"num_classes": 3, "distance_power": 0}, "distance_power is 0"),
        ({"num_classes": 3, "base_weight": -1}, "base_weight is -1"),
    ],
)
def test_weighted_cross_entropy_refuses(arguments: dict[str, float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        WeightedCrossEntropyLoss(**arguments)


def test_a_cross_entropy_that_is_no_scalar_is_refused(decay: Parameter) -> None:
    with pytest.raises(ValueError, match="allowed are mean, sum"):
        CrossEntropyHead(nn.CrossEntropyLoss(reduction="none"), decay)
