"""Faust programs, compiled and rendered in this process."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from src.synth.engines.control import Control
from src.synth.engines.engine import EngineError
from src.synth.engines.faust_engine import FaustEngine

cyfaust = pytest.importorskip("cyfaust")
# LLVM reorders additions, and its controls come with six digits.
interpreted = pytest.mark.skipif(cyfaust.LLVM_BACKEND, reason="of the interpreter alone")

RATE_HZ = 8000
EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "faust"
SHIPPED = ("voice", "fm", "string")
Program = Callable[..., FaustEngine]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """A program's text, compiled."""

    def compiled(text: str, **options: object) -> FaustEngine:
        path = tmp_path / "my.dsp"
        path.write_text(text)
        return FaustEngine(sample_rate_hz=RATE_HZ, dsp=str(path), **options)

    return compiled


def shipped(name: str, **options: object) -> FaustEngine:
    return FaustEngine(sample_rate_hz=RATE_HZ, dsp=str(EXAMPLES / f"{name}.dsp"), **options)


def drawn(controls: list[Control], count: int) -> list[dict[str, float]]:
    """Settings of all controls but gain, in single precision, as both compilers get them."""
    rng = np.random.default_rng(0)
    settings = []
    for _ in range(count):
        values = {}
        for c in controls:
            if c.class_names:
                values[c.name] = float(rng.integers(len(c.class_names)))
            elif c.name != "gain":
                values[c.name] = float(np.float32(rng.uniform(c.min, c.max)))
        settings.append(values)
    return settings


def sound(engine: FaustEngine, values: dict[str, float], length: int = RATE_HZ) -> np.ndarray:
    engine.clear()
    return engine.render(values, length)


# -- what a sound is


@pytest.mark.parametrize("name", SHIPPED)
def test_a_sound_depends_on_its_values_alone(name: str) -> None:
    engine, fresh = shipped(name), shipped(name)
    settings = drawn(list(engine.controls()), 4)
    sounds = [sound(engine, values) for values in settings]
    again = [sound(engine, values) for values in settings[::-1]][::-1]
    for own, other, values in zip(sounds, again, settings, strict=True):
        assert np.array_equal(own, other)
        assert np.array_equal(own[:3000], sound(fresh, values, 3000))
        assert 0.01 < np.abs(own).max() < 2


@pytest.mark.parametrize(
    "text",
    [
        'import("stdfaust.lib"); process = no.noise * hslider("level", 1, 0, 1, 0.1);',
        'import("stdfaust.lib"); process = no.noise : rwtable(256, 0.0, ba.time % 256, _, '
        '(ba.time * 7) % 256) * hslider("level", 1, 0, 1, 0.1);',
    ],
    ids=["noise", "a table that is written"],
)
def test_nothing_of_the_last_sound_is_left(program: Program, text: str) -> None:
    engine = program(text)
    first = sound(engine, {"level": 1.0})
    assert np.array_equal(first, sound(engine, {"level": 1.0}))
    assert first.any()


def test_what_is_not_set_stands_at_its_default(program: Program) -> None:
    engine = program('process = hslider("a", 0.25, 0, 1, 0.01) + hslider("b", 0.5, 0, 1, 0.01);')
    assert sound(engine, {"a": 1.0}, 3).tolist() == [1.5] * 3
    assert sound(engine, {}, 3).tolist() == [0.75] * 3


def test_the_gate_is_held_for_the_note(program: Program) -> None:
    text = 'process = button("gate");'
    assert sound(program(text), {}, 4000).all()
    assert (
        sound(program(text, note={"hold_s": 0.25}), {}, 4000).tolist()
        == [1.0] * 2000 + [0.0] * 2000
    )
    assert sound(program(text, note={"hold_s": 9}), {}, 4000).all()
    assert not sound(program(text, note={"hold_s": 0}), {}, 4000).any()


def test_outputs_are_averaged(program: Program) -> None:
    assert sound(program("process = 1, 0, 0.5;"), {}, 2).tolist() == [0.5, 0.5]


