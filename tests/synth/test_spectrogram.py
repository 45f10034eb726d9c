from typing import Any

import numpy as np
import pytest
import scipy.signal

from benchmarks.reference_generator import reference_window
from src.synth.settings import build_front_end, front_end_of
from src.synth.spectrogram import WINDOW_TYPES, Stft, mel_filters, periodic_window
from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata

STFT = {"type": "stft", "n_fft": 256, "n_window": 128, "hop_length": 32, "window_type": "hann"}


def spectrogram(**changes: Any) -> Stft:
    mel = {key: changes.pop(key) for key in ("freq_min", "freq_max_ratio") if key in changes}
    size = {key: changes.pop(key, 32) for key in ("height", "width")}
    c = changes.pop("pre_emphasis_coefficient", 0.0)
    return build_front_end(
        {**STFT, **changes}, mel, sample_rate_hz=8000, pre_emphasis_coefficient=c, **size
    )


def some_audio(count: int = 3, length: int = 8000) -> np.ndarray:
    decay = np.exp(-np.arange(length) / 1500)
    return (np.random.default_rng(2).normal(size=(count, length)) * decay).astype(np.float32)


def by_definition(audio: np.ndarray, s: Stft, floor_db: float = -200.0) -> np.ndarray:
    """Frame by frame and bin by bin, from signal.md."""
    window = reference_window(s.window_type, s.n_window)
    n = np.arange(s.n_window)
    image = np.empty((s.height, s.width))
    for k in range(s.width):
        frame = audio[k * s.hop_length : k * s.hop_length + s.n_window].astype(float) * window
        for b in range(1, s.height + 1):
            x = (frame * np.exp(-2j * np.pi * b * n / s.n_fft)).sum() / np.sqrt(s.n_fft)
            image[b - 1, k] = 20 * np.log10(max(abs(x), 10 ** (floor_db / 20)))
    return image


@pytest.mark.parametrize("window_type", WINDOW_TYPES)
def test_stft_is_the_definition(window_type: str) -> None:
    s = spectrogram(window_type=window_type, height=20, width=10)
    audio = some_audio()
    for sound, db in zip(audio, s(audio), strict=True):
        np.testing.assert_allclose(db, by_definition(sound, s), atol=1e-4)  # float32


@pytest.mark.parametrize("window_type", WINDOW_TYPES)
@pytest.mark.parametrize("length", [7, 80])
def test_windows_are_periodic(window_type: str, length: int) -> None:
    name = {"rectangular": "boxcar"}.get(window_type, window_type)
    expected = scipy.signal.get_window(name, length, fftbins=True)
    np.testing.assert_allclose(periodic_window(window_type, length), expected, atol=1e-12)


def test_low_frequencies_come_first_and_dc_is_dropped() -> None:
    t = np.arange(8000) / 8000
    tones = np.stack([np.sin(2 * np.pi * f * t) for f in (100.0, 2000.0)]) + 0.5
    s = Stft(8000, height=32, width=32)  # 80/80/80 rectangular: bins of 100 Hz
    db = s(tones.astype(np.float32))
    np.testing.assert_array_equal(db.argmax(axis=1), [[0] * 32, [19] * 32])


def test_mel_is_filters_on_the_magnitude() -> None:
    s = spectrogram(type="mel", n_fft=512, height=16, width=8, freq_min=40.0, freq_max_ratio=0.9)
    audio = some_audio(2)
    filters = mel_filters(16, 512, 8000, 40.0, 3600.0)
    window = periodic_window("hann", 128)
    for sound, db in zip(audio, s(audio), strict=True):
        frames = np.stack([sound[k * 32 : k * 32 + 128] * window for k in range(8)])
        magnitude = np.abs(np.fft.rfft(frames, n=512)) / np.sqrt(512)
        np.testing.assert_allclose(db, 20 * np.log10(filters @ magnitude.T), atol=1e-4)


def test_mel_filters_sum_to_one_and_rise_in_mel() -> None:
    filters = mel_filters(20, 1024, 8000, 40.0, 3600.0)
    np.testing.assert_allclose(filters.sum(axis=1), 1.0)
    peaks_hz = filters.argmax(axis=1) * 8000 / 1024
    edges_mel = np.linspace(*(2595 * np.log10(1 + np.array([40.0, 3600.0]) / 700)), 22)
    centres_hz = 700 * (10 ** (edges_mel[1:-1] / 2595) - 1)
    np.testing.assert_allclose(peaks_hz, centres_hz, atol=8000 / 1024)


