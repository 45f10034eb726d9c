"""Crops and flips against a loop, normalisation against numpy, and where they are refused."""

import numpy as np
import pytest
import torch

from src.inputs.batch import RawBatch
from src.inputs.preparation import Augmentation, Preparation
from src.inputs.preparation_settings import PreparationSettings
from src.utils.errors import ConfigError
from src.vimh.metadata import Metadata

IMAGES = torch.randint(0, 256, (64, 3, 6, 9), dtype=torch.uint8)


def metadata(**keys) -> Metadata:
    return Metadata.from_json(
        {
            "height": 6,
            "width": 9,
            "channels": 3,
            "parameter_names": ["p"],
            "parameter_mappings": {"p": {"min": 0.0, "max": 1.0, "step": 0.5}},
            **keys,
        }
    )


def raw(images: torch.Tensor) -> RawBatch:
    return RawBatch(images, torch.zeros(len(images), 1), torch.zeros(len(images), 2))


def all_crops(image: torch.Tensor, pad: int, flip: bool) -> list[torch.Tensor]:
    padded = torch.nn.functional.pad(image, (pad,) * 4)
    shifts = range(2 * pad + 1)
    crops = [padded[:, y : y + 6, x : x + 9] for y in shifts for x in shifts]
    return crops + [crop.flip(2) for crop in crops] * flip


@pytest.mark.parametrize(("pad", "flip"), [(0, True), (2, False), (2, True)])
def test_every_image_is_one_of_its_own_crops(pad: int, flip: bool) -> None:
    augmented = Augmentation(pad, flip)(IMAGES)
    assert augmented.shape == IMAGES.shape
    assert augmented.dtype == torch.uint8
    which = []
    for image, original in zip(augmented, IMAGES, strict=True):
        crops = all_crops(original, pad, flip)
        which.append(next(k for k, crop in enumerate(crops) if torch.equal(image, crop)))
    # each image has draws of its own, and all kinds occur
    assert len(set(which)) > (1 if pad == 0 else 15)


def test_half_of_the_images_are_mirrored() -> None:
    images = IMAGES.repeat(32, 1, 1, 1)
    mirrored = (Augmentation(flip=True)(images) != images).flatten(1).any(1).float().mean()
    assert 0.45 < mirrored < 0.55


def test_nothing_happens_without_training_or_without_being_asked() -> None:
    assert Augmentation(4, flip=True).eval()(IMAGES) is IMAGES
    assert Augmentation()(IMAGES) is IMAGES


def test_preparation_augments_while_training_only() -> None:
    prepare = Preparation(
        metadata(), PreparationSettings(augmentation={"crop_padding": 2, "flip": True})
    )
    plain = IMAGES.float() / 255
    assert not torch.equal(prepare.prepare_batch(raw(IMAGES)).images, plain)
    assert torch.equal(prepare.eval().prepare_batch(raw(IMAGES)).images, plain)
    assert torch.equal(Preparation(metadata()).prepare_batch(raw(IMAGES)).images, plain)


def test_the_same_seed_draws_the_same() -> None:
    augment = Augmentation(2, flip=True)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(augment(IMAGES))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_normalisation_takes_the_sets_own_figures_and_travels_with_the_weights() -> None:
    prepare = Preparation(metadata(), PreparationSettings(augmentation={"normalise": True}))
    assert prepare.needs_fit
    prepare.fit(IMAGES, torch.zeros(64, 2))
    out = prepare.prepare_batch(raw(IMAGES)).images.numpy()
    x = IMAGES.numpy().astype(np.float64) / 255
    expected = (x - x.mean((0, 2, 3), keepdims=True)) / x.std((0, 2, 3), keepdims=True)
    np.testing.assert_allclose(out, expected, atol=1e-5)
    again = Preparation(metadata(), PreparationSettings(augmentation={"normalise": True}))
    again.load_state_dict(prepare.state_dict())
    assert np.array_equal(again.prepare_batch(raw(IMAGES)).images.numpy(), out)


def test_a_channel_that_does_not_vary_is_only_centred() -> None:
    images = torch.full((4, 3, 6, 9), 51, dtype=torch.uint8)
    prepare = Preparation(metadata(), PreparationSettings(augmentation={"normalise": True}))
    prepare.fit(images, torch.zeros(4, 2))
    assert prepare.prepare_batch(raw(images)).images.abs().max() < 1e-6


@pytest.mark.parametrize("config", [{"crop_padding": 1}, {"flip": True}, {"normalise": True}])
def test_never_for_spectrograms(config: dict) -> None:
    with pytest.raises(ConfigError, match=r"holds sounds.*data\.augmentation=null"):
        Preparation(metadata(sample_rate=8000), PreparationSettings(augmentation=config))
    Preparation(
        metadata(sample_rate=8000),
        PreparationSettings(augmentation={"crop_padding": 0, "flip": False}),
    )


def test_mistakes() -> None:
    with pytest.raises(
        ConfigError, match="augmentation has the unknown 'rotate'; there are crop_padding"
    ):
        Preparation(metadata(), PreparationSettings(augmentation={"rotate": 10}))
    with pytest.raises(ConfigError, match="crop_padding is -1"):
        Preparation(metadata(), PreparationSettings(augmentation={"crop_padding": -1}))
