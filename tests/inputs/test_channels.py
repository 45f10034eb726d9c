import numpy as np
import pytest
import torch

from src.inputs.channels import (
    FEATURE_TYPES,
    append_features,
    appended_labels,
    feature,
    fixed_order_mean,
    log_spectral_gradient,
    moving_average,
    normalise_by_envelopes,
    spectral_envelope,
    spectral_slope,
    stretch,
    temporal_envelope,
    temporal_gradient,
)


def some_images(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("length", [1, 2, 3, 7, 32, 33, 64])
def test_fixed_order_mean(length: int) -> None:
    x = some_images(4, length)
    torch.testing.assert_close(fixed_order_mean(x), x.mean(-1))


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
def test_moving_average_divides_by_the_points_that_are_there(kernel_size: int) -> None:
    x = some_images(2, 9).numpy()
    ones, kernel = np.ones(9), np.ones(kernel_size)
    expected = [np.convolve(r, kernel, "same") / np.convolve(ones, kernel, "same") for r in x]
    np.testing.assert_allclose(moving_average(torch.from_numpy(x), kernel_size), expected)


def test_moving_average_of_a_constant_is_it() -> None:
    torch.testing.assert_close(moving_average(torch.full((3,), 7.0), 5), torch.full((3,), 7.0))


@pytest.mark.parametrize("kernel_size", [0, 2, -3])
def test_moving_average_needs_a_centre(kernel_size: int) -> None:
    with pytest.raises(ValueError, match="odd"):
        moving_average(torch.zeros(1, 4), kernel_size)


def test_envelopes_by_hand() -> None:
    image = torch.zeros(1, 3, 6, dtype=torch.float64)
    image[0, 1] = torch.tensor([3.0, 0, 0, 0, 0, 6])  # row means 0, 1.5, 0; column means 1 … 2
    t = temporal_envelope(image)
    expected_t = torch.tensor([1 / 3, 1 / 4, 1 / 5, 2 / 5, 2 / 4, 2 / 3], dtype=torch.float64)
    torch.testing.assert_close(t, expected_t.expand(1, 3, 6))
    f = spectral_envelope(image)  # 7 points over 3 rows: always the mean of all
    torch.testing.assert_close(f, torch.full_like(image, 0.5))
    ratio = normalise_by_envelopes(image, eps=1e-3)
    torch.testing.assert_close(ratio, image / (t + 1e-3) / (f + 1e-3))


def test_envelopes_of_images_with_channels() -> None:
    images = some_images(2, 3, 8, 9)
    for function in (temporal_envelope, spectral_envelope):
        whole = function(images)
        assert whole.shape == images.shape
        torch.testing.assert_close(whole[:, 1], function(images[:, 1]), rtol=0, atol=0)


def test_an_empty_image_normalises_to_zero() -> None:
    assert (normalise_by_envelopes(torch.zeros(1, 4, 4)) == 0).all()
    assert (stretch(torch.full((1, 4, 4), 3.0), 255.0) == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_image_has_the_same_bits_alone_and_in_any_batch(dtype: torch.dtype) -> None:
    images = some_images(37, 32, 31, dtype=dtype)

    def derive(x: torch.Tensor) -> torch.Tensor:
        t, f = temporal_envelope(x), spectral_envelope(x)
        return torch.stack([t, f, stretch(normalise_by_envelopes(x), 255.0)], dim=1)

    together = derive(images)
    transposed = derive(images.transpose(1, 2).contiguous().transpose(1, 2))
    assert torch.equal(together, transposed)
    for i in range(37):
        assert torch.equal(derive(images[i : i + 1])[0], together[i])


def test_gradients_by_hand() -> None:
    image = torch.tensor([[[0.0, 1.0, 0.5, 0.5]]])
    expected = torch.tensor([[[1.0, 0.625, 0.375, 0.5]]])
    torch.testing.assert_close(temporal_gradient(image), expected)
    upright = image.transpose(1, 2)
    torch.testing.assert_close(log_spectral_gradient(upright), expected.transpose(1, 2))


def test_spectral_slope_is_the_least_squares_line() -> None:
    image = some_images(1, 16, 3)
    frequency = np.linspace(0, 1, 16)
    slopes = [np.polyfit(frequency, image[0, :, t].numpy(), 1)[0] for t in range(3)]
    expected = torch.tensor([0.5 + s / 3 for s in slopes], dtype=torch.float64)
    torch.testing.assert_close(spectral_slope(image)[0], expected.expand(16, 3))


@pytest.mark.parametrize("name", FEATURE_TYPES)
def test_features_stay_within_0_and_1(name: str) -> None:
    images = torch.cat([some_images(8, 1, 16, 16).round(), torch.zeros(1, 1, 16, 16)])
    images[0, :, :8], images[0, :, 8:] = 0.0, 1.0  # the steepest image there is
    values = feature(images, name)
    assert values.shape == images.shape
    assert values.min() >= 0
    assert values.max() <= 1


def test_appended_channels_and_their_labels() -> None:
    images = some_images(2, 2, 8, 9)
    names = ["temporal_envelope", "temporal_gradient"]
    whole = append_features(images, names, normalize_spectrogram=True, kernel_size=3)
    assert appended_labels(["A", "B"], names, normalize_spectrogram=True) == (
        "A_normalized",
        "B_normalized",
        "A_temporal_envelope",
        "B_temporal_envelope",
        "A_temporal_gradient",
        "B_temporal_gradient",
    )
    both = ["temporal_envelope", "spectral_envelope"]
    assert appended_labels(["Gray"], []) == ("Gray",)
    assert appended_labels(["Gray"], both, normalize_spectrogram=True) == (
        "Gray_normalized",
        "Gray_temporal_envelope",
        "Gray_spectral_envelope",
    )
    assert appended_labels(["R", "G"], both)[1:4] == (
        "G",
        "R_temporal_envelope",
        "G_temporal_envelope",
    )
    torch.testing.assert_close(whole[:, 3], temporal_envelope(images[:, 1], 3))
    assert whole[:, :2].amax() == 1.0
    torch.testing.assert_close(append_features(images, names)[:, :2], images)


def test_unknown_features() -> None:
    with pytest.raises(ValueError, match="unknown feature 'chroma'; there are log_spectral"):
        feature(torch.zeros(1, 1, 2, 2), "chroma")