def test_floor() -> None:
    audio = np.zeros((2, 8000), np.float32)
    audio[1, :50] = 1.0
    np.testing.assert_allclose(spectrogram()(audio)[0], -200.0)
    assert spectrogram(floor_db=-60.0)(audio).min() == pytest.approx(-60.0)
    db = spectrogram(floor_db_rel=-30.0)(audio)
    np.testing.assert_allclose(db[0], -200.0)
    assert db[1].min() == pytest.approx(db[1].max() - 30.0)
    assert db[1].max() == spectrogram()(audio)[1].max()


@pytest.mark.parametrize("changes", [{}, {"type": "mel", "n_fft": 512}, {"floor_db_rel": -40.0}])
def test_a_sound_has_the_same_bits_alone_and_in_any_batch(changes: dict[str, Any]) -> None:
    s = spectrogram(**changes)
    audio = some_audio(37)
    together = s(audio)
    for i in range(37):
        np.testing.assert_array_equal(s(audio[i : i + 1])[0], together[i])
    np.testing.assert_array_equal(s(audio[:, : s.num_samples]), together)


def test_pre_emphasis() -> None:
    audio = some_audio()
    emphasised = audio.astype(float)
    emphasised[:, 1:] -= 0.9 * audio[:, :-1].astype(float)
    ours = spectrogram(pre_emphasis_coefficient=0.9)(audio)
    expected = spectrogram()(emphasised.astype(np.float32))
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    assert np.abs(ours - spectrogram()(audio)).max() > 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window_type": "kaiser"}, "stft.window_type is 'kaiser'; .*rectangular, hann"),
        ({"type": "cq"}, "stft.type is 'cq'; expected one of stft, mel, cqt"),
        ({"n_fft": 100}, "stft.n_window is 128; expected at most stft.n_fft, 100"),
        ({"height": 200}, "image.height is 200; expected at most 128 .*bins"),
        ({"type": "mel", "n_fft": 128, "height": 64}, "holds none of the 65 bins"),
        (
            {"type": "mel", "n_fft": 512, "freq_max_ratio": 1.5},
            "mel.freq_max_ratio is 1.5; .* at most 1",
        ),
        ({"floor_db_rel": 3.0}, "stft.floor_db_rel is 3.0; .* less than 0"),
        ({"hop_length": 0}, "stft.hop_length is 0; expected a whole number of at least 1"),
        (
            {"pre_emphasis_coefficient": 1.0},
            "pre_emphasis_coefficient is 1.0; .* at least 0 and less than 1",
        ),
        ({"hop": 3}, "stft.hop is unknown.* .there are type"),
    ],
)
def test_wrong_settings(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(VIMHError, match=message):
        spectrogram(**changes)


def test_a_short_signal_names_both_numbers() -> None:
    s = spectrogram(width=32)  # 31 * 32 + 128 = 1120 samples
    s(some_audio(length=1120))
    with pytest.raises(VIMHError, match=r"gives 31 frames.*needs 32"):
        s(some_audio(length=1119))


def test_json_round_trip() -> None:
    made = spectrogram(type="mel", n_fft=512, floor_db_rel=-80.0, pre_emphasis_coefficient=0.5)
    stft, mel = made.to_json()
    json: dict[str, Any] = {
        "height": 32,
        "width": 32,
        "channels": 1,
        "parameter_names": ["a"],
        "parameter_mappings": {"a": {"min": 0, "max": 1}},
        "sample_rate": 8000,
        "pre_emphasis_coefficient": 0.5,
        "spectrogram_config": stft,
        "mel_config": mel,
    }
    assert front_end_of(Metadata.from_json(json)) == made
    # data sets from elsewhere have no floors, and keys of their own
    del stft["floor_db"], stft["floor_db_rel"]
    stft["overlap"] = 0.5
    assert front_end_of(Metadata.from_json(json)).floor_db == -200.0
    del stft["window_type"]
    with pytest.raises(VIMHError, match="spectrogram_config lacks window_type"):
        front_end_of(Metadata.from_json(json))
