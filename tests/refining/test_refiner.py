"""A synthesiser's parameters found again from its sounds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from src.refining.refiner import Refiner
from src.refining.space import Space, reflected
from src.synth.draws import derived
from src.synth.synthesizers import Synthesizer, build_synthesizer
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError

ROOT = Path(__file__).resolve().parents[2]


def synthesizer(name: str, rate_hz: int = 8000, duration_s: float = 0.5, **changes: Any) -> Any:
    config = yaml.safe_load((ROOT / "configs" / "synth" / f"{name}.yaml").read_text())
    config["parameters"] |= changes
    return build_synthesizer(config, sample_rate_hz=rate_hz, duration_s=duration_s)


def columns(synth: Synthesizer, values: Mapping[str, float]) -> dict[str, np.ndarray]:
    fixed = {name: p.min for name, p in synth.parameters.fixed.items()}
    both = fixed | dict(values)
    return {name: np.array([both[name]]) for name in synth.parameters}


def sound_of(synth: Synthesizer, values: Mapping[str, float]) -> np.ndarray:
    return synth.render(columns(synth, values))[0]


def moved(synth: Synthesizer, values: Mapping[str, float], share: float) -> dict[str, float]:
    """The values, each moved by a share of its range, up and down in turn."""
    heads = synth.parameters.heads
    return {
        name: float(p.denormalise(p.normalise(values[name]) + share * (-1) ** k))
        for k, (name, p) in enumerate(heads.items())
    }


def errors(synth: Synthesizer, found: Mapping[str, float], true: Mapping[str, float]) -> np.ndarray:
    """Errors in shares of the normalised range."""
    heads = synth.parameters.heads.items()
    return np.array([abs(float(p.normalise(found[n]) - p.normalise(true[n]))) for n, p in heads])


RESONANCE = {"log10_frequency": 2.6, "log10_q": 1.1}


def test_a_resonator_is_found_from_three_per_cent_away() -> None:
    synth = synthesizer("resonator")
    start = moved(synth, RESONANCE, 0.03)
    refined = Refiner(synth, {"log10_frequency": 0.03, "log10_q": 0.03})(
        sound_of(synth, RESONANCE), start
    )
    assert refined.converged
    assert refined.compared == "waveform"
    assert refined.residual < 1e-6
    assert refined.residual_db == pytest.approx(20 * np.log10(refined.residual))
    assert errors(synth, refined.values, RESONANCE).max() < 1e-6
    assert refined.values == refined.best
    assert refined.start == start
    assert refined.renders > 0
    assert refined.seconds > 0


def test_the_level_is_solved_for_and_not_searched() -> None:
    """Half the level is half the sound: a level parameter costs no rendering."""
    varying = {"min": 10, "max": 126, "step": 2}
    true = {**RESONANCE, "note_velocity": 63.0}
    renders = []
    for level in (1.0, 0.25):
        synth = synthesizer("resonator", note_velocity=varying)
        assert [p.name for p in Space(synth, None).searched] == ["log10_frequency", "log10_q"]
        start = moved(synth, true, 0.02) | {"note_velocity": 120.0}
        refined = Refiner(synth, {})(level * sound_of(synth, true), start)
        assert refined.values["note_velocity"] == pytest.approx(63.0 * level, rel=1e-6)
        renders.append(refined.renders)
    assert renders[0] == renders[1]


def test_a_sound_of_something_else_keeps_the_networks_values() -> None:
    synth = synthesizer("resonator", duration_s=0.25)
    noise = np.random.default_rng(0).standard_normal(2000).astype(np.float32)
    start = dict(RESONANCE)
    refined = Refiner(synth, {}, max_renders=300)(noise, start)
    assert not refined.converged
    assert refined.values == start
    assert refined.best.keys() == start.keys()
    assert refined.residual > 0.25


def test_a_value_at_the_end_of_its_range_is_found() -> None:
    synth = synthesizer("resonator")
    true = {"log10_frequency": 3.0, "log10_q": 0.0}
    start = {"log10_frequency": 2.97, "log10_q": 0.06}
    refined = Refiner(synth, {})(sound_of(synth, true), start)
    assert errors(synth, refined.values, true).max() < 1e-5
    for name, parameter in synth.parameters.heads.items():
        assert parameter.min <= refined.best[name] <= parameter.max


def test_coordinates_beyond_an_end_are_reflected() -> None:
    points = np.linspace(-3.0, 3.0, 601)
    folded = reflected(points)
    assert folded.min() >= 0.0
    assert folded.max() <= 1.0
    assert np.abs(np.diff(folded)).max() < 0.0101  # no jump
    assert folded[(points >= 0) & (points <= 1)] == pytest.approx(
        points[(points >= 0) & (points <= 1)]
    )


def test_the_same_sound_gives_the_same_bits() -> None:
    synth = synthesizer("resonator", duration_s=0.25)
    audio, start = sound_of(synth, RESONANCE), moved(synth, RESONANCE, 0.03)
    first, second = (Refiner(synth, {}, seed=3)(audio, start) for _ in range(2))
    assert first.values == second.values
    assert first.renders == second.renders


def test_without_a_network_starts_are_drawn() -> None:
    synth = synthesizer("resonator")
    refined = Refiner(synth, {})(sound_of(synth, RESONANCE), None)
    assert refined.converged
    assert refined.start == {}
    assert errors(synth, refined.values, RESONANCE).max() < 1e-6


@pytest.mark.parametrize("scale", [1e-9, 1.0])
def test_residuals_are_relative(scale: float) -> None:
    """A plate's displacement is 1e-9 m: nothing may have an absolute floor."""
    varying = {"min": 10 * scale, "max": 126 * scale}
    synth = synthesizer("resonator", note_velocity=varying)
    true = {**RESONANCE, "note_velocity": 40.0 * scale}
    start = moved(synth, true, 0.02)
    refined = Refiner(synth, {})(sound_of(synth, true), start)
    assert refined.residual < 1e-6
    assert errors(synth, refined.values, true).max() < 1e-5


