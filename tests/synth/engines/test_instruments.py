"""The engines that are installed here, each with two settings in two orders."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from src.checkpoint import load_model, read_checkpoint
from src.evaluation.prediction.predictor import Predictor
from src.synth.engines import worker as room
from src.synth.engines.engine import EngineSpec
from src.synth.engines.programs import program_digest
from src.synth.engines.worker import EngineWorker
from src.synth.generate import generate_dataset
from src.synth.recipe import Recipe
from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata
from tests.hostile.attacks import honest, put, write
from tests.synth.conftest import MakeRecipe

Settings = dict[str, tuple[float, float]]
BUNDLE = Path("/usr/lib/lv2/mda.lv2")
ROOM = "src.synth.engines"
RATE_HZ = 16000


def needs(package: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"the package {package} is not installed")


needs_mda = pytest.mark.skipif(not BUNDLE.is_dir(), reason="Debian's mda-lv2 is not installed")
DEXED = pytest.param(
    EngineSpec(f"{ROOM}.dexed_engine.DexedEngine", {"sample_rate_hz": RATE_HZ}),
    {"algorithm": (0.0, 4.0), "feedback": (7.0, 2.0), "op2_output_level": (80.0, 60.0)},
    False,
    id="dexed",
    marks=needs("dexed"),
)
PIANO = pytest.param(
    EngineSpec(
        f"{ROOM}.plugin_engine.PluginEngine",
        {"sample_rate_hz": RATE_HZ, "plugin": str(BUNDLE), "name": "EPiano"},
    ),
    {"hardness": (0.9, 0.1), "treble_boost": (0.2, 0.8), "polyphonic": (0.0, 1.0)},
    True,  # its reset leaves something of the last note
    id="lv2",
    marks=[needs("minihost"), needs_mda],
)


@pytest.fixture
def workers() -> Iterator[list[EngineWorker]]:
    started: list[EngineWorker] = []
    yield started
    for worker in started:
        worker.close()


@pytest.mark.parametrize(("spec", "settings", "fresh"), [DEXED, PIANO])
def test_two_settings_in_two_orders_and_processes_have_the_same_bits(
    workers: list[EngineWorker], spec: EngineSpec, settings: Settings, fresh: bool
) -> None:
    names, rows = list(settings), np.array(list(settings.values())).T
    workers += [EngineWorker(spec, 20.0), EngineWorker(spec, 20.0)]
    first, lost = workers[0].render(names, rows, 3000, fresh)
    again, _ = workers[0].render(names, rows[::-1], 3000, fresh)
    elsewhere, _ = workers[1].render(names, rows[::-1], 3000, fresh)
    beginning, _ = workers[1].render(names, rows, 1500, fresh)
    assert not lost
    assert np.abs(first).max() > 0.01
    assert np.abs(first[0] - first[1]).max() > 0.001
    assert np.array_equal(first, again[::-1])
    assert np.array_equal(first, elsewhere[::-1])
    assert np.array_equal(first[:, :1500], beginning)


@pytest.mark.parametrize(("spec", "settings", "fresh"), [DEXED, PIANO])
def test_every_control_can_be_set_to_both_its_ends(
    workers: list[EngineWorker], spec: EngineSpec, settings: Settings, fresh: bool
) -> None:
    worker = EngineWorker(spec, 20.0)
    workers.append(worker)
    controls = worker.describe().controls
    assert all(c.min <= c.default <= c.max for c in controls if c.default is not None)
    assert all(c.max == len(c.class_names) - 1 for c in controls if c.class_names)
    rows = np.array([[c.min for c in controls], [c.max for c in controls]])
    _, lost = worker.render([c.name for c in controls], rows, 500, fresh)
    assert not lost


@needs("dexed")
def test_the_dx7_has_32_algorithms_as_classes(make_recipe: MakeRecipe) -> None:
    recipe = Recipe.from_mapping(make_recipe("dexed")).completed()
    algorithm = recipe.synthesizer.parameters["algorithm"]
    assert algorithm.is_categorical
    assert algorithm.class_names == tuple(str(k) for k in range(1, 33))


@needs("vita")
@pytest.mark.slow  # a new engine for each sound takes a while
@pytest.mark.parametrize(("phase", "varies"), [(1.0, True), (0.0, False)])
def test_vitals_variation_is_in_the_metadata(
    make_recipe: MakeRecipe, phase: float, varies: bool
) -> None:
    recipe = make_recipe("vital", "dataset.size=4", "duration=0.5")
    recipe["synth"]["fixed"]["osc_1_random_phase"] = phase
    folder = generate_dataset(recipe, progress=False).dataset_dir
    audit = Metadata.load(folder).recipe["synth"]["audit"]
    if varies:
        assert -20 < audit["variation_db"] < 10
        assert audit["spectrum_db"] > 0
    else:
        assert audit["fresh"]
        assert audit["variation_db"] is None


@needs("minihost")
@needs_mda
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("EPiana", r"synth\.name is EPiana; .*mda\.lv2 has .*EPiano"),
        ("Delay", r"Delay: takes no notes; expected an instrument"),
    ],
)
def test_a_plug_in_that_plays_nothing_is_refused(
    workers: list[EngineWorker], name: str, message: str
) -> None:
    given = {"sample_rate_hz": RATE_HZ, "plugin": str(BUNDLE), "name": name}
    worker = EngineWorker(EngineSpec(f"{ROOM}.plugin_engine.PluginEngine", given), 20.0)
    with pytest.raises(VIMHError, match=message):
        worker.describe()


@needs("minihost")
@needs_mda
@pytest.mark.slow  # an engine for each sound
def test_a_plug_in_that_carries_over_gets_a_fresh_one(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("dexed", "dataset.size=4", "duration=0.5")
    recipe["synth"] = {
        "_target_": f"{ROOM}.plugin.PluginSynth",
        "plugin": str(BUNDLE),
        "name": "JX10",
        "parameters": {"osc_mix": {}, "vcf_freq": {}},
    }
    folder = generate_dataset(recipe, progress=False).dataset_dir
    audit = Metadata.load(folder).recipe["synth"]["audit"]
    assert audit["fresh"]
    assert audit["variation_db"] is None


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
@pytest.mark.parametrize("target", ["plugin.PluginSynth", "vital.VitalSynth"])
def test_nothing_that_a_checkpoint_names_is_loaded(
    suffix: str, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = tmp_path / "evil.so"
    evil.write_bytes(b"code")
    monkeypatch.setattr(room, "_Process", lambda start: pytest.fail("an engine was started"))
    synth = {
        "_target_": f"{ROOM}.{target}",
        "parameters": {"note_velocity": {"min": 0, "max": 1}, "plugin": {"min": 0, "max": 1}},
        "plugin": str(evil),
        "engine": {"name": "plugin", "version": "1", "sha256": program_digest(evil)},
        "trusted_programs": [str(evil)],
    }
    content = put(honest(whole=False), "avix.metadata.recipe.synth", synth)
    read = read_checkpoint(write(content, tmp_path / f"a{suffix}"))
    predictor = Predictor(load_model(read), read.metadata)
    with pytest.raises(VIMHError, match=r"extras\.trusted_programs=|is unknown"):
        _ = predictor.synthesizer