def test_inputs_get_an_impulse_noise_or_nothing(program: Program) -> None:
    text = "process = _, @(2);"
    assert sound(program(text), {}, 4).tolist() == [0.5, 0.0, 0.5, 0.0]
    assert not sound(program(text, input="silence"), {}).any()
    noise = sound(program("process = _;", input="noise"), {}, 4000)
    assert noise.std() == pytest.approx(12**-0.5, rel=0.05)
    assert np.array_equal(noise[:100], sound(program("process = _;", input="noise"), {}, 100))


def test_a_menu_sends_the_values_of_its_classes(program: Program) -> None:
    engine = program("process = nentry(\"m[style:menu{'a':0.5;'b':3}]\", 3, 0, 3, 0.1);")
    assert [sound(engine, {"m": k}, 1)[0] for k in (0.0, 1.0)] == [0.5, 3.0]
    assert engine.controls()[0].default == 1.0


# -- its controls


@interpreted
def test_ranges_have_every_digit_of_single_precision(program: Program) -> None:
    engine = program('process = hslider("f[unit:Hz]", 0.01, -0.001, 123456.78, 0.1);')
    (control,) = engine.controls()
    assert (control.min, control.max, control.default) == (-0.001, 123456.78, 0.01)


def test_hundreds_of_sliders_with_the_same_label(program: Program) -> None:
    engine = program(
        'process = par(i, 300, vgroup("part %3i", hslider("level[tooltip:of\none]", 0, 0, i + 1, '
        "0.1))) :> _;"
    )
    controls = {c.name: c for c in engine.controls()}
    assert len(controls) == 300
    highest = next(c for c in controls.values() if c.max == 300)
    assert sound(engine, {highest.name: 300.0}, 1).tolist() == [300.0]


def test_a_program_imports_what_lies_beside_it(program: Program, tmp_path: Path) -> None:
    (tmp_path / "mine.lib").write_text("half = 0.5;")
    assert sound(program('import("mine.lib"); process = half;'), {}, 1).tolist() == [0.5]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("process = foo;", "Faust says: my:1 : ERROR : undefined symbol : foo"),
        ("process = _ : +;", "The number of outputs [1] of A must be equal to the number"),
        ("", "which is empty; expected a Faust program"),
        ('import("nowhere.lib"); process = 1;', "unable to open file nowhere.lib"),
        ('process = 0, 0 : soundfile("a", 2) : !, !, _, _;', "plays sound files"),
        ("process = nentry(\"m[style:menu{'a':5}]\", 0, 0, 1, 1);", "sends 5 for 'a'"),
    ],
)
def test_what_is_no_program_is_refused_in_fausts_words(
    program: Program, text: str, says: str
) -> None:
    with pytest.raises(EngineError) as refused:
        program(text)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.dsp").write_bytes(b"\xff\xfe")
    for name in ("a.dsp", "b.dsp"):
        with pytest.raises(EngineError, match="expected a Faust program"):
            FaustEngine(sample_rate_hz=RATE_HZ, dsp=str(tmp_path / name))


# -- against the program in C++


@interpreted
@pytest.mark.skipif(not (shutil.which("faust") and shutil.which("g++")), reason="needs both")
@pytest.mark.parametrize(
    "name", ["fm", *(pytest.param(name, marks=pytest.mark.slow) for name in ("voice", "string"))]
)
def test_sounds_are_those_of_the_program_in_cpp(name: str, tmp_path: Path) -> None:
    frame = Path(__file__).with_name("faust_program.cpp")
    source, binary = tmp_path / "program.cpp", tmp_path / "program"
    subprocess.run(
        ["faust", "-a", str(frame), str(EXAMPLES / f"{name}.dsp"), "-o", str(source)], check=True
    )
    subprocess.run(["g++", "-O1", "-o", str(binary), str(source)], check=True)
    engine = shipped(name, note={"hold_s": 0.8})
    menus = {s.control.name: s.values for s in engine._slots.values() if s.values}
    for values in drawn(list(engine.controls()), 20):
        sent = {k: menus[k][round(v)] if k in menus else v for k, v in values.items()}
        words = [f"{key}={value!r}" for key, value in sent.items()]
        done = subprocess.run(
            [str(binary), *map(str, (RATE_HZ, 6400, RATE_HZ)), *words],
            capture_output=True, check=True,
        )  # fmt: skip
        expected = np.frombuffer(done.stdout, np.float32)
        np.testing.assert_allclose(sound(engine, values), expected, rtol=0, atol=1e-6)
