import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from src.models.losses import (
    DirectParameterGradientLoss,
    DirectRegressionLoss,
    HeadLoss,
    NormalizedRegressionLoss,
)
from src.models.losses.distances import distance, inward_clamp
from src.vimh.parameters import Parameter


@pytest.mark.parametrize("scale", [1.0, 4, 0.25])
def test_direct_gradient_is_the_error_itself(scale: float) -> None:
    predicted = torch.rand(7, 1, dtype=torch.float64, requires_grad=True)
    target = torch.rand(7, dtype=torch.float64)
    DirectParameterGradientLoss(scale)(predicted, target).backward()
    assert predicted.grad is not None
    expected = scale * (predicted.detach()[:, 0] - target) / 7
    torch.testing.assert_close(predicted.grad[:, 0], expected, rtol=0, atol=1e-15)


def test_direct_gradient_by_hand() -> None:
    # ½ · 2 · mean(0.3², 0.4²) = 0.125
    loss = DirectParameterGradientLoss(scale_factor=2.0)
    value = loss(torch.tensor([[0.5], [0.0]]), torch.tensor([0.2, 0.4]))
    assert value.item() == pytest.approx(0.125)


def test_direct_gradient_in_parameter_units_takes_class_indices() -> None:
    # Range 126...127 in 3 classes. 0.5 is 126.5, class 2 is 127: ½ · (0.5)² = 0.125.
    loss = DirectParameterGradientLoss(param_range={"min": 126.0, "max": 127.0, "num_classes": 3})
    assert loss.target == "index"
    assert loss.output_mode == "regression"
    output = torch.tensor([[0.5]], dtype=torch.float64, requires_grad=True)
    value = loss(output, torch.tensor([2]))
    assert value.item() == pytest.approx(0.125)
    # A range of 10: the same share is ten times the error, and the gradient passes the range again.
    wide = DirectParameterGradientLoss(param_range={"min": 0.0, "max": 10.0, "num_classes": 3})
    (gradient,) = torch.autograd.grad(wide(output, torch.tensor([2])), output)
    assert gradient.item() == pytest.approx(-5.0 * 10.0)
    assert wide.decode(output.detach(), Parameter("p", 0.0, 10.0, 5.0)).tolist() == [5.0]


def test_logits_are_refused_with_what_to_do() -> None:
    for loss in (DirectParameterGradientLoss(), DirectRegressionLoss()):
        with pytest.raises(ValueError, match=r"class logits\. Use regression heads"):
            loss(torch.zeros(4, 24), torch.zeros(4))
        with pytest.raises(ValueError, match=r"class logits\. Use regression heads"):
            loss.decode(torch.zeros(4, 24), Parameter("p", 0.0, 1.0))


def test_direct_gradient_refuses_class_indices_without_a_range() -> None:
    with pytest.raises(ValueError, match="no param_range"):
        DirectParameterGradientLoss()(torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64))

    with pytest.raises(ValueError, match=r"no param_range.num_classes"):
        DirectParameterGradientLoss(param_range={"min": 0.0, "max": 1.0})(
            torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64)
        )


def test_direct_gradient_in_units_of_a_range_without_classes() -> None:
    loss = DirectParameterGradientLoss(param_range={"min": -2.0, "max": 3.0})
    assert loss.target == "value"
    outputs, values = torch.tensor([[0.5], [1.0]]), torch.tensor([0.7, 1.0])
    assert loss(outputs, values).item() == pytest.approx(0.5 * (5 * 0.2) ** 2 / 2)


@pytest.mark.parametrize(
    ("param_range", "targets"),
    [
        (None, torch.tensor([[0.25], [1.0]])),
        ({"min": 0.0, "max": 1.0}, torch.tensor([[0.25], [1.0]])),
        ({"min": 0.0, "max": 1.0, "num_classes": 5}, torch.tensor([[1], [4]])),
    ],
)
def test_direct_gradient_takes_a_column_of_targets(
    param_range: dict[str, float] | None, targets: Tensor
) -> None:
    loss = DirectParameterGradientLoss(param_range=param_range)
    outputs = torch.tensor([[0.5], [0.5]])
    expected = 0.5 * (0.25**2 + 0.5**2) / 2
    assert loss(outputs, targets).item() == pytest.approx(expected)
    assert loss(outputs, targets[:, 0]).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("param_range", "span"),
    [
        (None, 1.0),
        ({"min": 0.0, "max": 8.0}, 8.0),
        ({"min": -4.0, "max": 4.0, "num_classes": 3}, 8.0),
    ],
)
def test_direct_gradient_takes_the_expectation_of_soft_targets(
    param_range: dict[str, float] | None, span: float
) -> None:
    loss = DirectParameterGradientLoss(param_range=param_range)
    # Expected classes 1.25 and 2 of 0...2, that is 0.625 and 1 of 0...1.
    soft = torch.tensor([[0.25, 0.25, 0.5], [0.0, 0.0, 1.0]])
    outputs = torch.tensor([[0.625], [0.5]])
    assert loss(outputs, soft).item() == pytest.approx(0.5 * (span * 0.5) ** 2 / 2)


