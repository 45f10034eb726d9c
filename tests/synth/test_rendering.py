"""An instance for each thread, and sounds that are only their own."""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from src.synth.generate import generate_dataset
from src.synth.recipe import Recipe
from src.synth.rendering import Renderer
from src.synth.resynthesis import resynthesise
from src.synth.samples import SampleMaker
from src.synth.synthesizers import Synthesizer
from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata
from src.vimh.records import open_dataset
from tests.synth.conftest import MakeRecipe

FREQUENCY = {"frequency": {"min": 100, "max": 3000, "step": 100}}


class Tone(Synthesizer):
    """A decaying tone; subclasses spoil it."""

    synth_type = "tone"
    parameter_names: ClassVar[tuple[str, ...]] = ("frequency",)

    def render(
        self, values: Mapping[str, np.ndarray], num_samples: int | None = None
    ) -> np.ndarray:
        t = np.arange(num_samples or self.num_samples) / self.sample_rate_hz
        tones = np.sin(2 * np.pi * values["frequency"][:, None] * t) * np.exp(-t / 0.1)
        return tones.astype(np.float32)


class Stateful(Tone):
    """Keeps the values that it is rendering in itself, as many a synthesiser does."""

    # The instances themselves: the number of one that is gone may be another's.
    threads: ClassVar[set[tuple["Stateful", int]]] = set()

    def render(
        self, values: Mapping[str, np.ndarray], num_samples: int | None = None
    ) -> np.ndarray:
        self.frequency = values["frequency"]
        time.sleep(0.002)  # another thread comes in between
        self.threads.add((self, threading.get_ident()))
        return super().render({"frequency": self.frequency}, num_samples)


class Carrying(Tone):
    """A filter whose memory is not cleared between sounds."""

    last = 0.0

    def render(
        self, values: Mapping[str, np.ndarray], num_samples: int | None = None
    ) -> np.ndarray:
        audio = super().render(values, num_samples)
        for row in audio:
            row[:3] += np.float32(self.last)
            self.last = float(np.abs(row).max())
        return audio


class FirstCache(Tone):
    """Takes the first sound's frequency for all."""

    first: float | None = None

    def render(
        self, values: Mapping[str, np.ndarray], num_samples: int | None = None
    ) -> np.ndarray:
        self.first = float(values["frequency"][0]) if self.first is None else self.first
        column = np.full_like(values["frequency"], self.first)
        return super().render({"frequency": column}, num_samples)


class Unseeded(Tone):
    def render(
        self, values: Mapping[str, np.ndarray], num_samples: int | None = None
    ) -> np.ndarray:
        audio = super().render(values, num_samples)
        noise = np.random.default_rng().normal(0, 0.01, audio.shape)
        return (audio + noise).astype(np.float32)


class Neighbours(Tone):
    def render(
        self, values: Mapping[str, np.ndarray], num_samples: int | None = None
    ) -> np.ndarray:
        audio = super().render(values, num_samples)
        return audio / np.abs(audio).max()  # of the batch, not of the sound


class FadeOut(Tone):
    """What is asked for fades out at its end, wherever that is."""

    def render(
        self, values: Mapping[str, np.ndarray], num_samples: int | None = None
    ) -> np.ndarray:
        audio = super().render(values, num_samples)
        audio[:, -100:] *= np.linspace(1, 0, 100, dtype=np.float32)
        return audio


class LateTrouble(Tone):
    """Goes wrong after its 300th sound, and for a few of them only."""

    count = 0

    def render(
        self, values: Mapping[str, np.ndarray], num_samples: int | None = None
    ) -> np.ndarray:
        audio = super().render(values, num_samples)
        self.count += len(audio)
        if self.count > 300:
            audio *= np.float32(0.9)
        return audio


class Broken(Tone):
    """Not finite, or of another form, above 2500 Hz."""

    broken: ClassVar[Callable[[np.ndarray], Any]]

    def render(
        self, values: Mapping[str, np.ndarray], num_samples: int | None = None
    ) -> np.ndarray:
        audio = super().render(values, num_samples)
        for row in np.flatnonzero(values["frequency"] > 2500):
            audio[row] = type(self).broken(audio[row])
        return audio


