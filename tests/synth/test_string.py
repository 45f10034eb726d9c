import math
from typing import Any

import numpy as np
import pytest

from src.synth.string import StringSynth, string_loop
from src.synth.synthesizers import build_synthesizer
from src.vimh.errors import VIMHError

RATE = 8000
RANGES: dict[str, Any] = {
    "note_number": {"min": 33, "max": 69, "step": 0.5},  # 55...440 Hz
    "note_velocity": {"min": 10, "max": 126, "step": 2},
    "log10_decay_time": {"min": -1.5, "max": 0.3, "step": 0.1},
}
EXCITATIONS = ("pluck", "strike")


def string(ranges: dict[str, Any] | None = None, **arguments: Any) -> StringSynth:
    return StringSynth(
        {**RANGES, **(ranges or {})}, sample_rate_hz=RATE, duration_s=1.0, **arguments
    )


def some_values(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    values = {name: rng.uniform(p["min"], p["max"], count) for name, p in RANGES.items()}
    values["note_number"][:4] = [33, 33, 69, 69][:count]  # the corners
    values["log10_decay_time"][:4] = [-1.5, 0.3, -1.5, 0.3][:count]
    return values


def one_sample_at_a_time(
    note: float, decay_s: float, gain: float, excitation: str, length: int
) -> list[float]:
    """A delay line, the damping filter and the allpass, each by its own difference equation."""
    f = 440 * 2 ** ((note - 69) / 12)
    w = 2 * math.pi * f / RATE
    left = math.exp(-1 / (f * decay_s))
    if math.cos(w / 2) >= left:
        s, rho = 0.5, left / math.cos(w / 2)
    else:  # bisection: the damping falls from S = 0 to S = ½
        rho, low, high = 1.0, 0.0, 0.5
        for _ in range(80):
            s = (low + high) / 2
            low, high = (s, high) if abs(1 - s + s * np.exp(-1j * w)) > left else (low, s)
    damping_delay = -np.angle(1 - s + s * np.exp(-1j * w)) / w
    n = math.floor(RATE / f - damping_delay - 0.1)
    d = RATE / f - damping_delay - n
    c = math.sin((w - w * d) / 2) / math.sin((w + w * d) / 2)

    if excitation == "pluck":
        longest = math.ceil(RATE / 55 - 1e-9)
        burst = np.random.Generator(np.random.Philox(key=0)).uniform(-1, 1, longest)[:n]
    else:
        burst = np.array([0.5 - 0.5 * math.cos(2 * math.pi * (k + 1) / 9) for k in range(8)])
    back = max(1, round(0.2 * n))

    def struck(at: int) -> float:
        return burst[at] if 0 <= at < len(burst) else 0.0

    line = [0.0] * n  # what went round, the oldest first
    before, allpass_in, allpass_out = 0.0, 0.0, 0.0
    sound = []
    for k in range(length):
        out = line[k % n]
        damped = rho * ((1 - s) * out + s * before)
        before = out
        tuned = c * damped + allpass_in - c * allpass_out
        allpass_in, allpass_out = damped, tuned
        sound.append(0.5 * gain * (struck(k) - struck(k - back)) + tuned)
        line[k % n] = sound[-1]
    return sound


@pytest.mark.parametrize("excitation", EXCITATIONS)
def test_sounds_are_the_delay_lines(excitation: str) -> None:
    values, synth = some_values(12), string(excitation=excitation)
    audio = synth.render(values)
    assert audio.shape == (12, RATE)
    assert audio.dtype == np.float32
    for i in range(12):
        note, decay = values["note_number"][i], 10 ** values["log10_decay_time"][i]
        gain = values["note_velocity"][i] / 127
        expected = np.array(one_sample_at_a_time(note, decay, gain, excitation, RATE))
        assert np.abs(expected).max() > 0.01
        np.testing.assert_allclose(audio[i], expected, rtol=2e-7, atol=1e-7)


@pytest.mark.parametrize("note", [33.0, 45.3, 57.0, 69.0])
@pytest.mark.parametrize("decay_s", [0.05, 0.3, 2.0])
def test_the_loop_has_the_pitch_and_the_decay_that_were_asked_for(
    note: float, decay_s: float
) -> None:
    """At the fundamental one turn is a turn of the phase, and leaves what the decay leaves."""
    f = 440 * 2 ** ((note - 69) / 12)
    loop = string_loop(np.array([f]), np.array([decay_s]), RATE)
    z = np.exp(-2j * np.pi * f / RATE)
    (n,), (rho,), (s,), (c,) = loop
    turn = rho * z**n * (1 - s + s * z) * (c + z) / (1 + c * z)
    assert turn == pytest.approx(math.exp(-1 / (f * decay_s)), abs=1e-9)
    assert 0 < rho <= 1
    assert 0 <= s <= 0.5
    assert abs(c) < 1  # the allpass is stable


def test_what_is_heard_has_the_pitch_and_the_decay() -> None:
    values = {
        "note_number": np.array([57.4]),
        "note_velocity": np.array([126.0]),
        "log10_decay_time": np.array([-0.5]),
    }
    sound = string().render(values)[0].astype(float)
    f = 440 * 2 ** ((57.4 - 69) / 12)
    time_s = np.arange(RATE) / RATE

    def amplitude(frequency_hz: float, start: int, length: int = 2000) -> float:
        part = slice(start, start + length)
        window = np.hanning(length) * np.exp(-2j * np.pi * frequency_hz * time_s[part])
        return float(abs(np.sum(sound[part] * window)))

    nearby = f * 2 ** (np.arange(-50, 51) / 1200)  # cents
    found = nearby[np.argmax([amplitude(x, 2000) for x in nearby])]
    assert 1200 * abs(math.log2(found / f)) <= 2  # cents
    tau = 0.4 / math.log(amplitude(f, 800) / amplitude(f, 800 + 3200))
    assert tau == pytest.approx(10**-0.5, rel=0.02)


@pytest.mark.parametrize("excitation", EXCITATIONS)
def test_no_constant_part_stays(excitation: str) -> None:
    values = some_values(4) | {"log10_decay_time": np.full(4, 0.3)}
    sound = string(excitation=excitation).render(values)
    assert np.abs(sound[:, -4000:].mean(axis=1)).max() < 1e-3


def test_harmonics_with_a_node_at_the_pluck_are_missing() -> None:
    values = {
        "note_number": np.array([45.0]),
        "note_velocity": np.array([126.0]),
        "log10_decay_time": np.array([0.3]),
    }
    sound = string(position=0.5, excitation="strike").render(values)[0]
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(RATE)))
    harmonics = [spectrum[110 * k - 5 : 110 * k + 6].max() for k in (1, 2, 3)]
    assert harmonics[1] < 0.1 * min(harmonics[0], harmonics[2])