def test_direct_gradient_refuses_soft_targets_of_other_shapes() -> None:
    loss = DirectParameterGradientLoss(param_range={"min": 0.0, "max": 1.0, "num_classes": 4})
    with pytest.raises(ValueError, match=r"soft targets \(2, 4\), but got shape \(2, 3\)"):
        loss(torch.zeros(2, 1), torch.full((2, 3), 1 / 3))
    with pytest.raises(ValueError, match=r"soft targets \(2, classes\), but got shape \(1, 3\)"):
        DirectParameterGradientLoss()(torch.zeros(2, 1), torch.full((1, 3), 1 / 3))


def test_direct_regression_has_the_threshold_of_torch() -> None:
    outputs, values = torch.tensor([[0.9], [0.4]]), torch.tensor([0.0, 0.4])
    loss = DirectRegressionLoss("huber")
    expected = torch.nn.functional.huber_loss(outputs[:, 0], values)
    assert loss.huber_delta == 1.0
    torch.testing.assert_close(loss(outputs, values), expected)


@pytest.mark.parametrize(
    ("loss_type", "expected"),
    [
        ("l1", [0.0, 0.05, 0.4]),
        ("l2", [0.0, 0.0025, 0.16]),
        ("mse", [0.0, 0.0025, 0.16]),
        ("huber", [0.0, 0.00125, 0.1 * (0.4 - 0.05)]),
    ],
)
def test_distances_by_hand(loss_type: str, expected: list[float]) -> None:
    predicted, target = torch.tensor([0.5, 0.55, 0.1]), torch.full((3,), 0.5)
    values = distance(predicted, target, loss_type, huber_delta=0.1)
    torch.testing.assert_close(values, torch.tensor(expected))
    loss = DirectRegressionLoss(loss_type, huber_delta=0.1)(predicted[:, None], target)
    assert loss.item() == pytest.approx(sum(expected) / 3)


def test_clamp_range_is_applied_before_comparing() -> None:
    loss = DirectRegressionLoss("l1", clamp_range=(0, 1))
    outputs = torch.tensor([[1.5], [1.5], [-0.5]], requires_grad=True)
    value = loss(outputs, torch.tensor([1.0, 0.2, 0.0]))
    assert value.item() == pytest.approx(0.8 / 3)
    value.backward()
    assert outputs.grad is not None
    # The output beyond an end that is right is left alone, the wrong one is pulled back.
    torch.testing.assert_close(outputs.grad, torch.tensor([[0.0], [1 / 3], [0.0]]))


def test_inward_clamp_passes_only_what_leads_back() -> None:
    x = torch.tensor([-1.0, -1.0, 0.5, 2.0, 2.0], requires_grad=True)
    gradient = torch.tensor([1.0, -1.0, 3.0, 1.0, -1.0])
    inward_clamp(x, 0.0, 1.0).backward(gradient)
    assert x.grad is not None
    # Descent goes against the gradient: -1 at -1.0 raises, 1 at 2.0 lowers.
    assert x.grad.tolist() == [0.0, -1.0, 3.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("loss_type", "unit_loss"),
    [("l1", 0.25), ("mse", (0.0625 * 2) / 2), ("huber", 0.1 * (0.25 - 0.05))],
)
def test_normalized_regression_by_hand(loss_type: str, unit_loss: float) -> None:
    # Range 10...30; targets 15 and 99 are 0.25 and, clipped, 1.
    outputs, target = torch.tensor([[0.5], [0.75]]), torch.tensor([15.0, 99.0])
    loss = NormalizedRegressionLoss((10.0, 30.0), loss_type)
    assert loss(outputs, target).item() == pytest.approx(20 * unit_loss)
    plain = NormalizedRegressionLoss((10.0, 30.0), loss_type, return_perceptual_units=False)
    assert plain(outputs, target).item() == pytest.approx(unit_loss)
    normalised = NormalizedRegressionLoss((10.0, 30.0), loss_type, normalised_targets=True)
    assert normalised(outputs, torch.tensor([0.25, 1.0])).item() == pytest.approx(20 * unit_loss)