class Keeping(Tone):
    """Gives out the array that it keeps, and changes what it gets."""

    sounds: np.ndarray

    def render(
        self, values: Mapping[str, np.ndarray], num_samples: int | None = None
    ) -> np.ndarray:
        if "sounds" not in vars(self):
            grid = np.arange(100.0, 3001.0, 100.0)
            self.sounds = super().render({"frequency": grid}, num_samples)
        values["frequency"][:] = np.round(values["frequency"] / 100) - 1
        if len(values["frequency"]) == len(self.sounds):
            return self.sounds
        return self.sounds[values["frequency"].astype(int), :num_samples]


def tone_recipe(make_recipe: MakeRecipe, cls: type[Synthesizer], *overrides: str) -> dict[str, Any]:
    recipe = make_recipe("simple", "dataset.name=null", *overrides)
    recipe["synth"] = {"_target_": f"{cls.__module__}.{cls.__name__}", "parameters": FREQUENCY}
    return recipe


def loudest_hz(images: np.ndarray) -> np.ndarray:
    return (images[:, 0, :, 0].argmax(axis=1) + 1) * 100.0


@pytest.mark.parametrize("overrides", [(), ("generate.scale=dataset",)])
def test_a_synthesiser_with_state_has_a_thread_to_itself(
    make_recipe: MakeRecipe, overrides: tuple[str, ...]
) -> None:
    Stateful.threads.clear()
    recipe = tone_recipe(make_recipe, Stateful, "dataset.size=600", *overrides)
    recipe["generate"] |= {"threads": 4, "chunk_size": 8}
    directory = generate_dataset(recipe, progress=False).dataset_dir
    opened = open_dataset(directory)
    frequency = opened.metadata.parameters["frequency"].dequantise(opened.train.labels[:, 0])
    assert (np.abs(loudest_hz(opened.train.images) - frequency) <= 60).all()
    instances = [instance for instance, _ in Stateful.threads]
    assert len(Stateful.threads) > 4
    assert len(instances) == len(set(instances))


def test_the_instance_of_a_thread_is_built_once() -> None:
    built: list[Tone] = []

    def build() -> Tone:
        built.append(Tone(FREQUENCY, sample_rate_hz=8000, duration_s=0.1))
        return built[-1]

    renderer = Renderer(build)
    for _ in range(5):
        renderer({"frequency": np.array([100.0, 200.0])}, 300)
    assert len(built) == 2  # its own, and the fresh one of the first comparison


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("cls", [Carrying, FirstCache, Unseeded, Neighbours, FadeOut])
def test_a_sound_that_depends_on_more_than_its_parameters_is_refused(
    make_recipe: MakeRecipe, cls: type[Synthesizer], threads: int
) -> None:
    recipe = tone_recipe(make_recipe, cls, "dataset.size=40")
    recipe["generate"] |= {"threads": threads, "chunk_size": 10}
    message = rf"{cls.__name__}.render gave another sound .* frequency=\d.*parameters alone"
    with pytest.raises(VIMHError, match=message):
        generate_dataset(recipe, progress=False)
    assert not list(Path(recipe["generate"]["output_dir"]).rglob("train"))


def test_later_batches_are_looked_at_too(make_recipe: MakeRecipe) -> None:
    recipe = tone_recipe(make_recipe, LateTrouble, "dataset.size=2000")
    recipe["generate"] |= {"threads": 1, "chunk_size": 50}
    with pytest.raises(VIMHError, match=r"gave another sound .*frequency="):
        generate_dataset(recipe, progress=False)


def test_few_sounds_are_rendered_twice() -> None:
    rendered = 0

    class Counting(Tone):
        def render(
            self, values: Mapping[str, np.ndarray], num_samples: int | None = None
        ) -> np.ndarray:
            nonlocal rendered
            rendered += len(values["frequency"])
            return super().render(values, num_samples)

    renderer = Renderer(lambda: Counting(FREQUENCY, sample_rate_hz=8000, duration_s=0.1))
    for count, calls in ((1, 4096), (2048, 4)):
        rendered = 0
        for _ in range(calls):
            renderer({"frequency": np.full(count, 500.0)}, 20)
        assert 0 < rendered - count * calls <= count * calls // 100


