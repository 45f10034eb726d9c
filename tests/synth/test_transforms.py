"""The transforms that are exported hear what the front ends hear."""

import numpy as np
import pytest
import torch

from src.synth.cqt import Cqt
from src.synth.front_end import FrontEnd
from src.synth.images import ImageMaker
from src.synth.spectrogram import Mel, Stft
from src.synth.transforms import Dft
from src.synth.widening import Widening
from src.vimh.errors import VIMHError

REL = {"floor_db_rel": -80.0}
FRONT_ENDS = {
    "frames side by side": Stft(8000, 16, 24, n_fft=80, n_window=80, hop_length=80),
    "overlapping": Stft(8000, 16, 24, n_fft=128, n_window=128, hop_length=50, window_type="hann"),
    "emphasised": Stft(8000, 16, 8, pre_emphasis_coefficient=0.97),
    "mel": Mel(16000, 32, 16, n_fft=1024, n_window=1000, hop_length=300, window_type="hann", **REL),
    "cqt": Cqt(8000, 30, 16, hop_length=120, freq_min=110.0, **REL),
    "cqt of short kernels": Cqt(8000, 24, 8, hop_length=700, freq_min=500.0),
    "widening": Widening(
        8000, 24, 6, freq_min=40.0, freq_max=3500.0, shortest_s=0.005, longest_s=0.3, **REL
    ),
}


@pytest.fixture(params=FRONT_ENDS.values(), ids=FRONT_ENDS.keys())
def front_end(request) -> FrontEnd:
    return request.param


def sounds(count: int, num_samples: int) -> np.ndarray:
    """Noise that falls by 40 dB: all of it lies far over what float32 rounds away."""
    noise = np.random.default_rng(3).standard_normal((count, num_samples))
    return (0.1 * noise * np.linspace(1, 0.01, num_samples)).astype(np.float32)


def test_an_exported_transform_gives_the_same_decibels(front_end: FrontEnd) -> None:
    audio = sounds(5, front_end.num_samples)
    found = front_end.transform()(torch.from_numpy(audio)).numpy()
    np.testing.assert_allclose(found, front_end(audio), rtol=0, atol=2e-3)


def test_short_sounds_are_padded_and_long_ones_cut(front_end: FrontEnd) -> None:
    transform, length = front_end.transform(), front_end.num_samples
    audio = torch.from_numpy(sounds(2, length))
    half = audio[:, : length // 2]
    padded = torch.nn.functional.pad(half, (0, length - half.shape[1]))
    torch.testing.assert_close(transform(half), transform(padded), rtol=0, atol=0)
    longer = torch.cat([audio, audio], dim=1)
    torch.testing.assert_close(transform(longer), transform(audio), rtol=0, atol=0)


@pytest.mark.parametrize("length", [1, 2, 7, 80, 97, 128, 1000])
def test_the_transform_of_real_numbers_is_numpys(length: int) -> None:
    frames = np.random.default_rng(length).standard_normal((2, 3, length))
    re, im = Dft(length)(torch.from_numpy(frames))
    expected = np.fft.rfft(frames)
    found = (re + 1j * im).numpy()[..., : expected.shape[-1]]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"base_channels": 3},
        {"scale_range_db": (-60.0, -20.0)},
        {"temporal_envelope": True, "spectral_envelope": True, "normalize": True},
        {"stereo": True},
    ],
    ids=str,
)
def test_images_of_tensors_are_those_of_arrays(settings) -> None:
    maker = ImageMaker(FRONT_ENDS["overlapping"], **settings)
    db = np.random.default_rng(0).uniform(-90, 0, (3, 1 + maker.stereo, 16, 24)).astype(np.float32)
    found, levels = maker.images_of(torch.from_numpy(db))
    expected, expected_levels = maker.from_db(db)
    np.testing.assert_array_equal(found.numpy(), expected)
    np.testing.assert_array_equal(levels.numpy(), expected_levels)


def test_a_front_end_of_ones_own_without_a_transform_says_so() -> None:
    class Mine(Stft):
        transform = FrontEnd.transform

    with pytest.raises(VIMHError, match=r"Mine has no transform\(\) that could be exported"):
        Mine(8000, 16, 8).transform()
