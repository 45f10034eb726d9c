"""Distances whose values are known beforehand."""

import numpy as np
import pytest

from src.evaluation.scoring.audio_metrics import (
    AUDIO_METRICS,
    MEL_SCALES,
    Heard,
    audio_distances,
    envelope_cosine,
    log_spectral_db,
    multi_scale_spectral_db,
    spectral_transport_hz,
)
from src.vimh.errors import VIMHError

RATE = 8000
TIME = np.arange(RATE) / RATE


def sine(frequency_hz: float, amplitude: float = 1.0) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * frequency_hz * TIME)).astype(np.float32)


def noise(seed: int, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(RATE)).astype(np.float32)


def heard(*sounds: np.ndarray) -> Heard:
    return Heard(np.stack(sounds), RATE)


def distances(target: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    found = audio_distances(target[None], {"x": predicted[None]}, RATE)["x"]
    return {metric.name: float(found[metric.name][0]) for metric in AUDIO_METRICS}


@pytest.mark.parametrize("sound", [sine(440.0), noise(0), np.zeros(RATE, np.float32)])
def test_identical_sounds(sound: np.ndarray) -> None:
    expected = {metric.name: float(metric.higher_is_better) for metric in AUDIO_METRICS}
    four = {"sound_mss": 0.0, "sound_lsd": 0.0, "sound_envelope": 1.0, "sound_transport": 0.0}
    assert expected.items() >= four.items()
    assert distances(sound, sound) == pytest.approx(expected)


def test_a_known_gain() -> None:
    """Noise has every bin above the floor, so that each level moves by the same number of dB."""
    found = distances(noise(0), 0.5 * noise(0))
    gain_db = 20 * np.log10(2)
    assert found["sound_mss"] == pytest.approx(gain_db, abs=1e-5)
    # a bin of one frame may be at the floor; the padded end of the sound is
    assert found["sound_lsd"] == pytest.approx(gain_db, rel=1e-3)
    assert found["sound_envelope"] == pytest.approx(1.0, abs=1e-12)
    assert found["sound_transport"] == pytest.approx(0.0, abs=1e-4)  # Hz, of float32 spectra


def test_full_scale_is_0_db_and_the_floor_80_below() -> None:
    assert heard(sine(1000.0)).levels_db.max() == pytest.approx(0.0, abs=1e-6)
    assert heard(sine(1000.0, 0.1)).levels_db.max() == pytest.approx(-20.0, abs=1e-6)
    below = heard(1e-5 * sine(1000.0)), heard(1e-6 * sine(1000.0))  # -100 and -120 dB
    assert multi_scale_spectral_db(*below).tolist() == [0.0]
    assert log_spectral_db(*below).tolist() == [0.0]


def test_a_shifted_sine_is_as_far_as_its_shift() -> None:
    target = heard(*[sine(1000.0)] * 4)
    predicted = heard(sine(1001.0), sine(1050.0), sine(900.0, 0.01), sine(3000.0))
    found = spectral_transport_hz(target, predicted)
    assert found == pytest.approx([1.0, 50.0, 100.0, 2000.0], rel=1e-3)


def test_transport_counts_frames_by_the_level_of_both() -> None:
    envelope = np.where(TIME < 0.5, 1.0, 0.01)
    target, shifted = envelope * sine(1000.0), envelope * sine(1200.0)
    late = np.where(TIME < 0.5, target, shifted).astype(np.float32)
    found = spectral_transport_hz(heard(target.astype(np.float32)), heard(late))
    assert found == pytest.approx([200.0 * 0.01 / 1.01], rel=0.1)


def test_transport_is_that_of_a_reference() -> None:
    """scipy's Wasserstein distance on the spectra of single frames."""
    from scipy.stats import wasserstein_distance

    window = np.hanning(201)[:-1]
    ours, theirs = noise(1)[:200], noise(2)[:200] * np.linspace(0, 1, 200, dtype=np.float32)
    powers = [np.abs(np.fft.rfft(sound * window, 512)[1:]) ** 2 for sound in (ours, theirs)]
    bins_hz = np.arange(1, 257) * RATE / 512
    expected = wasserstein_distance(bins_hz, bins_hz, *powers)
    found = spectral_transport_hz(Heard(ours[None], RATE), Heard(theirs[None], RATE))
    assert found == pytest.approx([expected], rel=1e-6)


def test_log_spectral_distance_by_hand() -> None:
    """One frame: the root of the mean squared difference of its levels."""
    window = np.hanning(201)[:-1]
    ours, theirs = noise(1)[:200], noise(2)[:200]
    levels = [
        20 * np.log10(np.abs(np.fft.rfft(sound * window, 512)[1:]) / 50) for sound in (ours, theirs)
    ]
    difference = np.maximum(levels[0], -80) - np.maximum(levels[1], -80)
    found = log_spectral_db(Heard(ours[None], RATE), Heard(theirs[None], RATE))
    assert found == pytest.approx([np.sqrt((difference**2).mean())])


def test_the_envelope_of_a_step() -> None:
    """Loud in the first half against loud in the second: little in common but the border."""
    first, second = (np.where(half, noise(0), 0.0) for half in (TIME < 0.5, TIME >= 0.5))
    both = envelope_cosine(heard(first.astype(np.float32)), heard(second.astype(np.float32)))
    assert 0.0 < both[0] < 0.05
    rms = heard(np.full(RATE, 0.25, np.float32)).envelope[0]
    assert rms[:-2] == pytest.approx(0.25)  # of a constant: itself (Parseval in one value)
    # Parseval: frames without overlap hold the energy of the sound
    frames = heard(noise(3)).envelope[0][: 5 * 19 : 5]  # every 50 ms, 25 ms long
    energy = sum((noise(3)[400 * k : 400 * k + 200].astype(float) ** 2).sum() for k in range(19))
    assert (frames**2).sum() * 200 == pytest.approx(energy)


def test_silence_has_finite_distances() -> None:
    silent, loud = np.zeros(RATE, np.float32), sine(1000.0)
    for pair in ((silent, loud), (loud, silent)):
        found = distances(*pair)
        assert np.isfinite(list(found.values())).all()
        assert min(found["sound_mss"], found["sound_lsd"], found["sound_transport"]) > 5.0


def test_every_distance_is_symmetric() -> None:
    there, back = distances(noise(0), sine(700.0)), distances(sine(700.0), noise(0))
    assert there == pytest.approx(back)


def test_a_nan_stays_with_its_sound() -> None:
    bad = sine(440.0)
    bad[100] = np.nan
    sounds = np.stack([sine(440.0), bad, sine(450.0)])
    found = audio_distances(np.stack([sine(440.0)] * 3), {"x": sounds}, RATE)["x"]
    for metric in AUDIO_METRICS:
        assert np.isfinite(found[metric.name]).tolist() == [True, False, True], metric.name


def test_blocks_do_not_change_a_sound(monkeypatch) -> None:
    target = np.stack([noise(k) for k in range(5)])
    predicted = {"a": target[::-1].copy(), "b": 0.5 * target}
    together = audio_distances(target, predicted, RATE)
    monkeypatch.setattr("src.evaluation.scoring.audio_metrics._BLOCK_SAMPLES", 2 * RATE)
    for method, found in audio_distances(target, predicted, RATE).items():
        for name, column in found.items():
            np.testing.assert_allclose(column, together[method][name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rate", [2000, 11025, 16000, 44100, 48000, 96000])
def test_mel_filters_hold_bins_at_every_rate(rate: int) -> None:
    levels = Heard(np.zeros((1, rate), np.float32), rate).mel_levels_db
    shapes = [scale.shape[1] for scale in levels]
    assert shapes == [filters for _, _, filters in MEL_SCALES]
    assert envelope_cosine(*[Heard(np.ones((1, 3), np.float32), rate)] * 2) == pytest.approx([1.0])


def test_a_rate_that_is_too_low_is_refused() -> None:
    with pytest.raises(VIMHError, match=r"at least 2000 Hz: set report\.sounds=0"):
        Heard(np.zeros((1, 100), np.float32), 1000)