@pytest.mark.parametrize("scale", ["sample", "dataset"])
@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda row: np.where(np.arange(len(row)) == 7, np.nan, row), "nan at sample 7 of a sound"),
        (lambda row: np.where(np.arange(len(row)) == 9, np.inf, row), "inf at sample 9 of a sound"),
        (lambda row: row * np.float32(3e38), "too loud to transform, up to"),
    ],
)
def test_a_sound_that_is_not_finite_names_its_parameters(
    make_recipe: MakeRecipe,
    monkeypatch: pytest.MonkeyPatch,
    broken: Callable[[np.ndarray], np.ndarray],
    message: str,
    scale: str,
) -> None:
    monkeypatch.setattr(Broken, "broken", staticmethod(broken), raising=False)
    recipe = tone_recipe(make_recipe, Broken, "dataset.size=60", f"generate.scale={scale}")
    with pytest.raises(
        VIMHError, match=rf"Broken.render returned .*{message}.* for frequency=2[5-9]\d\d.*finite"
    ):
        generate_dataset(recipe, progress=False)
    assert not list(Path(recipe["generate"]["output_dir"]).rglob("train"))


def test_wavs_and_resynthesis_refuse_what_is_not_finite(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(row: np.ndarray) -> np.ndarray:  # after all that the image shows
        return np.where(np.arange(len(row)) == 7000, np.nan, row)

    monkeypatch.setattr(Broken, "broken", staticmethod(broken), raising=False)
    recipe = tone_recipe(make_recipe, Broken, "dataset.size=60", "generate.wav=60")
    with pytest.raises(VIMHError, match=r"nan at sample 7000 of a sound for frequency=2[5-9]\d\d"):
        generate_dataset(recipe, progress=False)
    synthesizer = Broken(FREQUENCY, sample_rate_hz=8000, duration_s=1.0)
    assert np.isfinite(resynthesise(synthesizer, {"frequency": [100.0]})).all()
    with pytest.raises(VIMHError, match=r"nan at sample 7000 of a sound for frequency=3000"):
        resynthesise(synthesizer, {"frequency": [100.0, 3000.0]})


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda audio: audio.astype(np.float64), r"float64 of shape \(\d+, \d+\)"),
        (lambda audio: audio[0], r"float32 of shape \(\d+,\)"),
        (lambda audio: audio[:, :-1], r"float32 of shape \(\d+, \d+\)"),
        (lambda audio: audio[1:], r"float32 of shape \(\d+, \d+\)"),
        (lambda audio: audio.tolist(), "found list"),
        (lambda audio: None, "found NoneType"),
    ],
)
def test_what_has_another_form_names_the_first_parameters(
    make_recipe: MakeRecipe,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[np.ndarray], Any],
    found: str,
) -> None:
    plain = Tone.render

    def render(self: Tone, values: Mapping[str, np.ndarray], length: int | None = None) -> Any:
        return change(plain(self, values, length))

    monkeypatch.setattr(Tone, "render", render)
    message = rf"Tone.render must return .*float32 of shape .*{found}.*frequency=\d+"
    with pytest.raises(VIMHError, match=message):
        generate_dataset(tone_recipe(make_recipe, Tone, "dataset.size=20"), progress=False)
    synthesizer = Tone(FREQUENCY, sample_rate_hz=8000, duration_s=1.0)
    with pytest.raises(VIMHError, match=message):
        resynthesise(synthesizer, {"frequency": [100.0, 3000.0]})


def test_neither_labels_nor_noise_reach_what_a_synthesiser_keeps(make_recipe: MakeRecipe) -> None:
    noise = {"noise": {"snr_min_db": 60.0, "snr_max_db": 60.0}}
    recipes = [
        tone_recipe(make_recipe, cls, "avix=true") | noise | {"shuffle": False}
        for cls in (Tone, Keeping)
    ]
    plain, kept = (SampleMaker(Recipe.from_mapping(recipe)) for recipe in recipes)
    for _ in range(3):  # noise that was added in place would add up
        own, other = plain(np.arange(30)), kept(np.arange(30))
        np.testing.assert_array_equal(own.images, other.images)
        np.testing.assert_array_equal(own.labels, other.labels)


class Shapes(Synthesizer):
    """A sine or a square, at one of three places."""

    synth_type = "shapes"
    parameter_names: ClassVar[tuple[str, ...]] = ("shape", "pitch", "place")
    asked: ClassVar[dict[str, set[float]]] = {}

    def render(
        self, values: Mapping[str, np.ndarray], num_samples: int | None = None
    ) -> np.ndarray:
        for name, column in values.items():
            self.asked.setdefault(name, set()).update(column.tolist())
        t = np.arange(num_samples or self.num_samples) / self.sample_rate_hz
        tone = np.sin(2 * np.pi * values["pitch"][:, None] * t)
        square = (values["shape"][:, None] == 1).astype(float)
        return ((1 - square) * tone + square * np.sign(tone)).astype(np.float32)


