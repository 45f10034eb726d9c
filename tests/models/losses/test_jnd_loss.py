import numpy as np
import pytest
import torch

from src.models.losses import JNDLoss
from src.models.losses.jnd import jnd_loss
from src.vimh.parameters import Parameter


def reference(error_jnd: np.ndarray, tolerance: float, beta: float) -> float:
    softplus = np.log1p(np.exp(beta * (np.abs(error_jnd) - tolerance)))
    return float(np.mean(softplus**2) / (2 * beta**2))


def test_by_hand() -> None:
    # At the corner |e| = τ: (log 2)² / (2 β²); far outside: ½ (|e| − τ)².
    corner = jnd_loss(torch.tensor([0.25]), torch.tensor([0.0]), step=0.5, tolerance=0.5, beta=8)
    assert corner.item() == pytest.approx(np.log(2) ** 2 / 128)
    far = jnd_loss(torch.tensor([10.0]), torch.tensor([0.0]), step=1, tolerance=0.5, beta=8)
    assert far.item() == pytest.approx(0.5 * 9.5**2)
    inside = jnd_loss(torch.tensor([0.0]), torch.tensor([0.0]), step=1, tolerance=0.5, beta=8)
    assert 0 < inside.item() < 1e-5


@pytest.mark.parametrize(("tolerance", "beta"), [(0.5, 8.0), (1, 2), (0.0, 4.0)])
def test_against_the_definition(tolerance: float, beta: float, decay: Parameter) -> None:
    rng = np.random.default_rng(0)
    outputs, target = rng.random((9, 1)), rng.random(9)
    loss = JNDLoss(tolerance, beta, **JNDLoss.arguments_from(decay))
    value = loss(torch.from_numpy(outputs), torch.from_numpy(target))
    expected = reference((outputs[:, 0] - target) * 23, tolerance, beta)
    assert value.item() == pytest.approx(expected, rel=1e-6)


def test_logits_count_by_their_expectation(decay: Parameter) -> None:
    rng = np.random.default_rng(1)
    logits, target = rng.normal(size=(5, 24)), rng.random(5)
    loss = JNDLoss(output_mode="classification", **JNDLoss.arguments_from(decay))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected_value = (p * np.arange(24)).sum(1) / 23
    value = loss(torch.from_numpy(logits), torch.from_numpy(target))
    assert value.item() == pytest.approx(
        reference((expected_value - target) * 23, 0.5, 8), rel=1e-6
    )
    assert loss.outputs(decay) == 24
    assert (loss.activation, loss.target, loss.output_mode) == ("none", "value", "classification")
    values = loss.decode(torch.from_numpy(logits), decay)
    np.testing.assert_allclose(values.numpy(), -2.0 + 2.3 * expected_value, rtol=1e-5)
    logits_T = torch.from_numpy(logits).requires_grad_(True)
    assert torch.autograd.gradcheck(loss, (logits_T, torch.from_numpy(target)))


def test_classification_needs_the_classes() -> None:
    with pytest.raises(ValueError, match="class_values is 0"):
        JNDLoss(output_mode="classification")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"tolerance": -0.1}, "tolerance is -0.1"),
        ({"beta": 0}, "beta is 0"),
        ({"step": 0.0}, "step is 0.0"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        JNDLoss(**arguments)


def test_regression_refuses_logits(decay: Parameter) -> None:
    with pytest.raises(ValueError, match="Use regression heads"):
        JNDLoss()(torch.zeros(2, 24), torch.zeros(2))
