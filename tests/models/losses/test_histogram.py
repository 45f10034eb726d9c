import itertools
import math

import numpy as np
import pytest
import torch

from src.models.losses import HLGaussLoss
from src.models.losses.histogram import best_window, gaussian_histogram
from src.vimh.parameters import Parameter


def phi(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def make(parameter: Parameter, **arguments: object) -> HLGaussLoss:
    return HLGaussLoss(**HLGaussLoss.arguments_from(parameter), **arguments)


def test_bins_cover_the_range_and_three_sigma_beyond(decay: Parameter) -> None:
    loss = make(decay, sigma_jnd=1.0, bins_per_jnd=2)
    # 23 JND of 2 bins, one bin for the end, 3 · 1 JND on both sides.
    assert loss.outputs(decay) == 46 + 1 + 12
    centres = -2.0 + 0.05 * (loss.edges[:-1] + 0.5).numpy()
    assert centres[6] == pytest.approx(-2.0)
    assert centres[-7] == pytest.approx(0.3)


def test_targets_by_hand() -> None:
    edges = [-1.5, -0.5, 0.5, 1.5, 2.5]
    y, sigma = 0.3, 0.8
    masses = np.array(
        [phi((b - y) / sigma) - phi((a - y) / sigma) for a, b in itertools.pairwise(edges)]
    )
    q = gaussian_histogram(
        torch.tensor([y], dtype=torch.float64), torch.tensor(edges).double(), sigma
    )
    np.testing.assert_allclose(q.numpy()[0], masses / masses.sum(), rtol=1e-12)


def test_loss_against_the_definition_in_parameter_units(decay: Parameter) -> None:
    loss = make(decay, sigma_jnd=0.5, bins_per_jnd=3)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, loss.num_bins))
    y = np.array([0.0, 0.123, 0.7, 1.0])
    width, sigma = 0.1 / 3, 0.05
    left = -2.0 + width * (np.arange(loss.num_bins) - loss.padding - 0.5)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = 0.0
    for i, value in enumerate(-2.0 + 2.3 * y):
        q = np.array([phi((e + width - value) / sigma) - phi((e - value) / sigma) for e in left])
        expected -= (q / q.sum() * log_p[i]).sum() / 4
    value = loss(torch.from_numpy(logits), torch.from_numpy(y))
    assert value.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("sigma", [0.3, 0.75, 1.0])
def test_targets_at_the_ends_are_not_cut(sigma: float, velocity: Parameter) -> None:
    loss = make(velocity, sigma_jnd=sigma)
    ends = torch.tensor([0.0, 1.0]) * loss.bins_in_range
    q = gaussian_histogram(ends, loss.edges, loss.sigma_bins)
    means = (q * (loss.edges[:-1] + 0.5)).sum(1)
    # What lies beyond three sigma: without the padding the mean is off by bins.
    torch.testing.assert_close(means, ends, rtol=0, atol=0.01)


def brute_force(p: np.ndarray, half: int) -> int:
    held = [p[max(c - half, 0) : c + half + 1].sum() for c in range(len(p))]
    best = max(held)
    return max((c for c in range(len(p)) if held[c] >= best - 1e-6), key=lambda c: p[c])


@pytest.mark.parametrize("half", [1, 2, 4, 20])
def test_the_window_agrees_with_brute_force(half: int) -> None:
    rng = np.random.default_rng(half)
    # Sharp, flat and two-peaked ones.
    logits = np.concatenate([rng.normal(scale=s, size=(300, 30)) for s in (0.1, 1.0, 8.0)])
    p = torch.from_numpy(logits).softmax(dim=1)
    chosen = best_window(p, half)
    assert chosen.tolist() == [brute_force(row, half) for row in p.numpy()]


def test_ties_go_to_the_highest_centre_bin() -> None:
    # All in one bin: every window with that bin holds it all, the bin itself is the answer.
    assert best_window(torch.eye(9), half_width=3).tolist() == list(range(9))


def test_the_window_prefers_the_heavier_side_to_the_mean(decay: Parameter) -> None:
    window, mean = make(decay), make(decay, decode="expectation")
    probabilities = torch.full((1, window.num_bins), 1e-9)
    probabilities[0, window.padding + 4] = 0.6  # −1.8
    probabilities[0, window.padding + 44] = 0.4  # 0.2
    logits = probabilities.log()
    torch.testing.assert_close(window.decode(logits, decay), torch.tensor([-1.8]))
    torch.testing.assert_close(
        mean.decode(logits, decay), torch.tensor([0.6 * -1.8 + 0.4 * 0.2]), rtol=0, atol=1e-4
    )


def test_probability_in_the_padding_is_clipped_to_the_range(velocity: Parameter) -> None:
    for decode in ("jnd_window", "expectation"):
        loss = make(velocity, decode=decode)
        logits = torch.full((2, loss.num_bins), -50.0)
        logits[0, 0] = logits[1, -1] = 50.0
        assert loss.decode(logits, velocity).tolist() == [126.0, 127.0]


def test_the_targets_own_distribution_decodes_to_it(decay: Parameter) -> None:
    loss = make(decay)
    y = torch.linspace(0, 1, 256)
    q = gaussian_histogram(y * loss.bins_in_range, loss.edges, loss.sigma_bins)
    values = loss.decode(q.log(), decay)
    # Half a bin of a quarter JND, and rounding.
    torch.testing.assert_close(values, -2.0 + 2.3 * y, rtol=0, atol=0.026)
    exact = make(decay, decode="expectation").decode(q.log(), decay)
    torch.testing.assert_close(exact, -2.0 + 2.3 * y, rtol=0, atol=1e-3)


def test_a_range_of_no_whole_number_of_bins_is_covered() -> None:
    odd = Parameter("odd", 0.0, 1.0, 0.3)
    loss = make(odd, bins_per_jnd=2, sigma_jnd=0.5)
    logits = gaussian_histogram(
        torch.tensor([1.0]) * loss.bins_in_range, loss.edges, loss.sigma_bins
    ).log()
    assert loss.decode(logits, odd).item() == pytest.approx(1.0, abs=0.08)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"sigma_jnd": 0.0}, "sigma_jnd is 0.0"),
        ({"bins_per_jnd": 0}, "bins_per_jnd is 0"),
        ({"padding_sigma": -1.0}, "padding_sigma is -1.0"),
        ({"decode": "mode"}, "decode is 'mode'; allowed are jnd_window, expectation"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: dict[str, object], match: str, decay: Parameter
) -> None:
    with pytest.raises(ValueError, match=match):
        make(decay, **arguments)


def test_a_parameter_without_a_step_has_as_many_bins_as_the_loss_says(
    stepless: Parameter, decay: Parameter
) -> None:
    loss = make(stepless, steps_without=32, bins_per_jnd=2, padding_sigma=3.0, sigma_jnd=1.0)
    assert loss.outputs(stepless) == 64 + 1 + 12
    target = torch.tensor([0.25])
    logits = -(loss.edges[:-1] + 0.5 - 16.0).square()[None]  # the bin at a quarter of 64
    assert loss(logits, target) < loss(logits, target + 0.1)
    quarter = stepless.min + 0.25 * (stepless.max - stepless.min)
    assert loss.decode(logits, stepless).item() == pytest.approx(quarter)
    # Its classes would be the bytes of the format, which nobody chose.
    assert not loss.has_accuracy(stepless)
    assert (loss.decoding, make(decay).decoding) == ("expectation", "jnd_window")
    assert make(decay, steps_without=32).outputs(decay) == make(decay).outputs(decay)
    assert make(decay).has_accuracy(decay)
