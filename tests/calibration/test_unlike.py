"""Distances to the nearest training sounds: against plain loops, and what they tell apart."""

import pytest
import torch

from src.calibration.conformal import kept_scores
from src.calibration.unlike import NEIGHBOURS, Unlike, cell, coarse, fit_unlike

SHAPE = (2, 12, 10)


def sounds(count: int, seed: int, *, foreign: bool = False):
    """Images, features and auxiliary features on a surface of two dimensions, or off it."""
    random = torch.Generator().manual_seed(seed)
    u = torch.rand((count, 2), generator=random)
    rows, columns = torch.arange(12.0)[:, None], torch.arange(10.0)
    fall = u[:, :1, None, None] * rows / 12 + u[:, 1:, None, None] * columns / 10
    images = torch.cat([fall, 1 - fall], dim=1).clamp(0, 1)
    if foreign:
        images = torch.rand(images.shape, generator=random)
    features = torch.cat([u, u.square(), u.prod(1, keepdim=True)], dim=1)
    return images, features, u.sum(1, keepdim=True) - 1


@pytest.fixture(scope="module")
def unlike() -> Unlike:
    images, features, auxiliary = sounds(400, 0)
    tensors = fit_unlike(SHAPE, coarse(images, cell(SHAPE)), features, auxiliary)
    none = torch.zeros(1)
    far = Unlike({**tensors, "distances": none}, SHAPE, 1).distance(*sounds(300, 1))
    distances = kept_scores(far[:, None])[:, 0]
    return Unlike({**tensors, "distances": distances}, SHAPE, 300)


def test_distances_are_those_to_the_nearest(unlike: Unlike) -> None:
    images, features, auxiliary = sounds(20, 2)
    described = unlike.describe(coarse(images, unlike.cell), features, auxiliary)
    apart = (described[:, None] - unlike.bank).norm(dim=2)
    expected = apart.sort(dim=1).values[:, :NEIGHBOURS].mean(dim=1)
    found = unlike.distance(images, features, auxiliary)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)


def test_own_sounds_are_seldom_called_unlike(unlike: Unlike) -> None:
    p = unlike(*sounds(2000, 3))
    assert 0.002 < float((p < 0.01).float().mean()) < 0.03
    assert abs(float((p < 0.5).float().mean()) - 0.5) < 0.08


def test_images_of_noise_are_unlike_though_their_features_are_known(unlike: Unlike) -> None:
    p = unlike(*sounds(200, 4, foreign=True))
    assert float(p.max()) < 0.01


def test_features_far_away_are_unlike_though_the_image_is_known(unlike: Unlike) -> None:
    images, features, auxiliary = sounds(50, 5)
    assert float(unlike(images, features + 3.0, auxiliary).max()) < 0.01


def test_one_sound_is_told_alone_as_in_a_batch(unlike: Unlike) -> None:
    images, features, auxiliary = sounds(8, 6)
    together = unlike.distance(images, features, auxiliary)
    for k in range(8):
        one = slice(k, k + 1)
        alone = unlike.distance(images[one], features[one], auxiliary[one])
        torch.testing.assert_close(alone, together[one])


def test_constant_features_and_few_samples_are_no_error() -> None:
    images = torch.rand(3, *SHAPE)
    tensors = fit_unlike(SHAPE, coarse(images, cell(SHAPE)), torch.zeros(3, 4), None)
    far = Unlike({**tensors, "distances": torch.zeros(1)}, SHAPE, 1)
    assert bool(far.distance(torch.rand(2, *SHAPE), torch.zeros(2, 4)).isfinite().all())


def test_the_same_samples_give_the_same_bits_and_leave_the_random_state_alone() -> None:
    images, features, auxiliary = sounds(100, 7)
    before = torch.get_rng_state()
    made = [fit_unlike(SHAPE, coarse(images, cell(SHAPE)), features, auxiliary) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