def test_values_are_an_affine_map_clipped_to_the_range(decay: Parameter) -> None:
    outputs = torch.tensor([[-0.05], [0.0], [0.25], [1.0], [1.05]])
    expected = torch.tensor([-2.0, -2.0, -2.0 + 0.25 * 2.3, 0.3, 0.3])
    losses: list[HeadLoss] = [
        DirectParameterGradientLoss(),
        DirectRegressionLoss(),
        NormalizedRegressionLoss(**NormalizedRegressionLoss.arguments_from(decay)),
    ]
    for loss in losses:
        torch.testing.assert_close(loss.decode(outputs, decay), expected)


def test_a_linear_output_starts_mid_range(decay: Parameter) -> None:
    assert DirectRegressionLoss(activation="none").initial_bias(decay) == 0.5
    assert DirectRegressionLoss().initial_bias(decay) is None


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: DirectParameterGradientLoss(0.0), "scale_factor is 0.0"),
        (lambda: DirectParameterGradientLoss(param_range={"min": 0.0}), "min, max and num_classes"),
        (
            lambda: DirectParameterGradientLoss(
                param_range={"min": 1.0, "max": 1.0, "num_classes": 3}
            ),
            "min < max",
        ),
        (
            lambda: DirectParameterGradientLoss(
                param_range={"min": 0.0, "max": 1.0, "num_classes": 1}
            ),
            "num_classes is 1",
        ),
        (lambda: DirectRegressionLoss("l3"), "'l3'; allowed are l1, l2, mse, huber"),
        (lambda: DirectRegressionLoss(huber_delta=0), "huber_delta is 0"),
        (lambda: DirectRegressionLoss(clamp_range=[1, 0]), r"clamp_range is \[1, 0\]"),
        (lambda: NormalizedRegressionLoss((3.0, 3.0)), "min < max"),
        (lambda: NormalizedRegressionLoss((0.0, float("nan"))), "min < max"),
        (lambda: NormalizedRegressionLoss((0.0, 1.0), "l3"), "allowed are"),
    ],
)
def test_wrong_arguments_are_refused(make: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()


def test_gradient_of_normalised_regression_against_numpy() -> None:
    rng = np.random.default_rng(3)
    outputs = torch.from_numpy(rng.random((5, 1))).requires_grad_(True)
    target = torch.from_numpy(rng.uniform(10, 30, 5))
    loss: Tensor = NormalizedRegressionLoss((10.0, 30.0))(outputs, target)
    (gradient,) = torch.autograd.grad(loss, outputs)
    y = (target.numpy() - 10) / 20
    np.testing.assert_allclose(
        gradient.numpy()[:, 0], 20 * 2 * (outputs.detach().numpy()[:, 0] - y) / 5
    )


def test_units_that_are_spaced_by_ratios() -> None:
    ends = {"min": 110.0, "max": 440.0}
    loss = DirectParameterGradientLoss(param_range=ends, spacing="log")
    outputs = torch.tensor([[0.5]], requires_grad=True)
    value = loss(outputs, torch.tensor([1.0]))  # 220 Hz, where 440 Hz is right
    assert value.item() == pytest.approx(0.5 * 220.0**2)
    value.backward()
    # d(Hz)/dx of 110 · 4^x
    assert outputs.grad is not None
    assert outputs.grad.item() == pytest.approx(-220.0 * 220.0 * math.log(4.0), rel=1e-5)
    octave = Parameter("frequency", 110.0, 440.0, spacing="log")
    assert loss.decode(outputs.detach(), octave).item() == pytest.approx(220.0)
    classes = DirectParameterGradientLoss(param_range={**ends, "num_classes": 3}, spacing="log")
    assert classes(outputs.detach(), torch.tensor([1])).item() == pytest.approx(0.0, abs=1e-6)
    in_units = NormalizedRegressionLoss((110.0, 440.0), "l1", spacing="log")
    found = in_units(outputs.detach(), torch.tensor([440.0]))
    assert found.item() == pytest.approx(0.5 * math.log(4.0))
    for make in (
        lambda: DirectParameterGradientLoss(param_range={"min": 0, "max": 1}, spacing="log"),
        lambda: NormalizedRegressionLoss((0.0, 1.0), spacing="log"),
    ):
        with pytest.raises(ValueError, match="min has to be positive"):
            make()
