"""Names of data sets."""

from itertools import product

import pytest

from src.vimh.errors import VIMHError
from src.vimh.names import DatasetName, named_image_size

EXAMPLE = "avix-vimh-32x32x3_8000Hz_1p0s_72dss_simple_2p_normalized_shuffled"
PARTS = {
    "height": 32,
    "width": 32,
    "channels": 3,
    "sample_rate": 8000,
    "duration_s": 1,
    "size": 72,
    "synth": "simple",
    "num_parameters": 2,
}


def test_the_example_of_the_specification() -> None:
    name = DatasetName(
        **PARTS,
        avix=True,
        temporal_envelope=True,
        spectral_envelope=True,
        normalize=True,
        shuffled=True,
    )
    assert str(name) == EXAMPLE
    parsed = DatasetName.parse(EXAMPLE)
    assert parsed.avix
    assert parsed.normalize
    assert parsed.temporal_envelope
    assert parsed.spectral_envelope
    assert parsed.shuffled
    assert not parsed.dataset_scale


@pytest.mark.parametrize(
    ("temporal", "spectral", "normalize", "suffix"),
    [
        (False, False, False, ""),
        (True, False, False, "_temporal"),
        (False, True, False, "_spectral"),
        (True, True, False, "_envelopes"),
        (True, True, True, "_normalized"),
        (True, False, True, "_normalized_temporal"),
        (False, True, True, "_normalized_spectral"),
    ],
)
def test_every_suffix_both_ways(
    temporal: bool, spectral: bool, normalize: bool, suffix: str
) -> None:
    for avix, scale, shuffled, synth in product(
        (False, True), (False, True), (False, True), ("simple_3p", "moog_basic")
    ):
        name = DatasetName(
            **{**PARTS, "synth": synth, "duration_s": 0.25},
            avix=avix,
            temporal_envelope=temporal,
            spectral_envelope=spectral,
            normalize=normalize,
            dataset_scale=scale,
            shuffled=shuffled,
        )
        assert str(name) == (
            f"{'avix-' if avix else ''}vimh-32x32x3_8000Hz_0p25s_72dss_{synth}_2p{suffix}"
            f"{'_dscale' if scale else ''}{'_shuffled' if shuffled else ''}"
        )
        parsed = DatasetName.parse(str(name))
        assert parsed == name
        assert (parsed.synth, parsed.duration_s, parsed.num_parameters) == (synth, 0.25, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalize": True}, "needs temporal_envelope"),
        ({"sample_rate": 8000.5}, "whole number of Hz"),
        ({"duration_s": 0}, "duration must be positive"),
        ({"duration_s": float("nan")}, "duration must be positive"),
        ({"synth": "a/b"}, "letters, digits"),
    ],
)
def test_what_cannot_be_in_a_name(changes: dict, message: str) -> None:
    with pytest.raises(VIMHError, match=message):
        DatasetName(**{**PARTS, **changes})


@pytest.mark.parametrize("name", ["", "digits", EXAMPLE + "_x", "vimh-32x32_8000Hz", "9" * 5000])
def test_other_names_are_not_guessed(name: str) -> None:
    with pytest.raises(VIMHError, match="is not of the form"):
        DatasetName.parse(name)


def test_size_in_any_name() -> None:
    assert named_image_size(EXAMPLE) == (32, 32, 3)
    assert named_image_size("my-28x20x1") == (28, 20, 1)
    for name in ("digits", "1x2", "1x2x3x4", "a2x"):
        assert named_image_size(name) is None
