import numpy as np
import pytest
import torch

from src.models.losses import BetaNLLLoss
from src.models.losses.uncertainty import beta_nll_loss
from src.vimh.parameters import Parameter


@pytest.mark.parametrize("beta", [0, 0.5, 1])
def test_against_the_definition_and_its_gradient(beta: float) -> None:
    rng = np.random.default_rng(0)
    mean, log_variance, y = rng.random(6), rng.normal(size=6), rng.random(6)
    variance = np.exp(log_variance)
    weight = variance**beta
    expected = np.mean(weight * 0.5 * (log_variance + (y - mean) ** 2 / variance))
    mean_T = torch.from_numpy(mean).requires_grad_(True)
    log_T = torch.from_numpy(log_variance).requires_grad_(True)
    value = beta_nll_loss(mean_T, log_T, torch.from_numpy(y), beta)
    assert value.item() == pytest.approx(expected, abs=1e-12)
    value.backward()
    assert mean_T.grad is not None
    assert log_T.grad is not None
    # No gradient through the weight.
    np.testing.assert_allclose(mean_T.grad.numpy(), weight * (mean - y) / variance / 6)
    np.testing.assert_allclose(
        log_T.grad.numpy(), weight * 0.5 * (1 - (y - mean) ** 2 / variance) / 6
    )


def test_head_outputs_are_a_sigmoid_and_a_log_variance(decay: Parameter) -> None:
    outputs = torch.tensor([[0.0, 0.0], [np.log(3.0), np.log(0.04)]], dtype=torch.float64)
    value = BetaNLLLoss(beta=0.0)(outputs, torch.tensor([1.0, 0.25], dtype=torch.float64))
    # 0.5, σ = 1: ½ · ½²; 0.75, σ = 0.2: ½ (log 0.04 + 0.25/0.04)
    expected = (0.5 * 0.25 + 0.5 * (np.log(0.04) + 0.25 / 0.04)) / 2
    assert value.item() == pytest.approx(expected, rel=1e-6)
    loss = BetaNLLLoss()
    torch.testing.assert_close(
        loss.decode(outputs, decay), torch.tensor([-2 + 0.5 * 2.3, -2 + 0.75 * 2.3])
    )
    torch.testing.assert_close(loss.deviation(outputs, decay), torch.tensor([2.3, 0.46]))


def test_the_margin_makes_the_ends_ordinary(decay: Parameter) -> None:
    end = torch.tensor([[3.1, 0.0], [-3.1, 0.0]])  # sigmoid 0.957
    values = BetaNLLLoss(margin=0.05).decode(end, decay)
    torch.testing.assert_close(values, torch.tensor([0.3, -2.0]))
    assert (BetaNLLLoss().decode(end, decay) - values).abs().min() > 0.09


def test_log_variance_is_clamped_and_not_stuck() -> None:
    loss = BetaNLLLoss(beta=0.0)
    target = torch.tensor([1.0, 0.5])
    outputs = torch.tensor([[0.0, -30.0], [0.0, -30.0]], requires_grad=True)
    value = loss(outputs, target)
    assert value.item() == pytest.approx((0.5 * (-14 + 0.25 * np.exp(14)) - 7) / 2, rel=1e-5)
    value.backward()
    assert outputs.grad is not None
    assert outputs.grad[0, 1] < 0, "too sure and wrong: the variance is raised"
    assert outputs.grad[1, 1] == 0, "right: nothing pushes it further down"


@pytest.mark.parametrize(
    ("arguments", "match"),
    [({"beta": 1.5}, "beta is 1.5"), ({"beta": -0.1}, "beta"), ({"margin": -1.0}, "margin is -1")],
)
def test_wrong_arguments_are_refused(arguments: dict[str, float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        BetaNLLLoss(**arguments)


def test_wrong_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="a mean and a log-variance"):
        BetaNLLLoss()(torch.zeros(3, 1), torch.zeros(3))


def test_the_deviation_of_ratios_is_half_the_distance_of_both_sides(octaves: Parameter) -> None:
    # μ = 0.5 is 220 Hz, σ = 0.1 of the two octaves
    outputs = torch.tensor([[0.0, 2 * np.log(0.1)]])
    half = 220 * (2.0**0.2 - 2.0**-0.2) / 2
    torch.testing.assert_close(
        BetaNLLLoss().deviation(outputs, octaves), torch.tensor([half], dtype=torch.float32)
    )
