from typing import Any

import numpy as np
import pytest
import torch

from src.inputs.channels import normalise_by_envelopes, spectral_envelope, temporal_envelope
from src.synth.images import ImageMaker
from src.synth.spectrogram import Stft
from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata

SPECTROGRAM = Stft(8000, height=8, width=9)
SUFFIXES = ("", "_temporal_envelope", "_spectral_envelope")
BOTH = {"temporal_envelope": True, "spectral_envelope": True}


def some_audio(count: int = 5) -> np.ndarray:
    decay = np.exp(-np.arange(800) / 150)
    return (np.random.default_rng(2).normal(size=(count, 800)) * decay).astype(np.float32)


def scaled_by_hand(audio: np.ndarray) -> np.ndarray:
    db = SPECTROGRAM(audio)
    low, high = db.min(axis=(1, 2), keepdims=True), db.max(axis=(1, 2), keepdims=True)
    return 255 * (db - low) / (high - low)


def test_each_image_is_scaled_from_its_own_range() -> None:
    audio = some_audio()
    images, scale_factors = ImageMaker(SPECTROGRAM)(audio)
    assert images.dtype == np.uint8
    assert images.shape == (5, 1, 8, 9)
    assert (images.min(axis=(1, 2, 3)) == 0).all()
    assert (images.max(axis=(1, 2, 3)) == 255).all()
    np.testing.assert_array_equal(images[:, 0], np.round(scaled_by_hand(audio)))
    db = SPECTROGRAM(audio)
    np.testing.assert_allclose(scale_factors[:, 0], db.min(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_allclose(scale_factors[:, 1], db.max(axis=(1, 2)), rtol=1e-6)


def test_level_is_not_in_the_image_but_in_the_scale_factors() -> None:
    audio = some_audio()
    images, scale_factors = ImageMaker(SPECTROGRAM)(audio)
    halved, halved_factors = ImageMaker(SPECTROGRAM)(audio / 2)
    assert np.abs(images.astype(int) - halved).max() <= 1
    np.testing.assert_allclose(scale_factors - halved_factors, 20 * np.log10(2), atol=1e-4)


def test_a_constant_image_is_all_zero() -> None:
    for switches in ({}, {**BOTH, "normalize": True}):
        images, scale_factors = ImageMaker(SPECTROGRAM, **switches)(np.zeros((2, 800), np.float32))
        assert (images == 0).all()
        np.testing.assert_allclose(scale_factors, -200.0)


def test_one_range_for_all_keeps_the_level_and_clips() -> None:
    audio = some_audio()
    db = SPECTROGRAM(audio)
    maker = ImageMaker(SPECTROGRAM, scale_range_db=(-60.0, -10.0))
    images, scale_factors = maker(audio)
    expected = np.clip(np.round(255 * (db + 60) / 50), 0, 255)
    np.testing.assert_array_equal(images[:, 0], expected)
    np.testing.assert_array_equal(scale_factors, [[-60.0, -10.0]] * 5)
    assert images.astype(int).sum() > maker(audio / 2)[0].astype(int).sum()


def test_rounding_is_half_to_even() -> None:
    maker = ImageMaker(SPECTROGRAM, scale_range_db=(0.0, 255.0))
    db = np.tile(np.array([0.5, 1.5, 2.5], np.float32), (1, 8, 3))
    np.testing.assert_array_equal(maker.from_db(db[:, None])[0], np.tile([0, 2, 2], (1, 1, 8, 3)))
    assert torch.tensor([0.5, 1.5, 2.5]).round().tolist() == [0, 2, 2]  # what the channels use


def test_derived_channels() -> None:
    audio = some_audio()
    s = torch.from_numpy(scaled_by_hand(audio))
    ratio = normalise_by_envelopes(s)
    low, high = ratio.amin((1, 2), keepdim=True), ratio.amax((1, 2), keepdim=True)
    images, scale_factors = ImageMaker(SPECTROGRAM, **BOTH, normalize=True)(audio)
    expected = [255 * (ratio - low) / (high - low), temporal_envelope(s), spectral_envelope(s)]
    np.testing.assert_array_equal(images, torch.stack(expected, dim=1).round().numpy())
    np.testing.assert_array_equal(scale_factors, ImageMaker(SPECTROGRAM)(audio)[1])


@pytest.mark.parametrize(
    ("settings", "labels"),
    [
        ({}, ("Gray",)),
        ({"base_channels": 3}, ("R", "G", "B")),
        ({"temporal_envelope": True}, ("Gray", "Gray_temporal_envelope")),
        (
            {**BOTH, "normalize": True},
            ("Gray_normalized", "Gray_temporal_envelope", "Gray_spectral_envelope"),
        ),
        (
            {**BOTH, "base_channels": 3},
            tuple(
                f"{c}{s}" for s in ("", "_temporal_envelope", "_spectral_envelope") for c in "RGB"
            ),
        ),
        ({"spectral_envelope": True, "scale_range_db": (-70.0, 3.25)}, None),
    ],
)
def test_labels_shape_and_json(settings: dict[str, Any], labels: tuple[str, ...] | None) -> None:
    maker = ImageMaker(SPECTROGRAM, **settings)
    assert labels is None or maker.channel_labels == labels
    images, _ = maker(some_audio())
    assert images.shape[1:] == maker.image_shape == (len(maker.channel_labels), 8, 9)
    copies = images.reshape(5, -1, maker.base_channels, 8, 9)
    np.testing.assert_array_equal(copies, np.broadcast_to(copies[:, :, :1], copies.shape))

    stft, mel = SPECTROGRAM.to_json()
    json: dict[str, Any] = {
        "height": 8,
        "width": 9,
        "channels": len(maker.channel_labels),
        "channel_labels": list(maker.channel_labels),
        "parameter_names": ["a"],
        "parameter_mappings": {"a": {"min": 0, "max": 1}},
        "spectrogram_config": stft,
        "mel_config": mel,
    }
    if maker.scale_range_db is not None:
        json["scale_range_db"] = list(maker.scale_range_db)
    assert ImageMaker.from_metadata(Metadata.from_json(json)) == maker


def test_labels_from_elsewhere() -> None:
    stft, mel = SPECTROGRAM.to_json()
    json = {
        "height": 8,
        "width": 9,
        "channels": 3,
        "channel_labels": ["A", "A_temporal_envelope", "B"],
        "parameter_names": ["a"],
        "parameter_mappings": {"a": {"min": 0, "max": 1}},
        "spectrogram_config": stft,
        "mel_config": mel,
    }
    with pytest.raises(VIMHError, match="are not those of a generated image"):
        ImageMaker.from_metadata(Metadata.from_json(json))


def test_normalize_needs_an_envelope() -> None:
    with pytest.raises(VIMHError, match="normalize needs temporal_envelope"):
        ImageMaker(SPECTROGRAM, normalize=True)