def test_what_cannot_be_refined_is_said() -> None:
    synth = synthesizer("resonator")
    refiner = Refiner(synth, {})
    with pytest.raises(VIMHError, match="4000 samples, found 100"):
        refiner(np.ones(100), dict(RESONANCE))
    with pytest.raises(VIMHError, match="not silent"):
        refiner(np.zeros(4000), dict(RESONANCE))
    with pytest.raises(VIMHError, match="log10_q has none"):
        refiner(np.ones(4000), {"log10_frequency": 2.5})


@pytest.mark.slow
def test_five_plates() -> None:
    synth = synthesizer("plate", 44100, 1.0)
    rng = np.random.default_rng(11)
    draws = {name: rng.uniform(p.min, p.max, 5) for name, p in synth.draws.items()}
    values = derived(synth, draws)
    sounds = synth.render_float64(values).astype(np.float32)
    for row, sound in enumerate(sounds):
        true = {name: float(column[row]) for name, column in values.items()}
        refined = Refiner(synth, dict.fromkeys(true, 0.03))(sound, moved(synth, true, 0.03))
        assert refined.converged
        share = [(refined.values[n] - true[n]) / p.range for n, p in synth.parameters.items()]
        assert np.square(share).mean() < 1e-12


def noise_burst(seed: int) -> Synthesizer:
    config = yaml.safe_load((ROOT / "configs" / "synth" / "resonator.yaml").read_text())
    config |= {"excitation": "noise", "burst_s": 0.2, "noise_seed": seed}
    return build_synthesizer(config, sample_rate_hz=8000, duration_s=0.25)


def test_a_sound_of_other_noise_is_compared_by_its_spectra() -> None:
    """The waveform follows from the noise, which the synthesiser does not have."""
    synth = noise_burst(0)
    start = moved(synth, RESONANCE, 0.1)
    refined = Refiner(synth, {}, max_renders=1)(sound_of(noise_burst(1), RESONANCE), start)
    assert refined.compared == "spectra"
    assert refined.converged
    away = errors(synth, start, RESONANCE)
    assert (errors(synth, refined.values, RESONANCE) < 0.5 * away).all()


def test_cma_needs_no_derivatives() -> None:
    pytest.importorskip("cma")
    synth = synthesizer("resonator", duration_s=0.25)
    before = str(np.random.get_state())  # noqa: NPY002
    audio, start = sound_of(synth, RESONANCE), moved(synth, RESONANCE, 0.05)
    results = [Refiner(synth, {}, method="cma", max_renders=300)(audio, start) for _ in range(2)]
    assert results[0].values == results[1].values
    assert results[0].compared == "spectra"
    assert results[0].renders <= 320
    assert errors(synth, results[0].values, RESONANCE).max() < 3e-3
    assert str(np.random.get_state()) == before  # noqa: NPY002


