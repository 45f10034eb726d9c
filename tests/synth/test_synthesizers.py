import math
from typing import Any

import numpy as np
import pytest

import src.synth.synthesizers as module
from src.synth.synthesizers import SimpleSawSynth, build_synthesizer
from src.vimh.errors import VIMHError

RANGES: dict[str, Any] = {
    "note_number": {"min": 33, "max": 57, "step": 0.25},
    "note_velocity": {"min": 10, "max": 126, "step": 2},
    "log10_decay_time": {"min": -2.0, "max": 0.3, "step": 0.1},
}
TARGET = "src.synth.synthesizers.SimpleSawSynth"


def simple(**ranges: Any) -> SimpleSawSynth:
    return SimpleSawSynth({**RANGES, **ranges}, sample_rate_hz=8000, duration_s=1.0)


def some_values(count: int, *, same_note: bool = False) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    notes = np.full(count, 43.35) if same_note else rng.uniform(33, 57, count)
    return {
        "note_number": notes,
        "note_velocity": rng.uniform(10, 126, count),
        "log10_decay_time": rng.uniform(-2, 0.3, count),
    }


def by_formula(values: dict[str, np.ndarray], i: int, length: int) -> np.ndarray:
    sound = []
    f = 440.0 * 2.0 ** ((values["note_number"][i] - 69.0) / 12.0)
    tau = 10.0 ** values["log10_decay_time"][i]
    for n in range(length):
        t = n / 8000
        p = f * t - 0.5
        saw = 2.0 * (p - math.floor(p)) - 1.0
        sound.append(values["note_velocity"][i] / 127.0 * math.exp(-t / tau) * saw)
    return np.array(sound)


@pytest.mark.parametrize("same_note", [True, False])
def test_samples_are_the_formula_in_float32(same_note: bool) -> None:
    values = some_values(5, same_note=same_note)
    audio = simple().render(values)
    assert audio.shape == (5, 8000)
    assert audio.dtype == np.float32
    for i in range(5):
        expected = by_formula(values, i, 8000).astype(np.float32)
        # one float32 rounding either way, down to the smallest normal number
        np.testing.assert_allclose(audio[i], expected, rtol=1.3e-7, atol=1e-37)


def test_saw_starts_at_zero_and_rises() -> None:
    audio = simple().render(some_values(4))
    assert (audio[:, 0] == 0).all()
    assert (np.diff(audio[:, :10], axis=1) > 0).all()


@pytest.mark.parametrize("length", [1, 127, 128, 129, 2560])
def test_a_shorter_rendering_has_the_same_bits(length: int) -> None:
    values = some_values(3)
    synth = simple()
    np.testing.assert_array_equal(synth.render(values, length), synth.render(values)[:, :length])


@pytest.mark.parametrize("same_note", [True, False])
def test_a_sample_has_the_same_bits_alone_and_in_any_batch(same_note: bool) -> None:
    values = some_values(37, same_note=same_note)
    synth = simple()
    together = synth.render(values, 700)
    for i in range(37):
        alone = synth.render({name: column[i : i + 1] for name, column in values.items()}, 700)
        np.testing.assert_array_equal(alone[0], together[i])


def test_a_shared_waveform_changes_no_bit() -> None:
    values = some_values(8, same_note=True)
    synth = simple()
    shared = synth.render(values, 500)
    values["note_number"] = np.append(values["note_number"][:-1], 50.0)
    np.testing.assert_array_equal(synth.render(values, 500)[:-1], shared[:-1])


def test_the_scripted_loop_gives_the_bits_of_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch cannot script it, data sets are the same."""
    values = some_values(20)
    scripted = simple().render(values)
    monkeypatch.setattr(module, "_DECAYING_SAWTOOTH", module._decaying_sawtooth)
    np.testing.assert_array_equal(simple().render(values), scripted)


def test_length_is_rounded() -> None:
    synth = SimpleSawSynth(RANGES, sample_rate_hz=8000, duration_s=0.99994)
    assert synth.num_samples == 8000


def test_a_range_of_one_value_is_fixed() -> None:
    synth = simple(note_number={"min": 43.35, "max": 43.35, "step": 0.25})
    assert synth.parameters.heads.names == ("note_velocity", "log10_decay_time")
    assert synth.parameters.fixed.names == ("note_number",)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"parameters": RANGES}, "synth._target_ is null; expected the import path"),
        ({"_target_": "simple", "parameters": RANGES}, "synth._target_ is 'simple'; expected"),
        (
            {"_target_": "src.synth.nothing.Synth", "parameters": RANGES},
            "synth._target_ is .*No module named",
        ),
        (
            {"_target_": "src.synth.synthesizers.Nothing", "parameters": RANGES},
            "synth._target_ is .*has no attribute",
        ),
        ({"_target_": "builtins.dict", "parameters": RANGES}, "not a subclass of Synthesizer"),
        (
            {"_target_": "src.synth.synthesizers.Synthesizer", "parameters": RANGES},
            "not a subclass of Synthesizer",
        ),
        ({"_target_": TARGET}, "synth.parameters is missing; expected a mapping"),
        ({"_target_": TARGET, "parameters": RANGES, "gain": 1}, "synth.gain is unknown"),
        ({"_target_": TARGET, "parameters": [1]}, "expected a mapping"),
        (
            {"_target_": TARGET, "parameters": {**RANGES, "cutoff": {}}},
            "synth.parameters.cutoff is unknown",
        ),
        (
            {"_target_": TARGET, "parameters": {"note_number": {"min": 1, "max": 1}}},
            "missing: note_velocity, log10_decay_time",
        ),
        (
            {
                "_target_": TARGET,
                "parameters": {**RANGES, "note_velocity": {"min": 1, "max": 2, "stepp": 1}},
            },
            "synth.parameters.note_velocity.stepp is unknown; did you mean step",
        ),
        (
            {
                "_target_": TARGET,
                "parameters": {**RANGES, "note_velocity": {"min": 1, "max": 2, "step": 0.3}},
            },
            "whole multiple of step",
        ),
        (
            {
                "_target_": TARGET,
                "parameters": {name: {"min": 1, "max": 1} for name in RANGES},
            },
            "nothing to learn",
        ),
    ],
)
def test_a_wrong_config_is_one_clear_error(config: dict[str, Any], message: str) -> None:
    with pytest.raises(VIMHError, match=message):
        build_synthesizer(config, sample_rate_hz=8000, duration_s=1.0)
