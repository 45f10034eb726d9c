import math
from typing import Any

import numpy as np
import pytest
import scipy.signal

from src.synth.resonator import ResonatorSynth, resonance
from src.synth.synthesizers import build_synthesizer
from src.vimh.errors import VIMHError
from src.vimh.parameters import Parameter

RATE = 8000
RANGES: dict[str, Any] = {
    "log10_frequency": {"min": 2.0, "max": 3.0, "step": 0.0125},
    "log10_q": {"min": 0.0, "max": 2.0, "step": 0.08},
    "note_velocity": {"min": 10, "max": 126, "step": 2},
}
EXCITATIONS = ("impulse", "noise")


def resonator(ranges: dict[str, Any] | None = None, **arguments: Any) -> ResonatorSynth:
    return ResonatorSynth(
        {**RANGES, **(ranges or {})}, sample_rate_hz=RATE, duration_s=1.0, **arguments
    )


def some_values(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    values = {name: rng.uniform(p["min"], p["max"], count) for name, p in RANGES.items()}
    values["log10_frequency"][:4] = [2.0, 2.0, 3.0, 3.0][:count]  # the corners
    values["log10_q"][:4] = [0.0, 2.0, 0.0, 2.0][:count]
    return values


def cookbook(values: dict[str, np.ndarray], i: int) -> tuple[list[float], list[float]]:
    """The band-pass with constant 0 dB peak gain, as the cookbook prints it."""
    w0 = 2 * math.pi * 10.0 ** values["log10_frequency"][i] / RATE
    alpha = math.sin(w0) / (2 * 10.0 ** values["log10_q"][i])
    return [alpha, 0.0, -alpha], [1 + alpha, -2 * math.cos(w0), 1 - alpha]


@pytest.mark.parametrize("excitation", EXCITATIONS)
def test_sounds_are_the_cookbooks_filter(excitation: str) -> None:
    values, synth = some_values(20), resonator(excitation=excitation)
    x = np.zeros(RATE)
    x[0] = 1.0
    if excitation == "noise":
        x[:400] = 0.25 * np.random.Generator(np.random.Philox(key=0)).standard_normal(400)
    audio = synth.render(values)
    assert audio.shape == (20, RATE)
    assert audio.dtype == np.float32
    for i in range(20):
        expected = scipy.signal.lfilter(*cookbook(values, i), x) * values["note_velocity"][i] / 127
        # one float32 rounding either way, and float64's relative to the peak
        floor = 1e-12 * np.abs(expected).max()
        np.testing.assert_allclose(audio[i], expected, rtol=1.3e-7, atol=floor)


def test_peak_gain_is_0_db_and_q_is_the_bandwidth() -> None:
    frequency_hz, q = 500.0, 10.0
    r = resonance(np.array([frequency_hz]), np.array([q]), RATE)
    edges = [frequency_hz * (math.sqrt(1 + 0.25 / q**2) + side / (2 * q)) for side in (-1, 1)]
    b = [r.b[0], 0, -r.b[0]]
    _, response = scipy.signal.freqz(b, [1, r.a1[0], r.a2[0]], [frequency_hz, *edges], fs=RATE)
    assert abs(response[0]) == pytest.approx(1.0, abs=1e-12)
    # the bilinear transform bends the frequency axis by 1 % here
    assert 20 * np.log10(np.abs(response[1:])) == pytest.approx([-3.01, -3.01], abs=0.2)


@pytest.mark.parametrize("excitation", EXCITATIONS)
@pytest.mark.parametrize("length", [1, 2, 127, 129, 1100, 2560])
def test_a_shorter_rendering_has_the_same_bits(excitation: str, length: int) -> None:
    values, synth = some_values(5), resonator(excitation=excitation)
    np.testing.assert_array_equal(synth.render(values, length), synth.render(values)[:, :length])


@pytest.mark.parametrize("excitation", EXCITATIONS)
def test_a_sample_has_the_same_bits_alone_and_in_any_batch(excitation: str) -> None:
    values, synth = some_values(37), resonator(excitation=excitation)
    together = synth.render(values, 700)
    for i in range(37):
        alone = synth.render({name: column[i : i + 1] for name, column in values.items()}, 700)
        np.testing.assert_array_equal(alone[0], together[i])


def test_noise_is_decided_by_its_seed_and_length() -> None:
    values = some_values(1)

    def sound(**arguments: Any) -> np.ndarray:
        return resonator(excitation="noise", **arguments).render(values)

    np.testing.assert_array_equal(sound(noise_seed=3), sound(noise_seed=3))
    assert (sound(noise_seed=3) != sound(noise_seed=4)).any()
    np.testing.assert_array_equal(sound(burst_s=0.1)[:, :400], sound(burst_s=0.05)[:, :400])
    assert (sound(burst_s=0.1) != sound(burst_s=0.05)).any()


@pytest.mark.parametrize(
    ("ranges", "arguments", "message"),
    [
        ({}, {"excitation": "hammer"}, "is 'hammer'; expected one of impulse, noise"),
        ({}, {"burst_s": 0.0}, "synth.burst_s is 0.0; expected a number of more than 0"),
        ({}, {"burst_s": 1e-9}, "synth.burst_s is 1e-09; expected at least one sample"),
        ({}, {"noise_seed": -1}, "synth.noise_seed is -1; expected a whole number of at least 0"),
        ({"log10_frequency": {"min": 3.0, "max": 4.0, "step": 0.1}}, {}, "not below half"),
        (
            {"log10_frequency": None, "frequency": {"min": 1e3, "max": 4e3, "step": 100.0}},
            {},
            "parameters.frequency.max is 4000.0: 4000 Hz is not below half",
        ),
        (
            {"log10_q": None, "q": {"min": 0.5, "max": 2.0, "spacing": "log"}},
            {},
            r"parameters.q.min is 0.5: Q must be above 0.5",
        ),
        ({"q": {"min": 1.0, "max": 2.0}}, {}, "synth.parameters.log10_q is unknown"),
        ({"log10_q": {"min": -1.0, "max": 2.0, "step": 0.1}}, {}, "Q must be above 0.5"),
    ],
)
def test_a_wrong_setting_is_one_clear_error(
    ranges: dict[str, Any], arguments: dict[str, Any], message: str
) -> None:
    target = f"{ResonatorSynth.__module__}.{ResonatorSynth.__name__}"
    parameters = {name: p for name, p in {**RANGES, **ranges}.items() if p is not None}
    config = {"_target_": target, "parameters": parameters, **arguments}
    with pytest.raises(VIMHError, match=message):
        build_synthesizer(config, sample_rate_hz=RATE, duration_s=1.0)


@pytest.mark.parametrize("excitation", EXCITATIONS)
def test_frequency_and_q_may_be_given_as_they_are(excitation: str) -> None:
    values = some_values(9)
    plain = {
        "frequency": 10.0 ** values["log10_frequency"],
        "q": 10.0 ** values["log10_q"],
        "note_velocity": values["note_velocity"],
    }
    ranges = {
        "frequency": {"min": 100.0, "max": 1000.0, "step": 0.03, "spacing": "log"},
        "q": {"min": 1.0, "max": 100.0, "step": 0.2, "spacing": "log"},
        "note_velocity": RANGES["note_velocity"],
    }
    synth = ResonatorSynth(ranges, sample_rate_hz=RATE, duration_s=1.0, excitation=excitation)
    np.testing.assert_array_equal(
        synth.render(plain, 700), resonator(excitation=excitation).render(values, 700)
    )


def test_classes_in_hz_are_those_of_the_logarithm() -> None:
    """A step of 3 % is one of log10(1.03), counted from min in both."""
    step, first = math.log10(1.03), 156
    logarithm = Parameter("log10_frequency", first * step, (first + 78) * step, step)
    hertz = Parameter("frequency", 1.03**first, 1.03 ** (first + 78), 0.03, spacing="log")
    assert hertz.num_classes == logarithm.num_classes == 79
    assert hertz.num_steps == pytest.approx(logarithm.num_steps, rel=1e-12)
    x = np.random.default_rng(0).random(5000)
    frequency_hz = hertz.denormalise(x)
    np.testing.assert_allclose(frequency_hz, 10.0 ** logarithm.denormalise(x), rtol=1e-13)
    np.testing.assert_array_equal(
        hertz.class_of(frequency_hz), logarithm.class_of(np.log10(frequency_hz))
    )
    np.testing.assert_array_equal(
        hertz.quantise(frequency_hz), logarithm.quantise(np.log10(frequency_hz))
    )
    for name in ("width", "first", "last"):
        own, other = (getattr(p.codec, name) for p in (hertz, logarithm))
        assert own == pytest.approx(other * math.log(10.0))
    assert hertz.tolerance() == pytest.approx(logarithm.tolerance() * math.log(10.0))
