"""Published distances against what their reference implementations give."""

import numpy as np
import pytest
import torch

from src.evaluation.scoring import published_distances as published
from src.evaluation.scoring.audio_metrics import PUBLISHED_METRICS, Heard, audio_distances

NAMES = ("mss_db", "wmfcc", "sot", "rms_cosine", "spectral_convergence", "lsd")
RATES = (8000, 8000, 8000, 8000, 44100, 44100, 44100, 44100)
# What `references` gave with librosa 0.11.0, dtw-python 1.9.0 and auraloss 0.4.0, in NAMES' order.
STORED = (
    (25.2772, 31.7139, 0.254419, 0.891323, 1.46143, 2.79391),
    (17.8848, 29.483, 0.0982058, 0.970681, 1.20431, 2.07995),
    (21.9041, 34.1012, 0.177425, 0.982336, 2.71389, 2.78378),
    (20.4893, 33.7773, 0.222213, 0.997031, 1.28882, 2.00829),
    (16.8218, 22.4511, 0.248407, 0.887223, 1.74393, 1.62751),
    (17.8577, 32.6542, 0.0363662, 0.916766, 1.14376, 1.84639),
    (14.2504, 29.3333, 0.0503032, 0.911852, 1.83587, 1.43884),
    (4.16239, 9.27465, 0.0570061, 0.998264, 0.506266, 0.9443),
)


