"""Intervals and prediction sets of heads: their scores, their coverage, their ends."""

import math

import pytest
import torch
from scipy.stats import binom
from torch import nn

from src.calibration.calibration import Calibration
from src.calibration.conformal import kept_scores
from src.models.intervals import Intervals, class_shares, head_scores
from src.models.losses import (
    BetaNLLLoss,
    CORNLoss,
    DirectParameterGradientLoss,
    HLGaussLoss,
    WeightedCrossEntropyLoss,
    head_loss,
)
from src.models.parameter_head import ParameterHead
from src.utils.errors import ConfigError
from src.vimh.parameters import Parameter

PITCH = Parameter("pitch", 40.0, 80.0, 0.5)
CUTOFF = Parameter("cutoff", 100.0, 10_000.0, 0.03, spacing="log")
WAVE = Parameter("wave", 0, 1, kind="categorical", class_names=("saw", "square", "sine"))


def head_of(parameter: Parameter, cls: type = DirectParameterGradientLoss) -> ParameterHead:
    if parameter.is_categorical:
        return ParameterHead(parameter, head_loss(nn.CrossEntropyLoss(), parameter))
    return ParameterHead(parameter, cls(**cls.arguments_from(parameter)))


def drawn(head: ParameterHead, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs of a network that is more and less sure, and true values."""
    random = torch.Generator().manual_seed(seed)
    parameter = head.parameter
    if parameter.is_categorical:
        logits = 2.0 * torch.randn((count, 3), generator=random)
        true = torch.multinomial(logits.softmax(1), 1, generator=random)[:, 0]
        return logits, head.codec.value_of_class(true.double())
    true = 0.2 + 0.6 * torch.rand(count, generator=random, dtype=torch.float64)
    doubt = 0.01 + 0.09 * torch.rand(count, generator=random)
    found = true.float() + doubt * torch.randn(count, generator=random)
    outputs = found.clamp(0.01, 0.99)[:, None]
    if isinstance(head.loss, BetaNLLLoss):
        outputs = torch.cat([outputs.logit(), 2.0 * doubt[:, None].log()], dim=1)
    return outputs, head.codec.denormalise(true)


def calibrated(head: ParameterHead, count: int = 500, seed: int = 0) -> Calibration:
    scores = head_scores(head, *drawn(head, count, seed))
    kept = kept_scores(scores[:, None]).float()
    return Calibration(count, {head.parameter.name: 0.05}, kept)


HEADS = {
    "linear": head_of(PITCH),
    "log": head_of(CUTOFF),
    "with a spread": head_of(PITCH, BetaNLLLoss),
    "log with a spread": head_of(CUTOFF, BetaNLLLoss),
}


@pytest.mark.parametrize("name", HEADS)
def test_intervals_hold_the_share_that_was_asked_for(name: str) -> None:
    head, count = HEADS[name], 4000
    outputs, true = drawn(head, count, 1)
    for confidence in (0.8, 0.9, 0.95):
        intervals = Intervals([head], calibrated(head, 8000), confidence)
        low, high = (ends[:, 0] for ends in intervals({head.parameter.name: outputs}))
        held = int(((low <= true) & (true <= high)).sum())
        least, most = binom.interval(0.998, count, confidence)
        assert least <= held <= most, (confidence, held)
        assert bool((low <= head.decode(outputs)).all() and (head.decode(outputs) <= high).all())


def test_a_heads_own_doubt_makes_its_interval_wider() -> None:
    head = HEADS["with a spread"]
    outputs = torch.tensor([[0.0, 2 * math.log(0.01)], [0.0, 2 * math.log(0.05)]])
    low, high = Intervals([head], calibrated(head), 0.9)({"pitch": outputs})
    widths = (high - low)[:, 0]
    assert float(widths[1] / widths[0]) == pytest.approx(5.0, rel=1e-3)


def test_where_the_spacing_is_log_the_ends_are_ratios() -> None:
    head = HEADS["log"]
    outputs = torch.tensor([[0.3], [0.6]])
    low, high = Intervals([head], calibrated(head), 0.9)({"cutoff": outputs})
    value = head.decode(outputs)
    torch.testing.assert_close(value / low[:, 0], high[:, 0] / value)
    torch.testing.assert_close(high[0] / low[0], high[1] / low[1])
    assert float(high[0] / low[0]) > 1.1


@pytest.mark.parametrize("name", HEADS)
def test_too_few_samples_give_the_whole_range(name: str) -> None:
    head = HEADS[name]
    parameter, (outputs, _) = head.parameter, drawn(head, 5, 1)
    calibration = calibrated(head, 8)
    low, high = Intervals([head], calibration, 0.9)({parameter.name: outputs})
    torch.testing.assert_close(low, torch.full_like(low, parameter.min))
    torch.testing.assert_close(high, torch.full_like(high, parameter.max))
    (remark,) = calibration.remarks(0.9)
    assert "8 validation samples are too few for intervals at 90 %: it takes 9" in remark
    assert calibration.remarks(0.8) == []
    low, high = Intervals([head], calibration, 0.8)({parameter.name: outputs})
    assert bool((high - low < parameter.range).any())


def test_prediction_sets_hold_the_true_class() -> None:
    head, count = head_of(WAVE), 4000
    logits, true = drawn(head, count, 1)
    classes = head.codec.class_of(true).long()
    sizes = []
    for confidence in (0.7, 0.8, 0.9):
        intervals = Intervals([head], calibrated(head, 8000), confidence)
        chosen = intervals.sets({"wave": logits})["wave"]
        held = int(chosen.gather(1, classes[:, None]).sum())
        least, _ = binom.interval(0.998, count, confidence)
        assert held >= least
        assert bool(chosen.gather(1, logits.argmax(1, keepdim=True)).all())
        sizes.append(float(chosen.sum(1).float().mean()))
        low, high = intervals({"wave": logits})
        torch.testing.assert_close(low[:, 0], head.decode(logits))
        torch.testing.assert_close(low, high)
    assert 1.0 <= sizes[0] < sizes[1] < sizes[2] < 3.0
    whole = Intervals([head], calibrated(head, 8), 0.9).sets({"wave": logits})["wave"]
    assert bool(whole.all())


def test_scores_of_classes_are_what_the_true_one_lacks() -> None:
    head = head_of(WAVE)
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 5.0]])
    true = head.codec.value_of_class(torch.tensor([0.0, 1.0], dtype=torch.float64))
    expected = 1.0 - logits.softmax(1)[[0, 1], [0, 1]]
    torch.testing.assert_close(head_scores(head, logits, true), expected)
    torch.testing.assert_close(class_shares(head, logits), logits.softmax(1))


def test_spreads_are_shares_of_the_range() -> None:
    uniform = torch.zeros(1, PITCH.num_classes)
    even = head_of(PITCH, WeightedCrossEntropyLoss)
    assert float(even.spread(uniform)) == pytest.approx(12**-0.5, rel=0.02)
    sure = torch.zeros(1, PITCH.num_classes)
    sure[0, 3] = 100.0
    assert float(even.spread(sure)) == pytest.approx(0.5 / 80)
    bins = head_of(PITCH, HLGaussLoss)
    assert float(bins.spread(torch.zeros(1, bins.num_outputs))) > 12**-0.5
    corn = head_of(PITCH, CORNLoss)
    assert float(corn.spread(torch.full((1, 80), 100.0))) == pytest.approx(0.5 / 80)
    assert HEADS["linear"].spread(torch.rand(4, 1)).tolist() == [1.0] * 4
    spread = HEADS["with a spread"].spread(torch.tensor([[0.0, 2 * math.log(0.05)]]))
    assert float(spread) == pytest.approx(0.05)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.5, 90.0])
def test_what_is_no_confidence_is_refused(confidence: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        Intervals([HEADS["linear"]], calibrated(HEADS["linear"]), confidence)
