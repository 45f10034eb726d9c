import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.synth import moog as module
from src.synth.generate import generate_dataset
from src.synth.moog import MoogSynth, MoogWaveSynth
from src.vimh.errors import VIMHError
from src.vimh.records import open_dataset

RATE = 8000
RANGES: dict[str, tuple[float, float, float]] = {
    "note_number": (33, 57, 0.25),
    "note_velocity": (10, 126, 2),
    "log10_decay_time": (-2.0, 0.3, 0.1),
    "log10_cutoff": (2.0, 3.4, 0.04),
    "resonance": (0.0, 0.95, 0.05),
    "env_attack": (0.0, 0.2, 0.02),
    "env_decay": (0.0, 0.4, 0.05),
    "env_sustain": (0.0, 1.0, 0.1),
    "env_release": (0.0, 0.4, 0.05),
    "env_octaves": (0.0, 2.0, 0.25),
}


def moog(duration_s: float = 0.15) -> MoogSynth:
    ranges: dict[str, Any] = {
        name: {"min": low, "max": high, "step": step} for name, (low, high, step) in RANGES.items()
    }
    return MoogSynth(ranges, sample_rate_hz=RATE, duration_s=duration_s)


def some_values(count: int, **fixed: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    values = {name: rng.uniform(low, high, count) for name, (low, high, _) in RANGES.items()}
    return values | {name: np.full(count, value) for name, value in fixed.items()}


def envelope_at(t: float, v: dict[str, float], note_off: float) -> float:
    def held(t: float) -> float:
        if t < v["env_attack"]:
            return t / v["env_attack"]
        share = (t - v["env_attack"]) / v["env_decay"] if v["env_decay"] > 0 else 1.0
        return 1.0 - (1.0 - v["env_sustain"]) * min(share, 1.0)

    if t < note_off:
        return held(t)
    left = 1.0 - (t - note_off) / v["env_release"] if v["env_release"] > 0 else 0.0
    return held(note_off) * max(left, 0.0)


def slowly(
    values: dict[str, np.ndarray], i: int, duration_s: float, square: bool = False
) -> np.ndarray:
    """One sound, number by number."""
    v = {name: float(column[i]) for name, column in values.items()}
    hz = 440.0 * 2.0 ** ((v["note_number"] - 69.0) / 12.0)
    y, last, sound = [0.0] * 4, 0.0, []
    for n in range(round(duration_s * RATE)):
        t = n / RATE
        cutoff = 10.0 ** v["log10_cutoff"] * 2.0 ** (
            v["env_octaves"] * envelope_at(t, v, 0.6 * duration_s)
        )
        f = min(cutoff, 0.45 * RATE) / RATE
        tuning = 1.8730 * f**3 + 0.4955 * f**2 - 0.6490 * f + 0.9988
        g = 1.0 - math.exp(-2.0 * math.pi * f / 2 * tuning)
        k = 4.0 * v["resonance"] * (-3.9364 * f**2 + 1.8409 * f + 0.9968)
        for half in (0, 1):
            p = hz * (2 * n + half) / (2 * RATE) - 0.5
            x = 2.0 * (p - math.floor(p)) - 1.0
            x = (-1.0 if x < 0 else 1.0) if square else x
            below = x - k * (y[3] + last) / 2
            last = y[3]
            for stage in range(4):
                y[stage] += g * (math.tanh(below) - math.tanh(y[stage]))
                below = y[stage]
        decay = math.exp(-t / 10.0 ** v["log10_decay_time"])
        sound.append(v["note_velocity"] / 127.0 * decay * y[3])
    return np.array(sound)


@pytest.mark.parametrize(
    "fixed",
    [
        {},
        {"env_octaves": 0.0, "note_number": 43.35},
        {"env_attack": 0.0, "env_decay": 0.0, "env_release": 0.0},
        {"log10_cutoff": 3.4, "env_octaves": 2.0, "env_sustain": 1.0, "resonance": 0.95},
    ],
    ids=["all", "basic", "jumps", "highest"],
)
def test_sounds_are_those_of_a_slow_reference(fixed: dict[str, float]) -> None:
    values = some_values(6, **fixed)
    audio = moog().render(values)
    assert audio.shape == (6, 1200)
    assert audio.dtype == np.float32
    for i in range(6):
        np.testing.assert_allclose(audio[i], slowly(values, i, 0.15), rtol=0, atol=1e-6)


@pytest.mark.parametrize("length", [1, 127, 128, 129, 1000])
def test_a_shorter_rendering_has_the_same_bits(length: int) -> None:
    values = some_values(5)
    np.testing.assert_array_equal(moog().render(values, length), moog().render(values)[:, :length])


@pytest.mark.parametrize("fixed", [{}, {"note_number": 43.35}, {"env_octaves": 0.0}])
def test_a_sample_has_the_same_bits_alone_and_in_any_batch(fixed: dict[str, float]) -> None:
    values, synth = some_values(37, **fixed), moog()
    together = synth.render(values, 200)
    for first, count in ((0, 1), (1, 1), (36, 1), (3, 5), (7, 17), (20, 17)):
        some = {name: column[first : first + count] for name, column in values.items()}
        np.testing.assert_array_equal(synth.render(some, 200), together[first : first + count])


def test_shared_waveform_and_still_cutoff_change_no_bit() -> None:
    values, synth = some_values(8, note_number=43.35, env_octaves=0.0), moog()
    shared = synth.render(values)
    values["note_number"][-1], values["env_octaves"][-1] = 50.0, 1.0
    np.testing.assert_array_equal(synth.render(values)[:-1], shared[:-1])


def test_cutoff_takes_the_harmonics_away_and_resonance_lifts_those_at_the_cutoff() -> None:
    values = some_values(3, note_number=43.35, log10_decay_time=0.3, env_octaves=0.0)
    values["note_velocity"][:] = 100.0
    values["log10_cutoff"] = np.array([3.0, 2.3, 3.0])
    values["resonance"] = np.array([0.0, 0.0, 0.9])
    sound = moog(1.0).render(values)[:, 4000:4800].astype(np.float64)  # ten periods
    harmonics_db = 20 * np.log10(np.abs(np.fft.rfft(sound))[:, 10:300:10])
    assert (harmonics_db[0, 3:15] - harmonics_db[1, 3:15] > 20).all()
    relative_db = harmonics_db[2] - harmonics_db[0]
    assert abs(int(np.argmax(relative_db)) - 9) <= 1  # 1000 Hz is the tenth harmonic
    assert relative_db.max() > 10
    assert relative_db[0] < 0


def moog_wave(**waveform: Any) -> MoogWaveSynth:
    ranges: dict[str, Any] = {
        name: {"min": low, "max": high, "step": step} for name, (low, high, step) in RANGES.items()
    }
    classes = {"min": 0, "max": 1, "kind": "categorical", "class_names": ["saw", "square"]}
    ranges["waveform"] = classes | waveform
    return MoogWaveSynth(ranges, sample_rate_hz=RATE, duration_s=0.15)


def test_the_first_class_is_the_saw_and_the_second_its_sign() -> None:
    values = some_values(5)
    both = values | {"waveform": np.array([0.0, 1.0, 0.0, 1.0, 1.0])}
    audio, saws = moog_wave().render(both), moog().render(values)
    np.testing.assert_array_equal(audio[[0, 2]], saws[[0, 2]])
    for i in (1, 3, 4):
        reference = slowly(values, i, 0.15, square=True)
        np.testing.assert_allclose(audio[i], reference, rtol=0, atol=1e-6)
    alone = {name: column[1:2] for name, column in both.items()}
    np.testing.assert_array_equal(moog_wave().render(alone, 200)[0], audio[1, :200])


@pytest.mark.parametrize(
    "waveform",
    [{"class_names": ["square", "saw"]}, {"class_names": []}, {"kind": "continuous", "step": 1}],
)
def test_other_classes_than_those_that_are_rendered_are_refused(waveform: dict[str, Any]) -> None:
    with pytest.raises(VIMHError, match=r"waveform.*class_names"):
        moog_wave(**waveform)


@pytest.mark.parametrize("name", ["resonator", "stk", "moog_basic", "moog_envelope", "mixed"])
@pytest.mark.sampled(5)
def test_the_bytes_do_not_depend_on_chunks_and_threads(
    name: str, make_recipe: Any, tmp_path: Path
) -> None:
    image = ("image.height=8", "image.width=4")  # few frames: less of each sound is rendered
    ways = (("chunk_size=7", "threads=2"), ("chunk_size=4096", "threads=1"))
    written = []
    for i, way in enumerate(ways):
        generate = [f"generate.{key}" for key in way]
        recipe = make_recipe(name, *image, "dataset.size=40", *generate)
        recipe["generate"]["output_dir"] = str(tmp_path / str(i))
        report = generate_dataset(recipe, progress=False)
        written.append([(report.dataset_dir / part).read_bytes() for part in ("train", "test")])
    assert written[0] == written[1]
    few = make_recipe(name, *image, "dataset.size=10")
    first = open_dataset(generate_dataset(few, progress=False).dataset_dir).train
    many = open_dataset(report.dataset_dir).train
    np.testing.assert_array_equal(first.images, many.images[: len(first)])
    assert len(np.unique(many.images)) > 100


def test_the_scripted_loop_gives_the_bits_of_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch cannot script it, data sets are the same."""
    values = some_values(3)
    scripted = moog().render(values)
    monkeypatch.setattr(module, "_LADDER", module._ladder)
    np.testing.assert_array_equal(moog().render(values), scripted)


@pytest.mark.parametrize(
    ("name", "ends", "message"),
    [
        ("log10_cutoff", (2.0, 3.6, 0.04), r"log10_cutoff.max is 3.6, .* 3.5563, sound alike"),
        ("env_attack", (-0.2, 0.2, 0.02), r"env_attack.min is -0.2; expected 0 or more"),
        ("resonance", (-0.5, 0.95, 0.05), r"resonance.min is -0.5; expected 0 or more"),
    ],
)
def test_ranges_in_which_sounds_are_alike_are_not_generated(
    name: str, ends: tuple[float, float, float], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    moog().check_generating()
    monkeypatch.setitem(RANGES, name, ends)
    synthesizer = moog()  # what is there already can be rendered again
    with pytest.raises(VIMHError, match=message):
        synthesizer.check_generating()


def test_a_cutoff_that_does_not_vary_may_be_as_high_as_it_likes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(RANGES, "log10_cutoff", (3.6, 3.6, 0.04))
    moog().check_generating()