@pytest.mark.parametrize("excitation", EXCITATIONS)
@pytest.mark.parametrize("length", [1, 2, 40, 147, 1100])
def test_a_shorter_rendering_has_the_same_bits(excitation: str, length: int) -> None:
    values, synth = some_values(5), string(excitation=excitation)
    np.testing.assert_array_equal(synth.render(values, length), synth.render(values)[:, :length])


@pytest.mark.parametrize("excitation", EXCITATIONS)
def test_a_sample_has_the_same_bits_alone_and_in_any_batch(excitation: str) -> None:
    values, synth = some_values(21), string(excitation=excitation)
    together = synth.render(values, 700)
    for i in range(21):
        alone = synth.render({name: column[i : i + 1] for name, column in values.items()}, 700)
        np.testing.assert_array_equal(alone[0], together[i])


def test_velocity_is_the_amplitude() -> None:
    values = some_values(2) | {"note_number": np.full(2, 45.0), "log10_decay_time": np.zeros(2)}
    values["note_velocity"] = np.array([60.0, 120.0])
    soft, loud = string().render(values)
    np.testing.assert_allclose(2 * soft, loud, rtol=1e-6)
    assert np.abs(loud).max() <= 1.0


@pytest.mark.parametrize(
    ("ranges", "arguments", "message"),
    [
        ({}, {"excitation": "bow"}, "is 'bow'; expected one of pluck, strike"),
        ({}, {"position": 1.0}, "synth.position is 1.0; expected a number of more than 0 and less"),
        ({}, {"contact_s": 0.0}, "synth.contact_s is 0.0; expected a number of more than 0"),
        ({}, {"contact_s": 1e-9}, "synth.contact_s is 1e-09; expected at least one sample"),
        ({}, {"noise_seed": -1}, "synth.noise_seed is -1; expected a whole number of at least 0"),
        (
            {"note_number": {"min": 69, "max": 105, "step": 0.5}},
            {},
            "at most 2000 Hz, four samples",
        ),
        ({"note_number": {"min": -48, "max": -24, "step": 0.5}}, {}, "at least 1 Hz"),
    ],
)
def test_mistakes_are_one_sentence(ranges: dict, arguments: dict, message: str) -> None:
    target = f"{StringSynth.__module__}.{StringSynth.__name__}"
    config = {"_target_": target, "parameters": {**RANGES, **ranges}, **arguments}
    with pytest.raises(VIMHError, match=message):
        build_synthesizer(config, sample_rate_hz=RATE, duration_s=1.0)