def two_sounds(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A seeded pair: decaying tones of five harmonics in noise, 1 s long."""
    generator, rate = np.random.default_rng(number % 4), RATES[number]
    time_s = np.arange(rate) / rate
    found = []
    for _ in range(2):
        pitch_hz, decay_s = generator.uniform(80, 600), generator.uniform(0.05, 0.6)
        phases = generator.uniform(0, 2 * np.pi, 5)
        tones = [
            np.sin(2 * np.pi * pitch_hz * k * time_s + phase) / k
            for k, phase in enumerate(phases, 1)
        ]
        noise = 10 ** generator.uniform(-4, -2) * generator.standard_normal(rate)
        level = generator.uniform(0.05, 0.5)
        found.append((level * sum(tones) * np.exp(-time_s / decay_s) + noise).astype(np.float32))
    return found[0], found[1]


def ours(number: int) -> list[float]:
    target, predicted = (published.Spectra(x[None], RATES[number]) for x in two_sounds(number))
    return [float(getattr(published, name)(target, predicted)[0]) for name in NAMES]


@pytest.mark.parametrize("number", range(8))
def test_the_stored_values_of_the_references(number: int) -> None:
    assert ours(number) == pytest.approx(STORED[number], rel=1e-4)


def references(number: int) -> list[float]:
    """By the packages that the published scripts call, with the scripts' settings."""
    auraloss, dtw, librosa = (pytest.importorskip(n) for n in ("auraloss", "dtw", "librosa"))
    sounds, rate = two_sounds(number), RATES[number]

    def mel_db(sound: np.ndarray, window_ms: int, hop_ms: int, mels: int) -> np.ndarray:
        sizes = {"n_fft": int(window_ms * rate / 1000), "hop_length": int(hop_ms * rate / 1000)}
        power = librosa.feature.melspectrogram(y=sound, sr=rate, n_mels=mels, **sizes)
        return librosa.power_to_db(power, ref=np.max)

    def magnitudes(sound: np.ndarray, length: int, hop: int) -> np.ndarray:
        return np.abs(librosa.stft(sound, n_fft=length, hop_length=hop))

    scales = [[mel_db(x, *scale) for x in sounds] for scale in published.MEL_SCALES]
    sizes = {"n_fft": int(0.05 * rate), "hop_length": int(0.01 * rate), "n_mels": 128}
    cepstra = [librosa.feature.mfcc(y=x, sr=rate, n_mfcc=20, **sizes).T for x in sounds]
    cost = dtw.dtw(*cepstra, dist_method=lambda a, b: np.abs(a - b).mean(), distance_only=True)
    frames = [magnitudes(x, int(0.05 * rate), int(0.02 * rate)) for x in sounds]
    one, other = (np.cumsum(x / x.sum(axis=0), axis=0) for x in frames)
    sizes = {"frame_length": int(0.05 * rate), "hop_length": int(0.025 * rate)}
    envelopes = [librosa.feature.rms(y=x, **sizes)[0] for x in sounds]
    convergence = auraloss.freq.STFTLoss(w_log_mag=0.0)
    target, predicted = (torch.from_numpy(x)[None, None] for x in sounds)
    fine = [magnitudes(x, int(2048 / (44100 / rate)), int(rate / 100)) for x in sounds]
    decades = np.log10(fine[0] ** 2 / (fine[1] + 1e-12) ** 2 + 1e-12)
    return [
        float(np.mean([np.abs(a - b).mean() for a, b in scales])),
        cost.normalizedDistance,
        float(np.abs(one - other).mean()),
        float(envelopes[0] @ envelopes[1] / np.prod([np.linalg.norm(x) for x in envelopes])),
        float(convergence(predicted, target)),
        float(np.sqrt((decades**2).mean(axis=0)).mean()),
    ]


@pytest.mark.slow  # librosa compiles itself
@pytest.mark.filterwarnings("ignore")  # of packages that are not ours
@pytest.mark.parametrize("number", range(8))
def test_the_references_themselves(number: int) -> None:
    assert ours(number) == pytest.approx(references(number), rel=1e-4)


def test_an_alignment_by_hand() -> None:
    """Of all paths the cheapest one, in which a diagonal step counts twice."""
    ours, theirs = np.array([0.0, 3.0, 1.0]), np.array([0.0, 1.0, 4.0, 1.0])
    costs = np.abs(ours[:, None] - theirs)
    steps = {(1, 0): 1.0, (0, 1): 1.0, (1, 1): 2.0}

    def cheapest(i: int, j: int) -> float:
        if (i, j) == (0, 0):
            return costs[0, 0]
        before = [(i - a, j - b, w) for (a, b), w in steps.items() if i >= a and j >= b]
        return min(cheapest(a, b) + weight * costs[i, j] for a, b, weight in before)

    found = published.warped_cost(ours[None, :, None], theirs[None, :, None])
    assert found == pytest.approx([cheapest(2, 3) / 7])


def test_the_level_of_a_whole_sound_does_not_count_in_mss() -> None:
    loud, _ = two_sounds(0)
    soft = (0.1 * loud)[None]
    found = published.mss_db(published.Spectra(loud[None], 8000), published.Spectra(soft, 8000))
    assert found == pytest.approx([0.0], abs=1e-4)
    own = audio_distances(loud[None], {"x": soft}, 8000)["x"]
    assert own["published_mss"] == found
    assert own["sound_mss"] > 10.0  # ours has an absolute floor: 20 dB softer is further away


def test_equal_sounds_and_silence() -> None:
    sound, silence = two_sounds(1)[0], np.zeros(8000, np.float32)
    pairs = ((sound, sound), (silence, silence), (sound, silence), (silence, sound))
    target, predicted = (np.stack(side) for side in zip(*pairs, strict=True))
    found = audio_distances(target, {"x": predicted}, 8000)["x"]
    for metric in PUBLISHED_METRICS:
        values = found[metric.name]
        assert np.isfinite(values).all()
        assert values[0] == pytest.approx(float(metric.higher_is_better), abs=1e-9), metric.name
        assert not np.isclose(values[2:], values[0], atol=1e-3).any(), metric.name
    assert found["published_rms"].tolist() == [pytest.approx(1.0), 1.0, 0.0, 0.0]


@pytest.mark.parametrize("length", [1, 100, 600])
def test_short_sounds_have_all_distances(length: int) -> None:
    sounds = np.random.default_rng(0).standard_normal((2, 1, length)).astype(np.float32)
    ours, theirs = (Heard(sound, 8000) for sound in sounds)
    for metric in PUBLISHED_METRICS:
        assert np.isfinite(metric.function(ours, theirs)).all(), metric.name