@pytest.mark.parametrize("avix", [True, False])
@pytest.mark.parametrize("ends", [(0, 1), (0, 2), (0, 255), (1, 3), (-1.0, 1.0)])
def test_categories_are_rendered_by_their_index(
    make_recipe: MakeRecipe, ends: tuple[float, float], avix: bool
) -> None:
    Shapes.asked.clear()
    low, high = ends
    recipe = make_recipe("simple", "dataset.name=null", "dataset.size=60", f"avix={avix}")
    names = ["sine", "square", "triangle"]
    recipe["synth"] = {
        "_target_": f"{Shapes.__module__}.Shapes",
        "parameters": {
            "shape": {"min": low, "max": high, "kind": "categorical", "class_names": names},
            "pitch": {"min": 200, "max": 2000, "step": 200},
            "place": {"min": 2, "max": 2, "kind": "categorical", "class_names": names},
        },
    }
    directory = generate_dataset(recipe, progress=False).dataset_dir
    assert Shapes.asked["shape"] == {0.0, 1.0, 2.0}
    assert Shapes.asked["place"] == {2.0}
    opened = open_dataset(directory, check="full")
    shape = opened.metadata.parameters["shape"]
    labels = np.concatenate([opened.train.labels, opened.test.labels])
    assert set(labels[:, 0].tolist()) == {0, 1, 2}
    assert shape.dequantise(labels[:, 0]).tolist() == labels[:, 0].tolist()
    # Anybody's reader decodes min + q/255 (max - min).
    written = Metadata.load(directory).raw["parameter_mappings"]["shape"]
    assert (written["min"], written["max"]) == (0.0, 255.0)
    if avix:
        assert len({tuple(row) for row in labels.tolist()}) == len(labels) == 30
    Shapes.asked.clear()
    synthesizer = Recipe.from_mapping(recipe).build_synthesizer()
    resynthesise(synthesizer, {"shape": [0, 1, 2, 7], "pitch": [200.0] * 4})
    assert Shapes.asked["shape"] == {0.0, 1.0, 2.0}


def test_a_fixed_category_has_to_be_there(make_recipe: MakeRecipe) -> None:
    fixed = {"min": 3, "max": 3, "kind": "categorical", "class_names": ["a", "b", "c"]}
    with pytest.raises(
        VIMHError, match=r"synth.parameters.place.min is 3.0; min must be a class, 0 to 2"
    ):
        Shapes(
            {"shape": fixed | {"min": 0}, "pitch": {"min": 1, "max": 1}, "place": fixed},
            sample_rate_hz=8000,
            duration_s=1.0,
        )


@pytest.mark.parametrize("scale", ["log", "Linear", "logarithmic", ""])
def test_a_scale_that_generating_would_not_follow_is_refused(
    make_recipe: MakeRecipe, scale: str
) -> None:
    recipe = tone_recipe(make_recipe, Tone, "dataset.size=20")
    recipe["synth"]["parameters"] = {"frequency": {**FREQUENCY["frequency"], "scale": scale}}
    with pytest.raises(VIMHError, match=rf"synth.parameters.frequency.scale is '{scale}'.*linear"):
        generate_dataset(recipe, progress=False)
    recipe["synth"]["parameters"] = {"frequency": {**FREQUENCY["frequency"], "spacing": scale}}
    if scale != "log":
        with pytest.raises(
            VIMHError, match=r"frequency\.spacing is .*; expected one of linear, log"
        ):
            generate_dataset(recipe, progress=False)


def test_a_linear_scale_is_what_is_made_and_an_old_set_with_another_one_is_read(
    make_recipe: MakeRecipe,
) -> None:
    recipe = tone_recipe(make_recipe, Tone, "dataset.size=20")
    recipe["synth"]["parameters"] = {"frequency": {**FREQUENCY["frequency"], "scale": "linear"}}
    directory = generate_dataset(recipe, progress=False).dataset_dir
    info = directory / "vimh_dataset_info.json"
    info.write_text(info.read_text().replace('"linear"', '"log"'))
    metadata = open_dataset(directory).metadata
    assert metadata.parameters["frequency"].scale == "log"
    assert Recipe.from_mapping(metadata.recipe or {}).build_synthesizer().synth_type == "tone"