def test_cma_is_asked_for_where_two_sounds_of_the_same_values_differ(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    synth = synthesizer("resonator")
    synth.varies = True
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert Refiner(synth, {}).method == "cma"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"package cma: the sounds of resonator vary; pip"):
        Refiner(synth, {})


class Tone(Synthesizer):
    """A decaying sine or its square."""

    synth_type = "tone"
    parameter_names = ("frequency", "decay", "wave")

    def render(
        self, values: Mapping[str, np.ndarray], num_samples: int | None = None
    ) -> np.ndarray:
        length = self.num_samples if num_samples is None else num_samples
        time_s = np.arange(length) / self.sample_rate_hz
        sine = np.sin(2 * np.pi * values["frequency"][:, None] * time_s)
        wave = np.where(values["wave"][:, None] == 1.0, sine * np.abs(sine), sine)
        return (wave * np.exp(-time_s / values["decay"][:, None])).astype(np.float32)


TONE: dict[str, dict[str, Any]] = {
    "frequency": {"min": 100.0, "max": 400.0, "spacing": "log"},
    "decay": {"min": 0.05, "max": 0.5, "spacing": "log"},
    "wave": {"min": 0, "max": 1, "kind": "categorical", "class_names": ["sine", "bent"]},
}


def test_where_classes_alone_vary_the_nearest_is_taken() -> None:
    fixed = {"frequency": {"min": 220, "max": 220}, "decay": {"min": 0.2, "max": 0.2}}
    synth = Tone({**TONE, **fixed}, sample_rate_hz=8000, duration_s=0.25)
    refined = Refiner(synth, {})(sound_of(synth, {"wave": 1.0}), {"wave": 0.0})
    assert refined.values == {"wave": 1.0}
    assert refined.residual < 1e-6


def test_a_wrong_class_is_found_among_the_few_there_are() -> None:
    synth = Tone(TONE, sample_rate_hz=8000, duration_s=0.25)
    true = {"frequency": 220.0, "decay": 0.2, "wave": 1.0}
    start = {"frequency": 216.0, "decay": 0.21, "wave": 0.0}
    refined = Refiner(synth, {}, max_renders=2000)(sound_of(synth, true), start)
    assert refined.values["wave"] == 1.0
    assert refined.values["frequency"] == pytest.approx(220.0, rel=1e-3)


class LateTone(Tone):
    """The same after 50 ms of silence."""

    def render(
        self, values: Mapping[str, np.ndarray], num_samples: int | None = None
    ) -> np.ndarray:
        length = self.num_samples if num_samples is None else num_samples
        silence = round(0.05 * self.sample_rate_hz)
        tone = super().render(values, length)
        return np.pad(tone, ((0, 0), (silence, 0)))[:, :length]


def test_a_sound_that_begins_late_is_refined() -> None:
    """The first stages hear nothing of it."""
    synth = LateTone(TONE, sample_rate_hz=8000, duration_s=0.25)
    true = {"frequency": 220.0, "decay": 0.2, "wave": 0.0}
    start = {"frequency": 221.0, "decay": 0.21, "wave": 0.0}
    refined = Refiner(synth, {}, max_renders=1000)(sound_of(synth, true), start)
    assert refined.converged
    assert refined.values["frequency"] == pytest.approx(220.0, rel=1e-3)


def test_noise_in_the_sound_is_no_reason_to_give_up() -> None:
    """White noise 30 dB below the peak of a short sound, whose energy is not ten times as large."""
    synth = synthesizer("resonator")
    clean = sound_of(synth, RESONANCE)
    noise = np.random.default_rng(5).standard_normal(len(clean)) * 0.0316 * np.abs(clean).max()
    assert np.linalg.norm(noise) > 0.3 * np.linalg.norm(clean)
    refined = Refiner(synth, {}, max_renders=1000)(clean + noise, moved(synth, RESONANCE, 0.03))
    assert refined.converged
    assert errors(synth, refined.values, RESONANCE).max() < 0.015
