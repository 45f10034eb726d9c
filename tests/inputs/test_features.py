import math

import numpy as np
import pytest
import torch

from src.inputs.auxiliary import (
    decay_from_envelope,
    decay_from_image,
    to_db,
)
from src.inputs.channels import temporal_envelope

HOP_S = 0.01
DB_PER_NEPER = 20 / math.log(10)


def decaying(log10_tau: torch.Tensor, frames: int = 32, onset: int = 0) -> torch.Tensor:
    """(B, 8, frames) in dB: harmonics of different strength that all decay by τ from the onset."""
    time = torch.clamp_min(torch.arange(frames) - onset, 0) * HOP_S
    strength = -20 * torch.log10(torch.arange(1.0, 9.0)).reshape(1, -1, 1)
    level = strength - DB_PER_NEPER * time / 10 ** log10_tau.reshape(-1, 1, 1)
    before = torch.arange(frames) < onset
    return torch.where(before, torch.tensor(-200.0), level)


@pytest.mark.parametrize("onset", [0, 5])
def test_the_decay_of_an_exponential_is_found(onset: int) -> None:
    log10_tau = torch.linspace(-2, 0.3, 24)
    features = decay_from_image(decaying(log10_tau, onset=onset), HOP_S)
    torch.testing.assert_close(features[:, 0], log10_tau, atol=2e-4, rtol=0)


def test_the_other_numbers_are_moments_and_the_ratio() -> None:
    log10_tau = torch.tensor([-1.0])
    features = decay_from_image(decaying(log10_tau), HOP_S)[0]
    time = np.arange(32) * HOP_S
    profile = np.exp(-time / 0.1)
    centroid = (profile * time).sum() / profile.sum()
    spread = math.sqrt((profile * (time - centroid) ** 2).sum() / profile.sum())
    expected = [-1.0, centroid, spread, DB_PER_NEPER * time[-1] / 0.1]
    np.testing.assert_allclose(features, expected, rtol=1e-4)


def test_the_fit_is_weighted_least_squares_from_the_peak_on() -> None:
    """Against a plain loop over a profile that is no straight line."""
    rng = np.random.default_rng(3)
    level = torch.from_numpy(rng.normal(-40, 5, (6, 8, 20)) - np.linspace(0, 30, 20)).float()
    found = decay_from_image(level, HOP_S)[:, 0]
    for image, value in zip(level.double().numpy(), found, strict=True):
        profile = (10 ** (image / 20)).sum(axis=0)
        start = profile.argmax()
        weight, time = profile[start:], np.arange(start, 20) * HOP_S
        slope, _ = np.polyfit(time, np.log(weight), 1, w=np.sqrt(weight))
        expected = 1.0 if slope >= 0 else np.clip(math.log10(-1 / slope), -3, 1)
        assert value.item() == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(
    "level",
    [torch.zeros(1, 8, 32), torch.full((1, 8, 32), -200.0), torch.arange(32.0).expand(1, 8, 32)],
    ids=["constant", "silence", "rising"],
)
def test_no_decay_to_see_is_one_and_finite(level: torch.Tensor) -> None:
    features = decay_from_image(level, HOP_S)
    assert features[0, 0] == 1
    assert torch.isfinite(features).all()


def test_a_decay_faster_than_a_frame_is_clipped() -> None:
    level = torch.full((1, 8, 32), -200.0)
    level[:, :, 0] = 0
    assert decay_from_image(level, HOP_S)[0, 0] >= -3


def stored_envelope(level: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Bytes of the temporal envelope (B, W) and the scale factors, as the generator has them."""
    low, high = level.amin(dim=(1, 2)), level.amax(dim=(1, 2))
    scaled = (level - low.reshape(-1, 1, 1)) / (high - low).reshape(-1, 1, 1) * 255
    return temporal_envelope(scaled)[:, 0].round(), torch.stack([low, high], dim=1)


def test_the_envelope_gives_the_decay_within_a_tenth_of_a_step() -> None:
    """Also where the sound reaches the floor of -200 dB within the image."""
    log10_tau = torch.linspace(-2, 0.3, 24)
    level = decaying(log10_tau).clamp_min(-200)
    features = decay_from_envelope(*stored_envelope(level), HOP_S)
    torch.testing.assert_close(features[:, 0], log10_tau, atol=0.01, rtol=0)
    np.testing.assert_allclose(features[12:, 3], decay_from_image(level, HOP_S)[12:, 3], atol=10)


def test_an_empty_envelope_has_no_decay() -> None:
    features = decay_from_envelope(torch.zeros(2, 32), torch.tensor([[-200.0, -200.0]] * 2), HOP_S)
    assert (features[:, 0] == 1).all()
    assert torch.isfinite(features).all()


def test_bytes_to_db_are_the_inverse_of_scaling() -> None:
    scale = torch.tensor([[-170.0, -12.5], [-80.0, 0.0]])
    level = to_db(torch.tensor([[0.0, 51.0, 255.0]] * 2), scale)
    torch.testing.assert_close(level, torch.tensor([[-170, -138.5, -12.5], [-80, -64, 0]]))
