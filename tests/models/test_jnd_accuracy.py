import pytest
import torch

from src.models.jnd_accuracy import JNDAccuracy, within_jnd
from src.vimh.parameters import Parameter

DECAY = Parameter("log10_decay_time", -2.0, 0.3, 0.1)
VELOCITY = Parameter("note_velocity", 126.0, 127.0, 0.5)


def share(parameter: Parameter, errors: list[float], tolerance: float = 1.0) -> float:
    accuracy = JNDAccuracy(parameter, tolerance)
    true = torch.full((len(errors),), -1.0, dtype=torch.float64)
    accuracy.update(true + torch.tensor(errors, dtype=torch.float64), true)
    return accuracy.compute().item()


def test_share_by_hand() -> None:
    assert share(DECAY, [0.0, 0.05, -0.1, 0.2, -0.3]) == pytest.approx(3 / 5)
    assert share(DECAY, [0.0, 0.05, -0.1, 0.2, -0.3], tolerance=2) == pytest.approx(4 / 5)
    assert share(DECAY, [0.0, 0.05, -0.1, 0.2, -0.3], tolerance=0.5) == pytest.approx(2 / 5)


def test_the_limit_is_a_step_and_half_a_quantum_and_a_millionth() -> None:
    limit = 0.1 + 2.3 / 255 / 2 + 1e-7
    assert share(DECAY, [limit - 1e-9, -(limit - 1e-9)]) == 1.0
    assert share(DECAY, [limit + 1e-9, -(limit + 1e-9)]) == 0.0


def test_an_error_of_exactly_one_step_passes_in_spite_of_the_byte() -> None:
    # 126.5 is stored as byte 128, which reads as 126.50196: 0.50196 from 126.
    true = torch.tensor([126 + 128 / 255], dtype=torch.float64)
    accuracy = JNDAccuracy(VELOCITY)
    accuracy.update(torch.tensor([126.0]), true)
    assert accuracy.compute() == 1.0
    assert not within_jnd(torch.tensor([126.0]), true, VELOCITY.codec, 0.5019).any()


def test_batches_accumulate_and_nan_is_wrong() -> None:
    accuracy = JNDAccuracy(DECAY)
    accuracy.update(torch.tensor([-1.0, -1.0, -1.0]), torch.tensor([-1.0, -1.0, -1.0]))
    accuracy.update(torch.tensor([torch.nan]), torch.tensor([-1.0]))
    assert accuracy.compute() == 0.75
    accuracy.reset()
    accuracy.update(torch.tensor([-1.0]), torch.tensor([-1.0]))
    assert accuracy.compute() == 1.0


@pytest.mark.parametrize("tolerance", [-0.5, float("nan")])
def test_wrong_tolerances_are_refused(tolerance: float) -> None:
    with pytest.raises(ValueError, match="tolerance is"):
        JNDAccuracy(DECAY, tolerance)


def test_a_parameter_without_a_step_is_refused() -> None:
    with pytest.raises(ValueError, match="'cutoff': 'step'"):
        JNDAccuracy(Parameter("cutoff", 0.0, 1.0))


def test_an_error_of_a_ratio_is_counted_in_ratios() -> None:
    third = Parameter("f", 100.0, 1000.0, 0.25, spacing="log")
    true = torch.tensor([100.0, 100.0, 800.0, 800.0], dtype=torch.float64)
    accuracy = JNDAccuracy(third)
    accuracy.update(torch.tensor([125.0, 127.0, 1000.0, 650.0]), true)
    assert accuracy.compute() == 0.75
