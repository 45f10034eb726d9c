import pytest
import torch

from src.models.metrics import ParameterMetrics
from src.vimh.parameters import Parameter

DECAY = Parameter("log10_decay_time", -2.0, 0.3, 0.1)
VELOCITY = Parameter("note_velocity", 126.0, 127.0, 0.5)


def share(parameter: Parameter, predicted: list[float], true: float) -> float:
    """The share of predictions within one JND of a true value."""
    metrics = ParameterMetrics([parameter])
    found = torch.tensor(predicted, dtype=torch.float64)[:, None]
    metrics.update(found, torch.full_like(found, true))
    return metrics.compute()[f"{parameter.name}_jnd"].item()


def test_share_by_hand() -> None:
    assert share(DECAY, [-1.0, -0.95, -1.1, -0.8, -1.3], -1.0) == pytest.approx(3 / 5)


def test_the_limit_is_a_step_and_half_a_quantum_and_a_millionth() -> None:
    limit = 0.1 + 2.3 / 255 / 2 + 1e-7
    assert share(DECAY, [-1 + limit - 1e-9, -1 - limit + 1e-9], -1.0) == 1.0
    assert share(DECAY, [-1 + limit + 1e-9, -1 - limit - 1e-9], -1.0) == 0.0


def test_an_error_of_exactly_one_step_passes_in_spite_of_the_byte() -> None:
    # 126.5 is stored as byte 128, which reads as 126.50196: 0.50196 from 126.
    assert share(VELOCITY, [126.0], 126 + 128 / 255) == 1.0
    limit = 0.5 + 1 / 255 / 2 + 5e-7
    assert share(VELOCITY, [126.0], 126 + limit + 1e-9) == 0.0


def test_batches_accumulate_and_nan_is_wrong() -> None:
    metrics = ParameterMetrics([DECAY])
    metrics.update(torch.tensor([[-1.0], [-1.0], [-1.0]]), torch.tensor([[-1.0], [-1.0], [-1.0]]))
    metrics.update(torch.tensor([[torch.nan]]), torch.tensor([[-1.0]]))
    assert metrics.compute()["log10_decay_time_jnd"] == 0.75
    metrics.reset()
    metrics.update(torch.tensor([[-1.0]]), torch.tensor([[-1.0]]))
    assert metrics.compute()["log10_decay_time_jnd"] == 1.0


def test_an_error_of_a_ratio_is_counted_in_ratios() -> None:
    third = Parameter("f", 100.0, 1000.0, 0.25, spacing="log")
    assert share(third, [125.0, 127.0], 100.0) == 0.5
    assert share(third, [1000.0, 650.0], 800.0) == 1.0
