"""What a front end says of its images, and front ends of other classes, named by `_target_`."""

import json
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtyping import Float32, Float64

from src.evaluation.presentation.image_axes import ImageAxes
from src.synth.errors import RecipeError
from src.synth.front_end import FrontEnd
from src.synth.generate import dataset_name, generate_dataset
from src.synth.recipe import Recipe
from src.synth.settings import axes_of, build_front_end, front_end_of
from src.synth.spectrogram import Mel, Stft, mel_filters
from src.vimh.errors import VIMHError
from src.vimh.metadata import METADATA_FILE, Metadata
from tests.synth.conftest import MakeRecipe

TARGET = f"{__name__}.Levels"
IMAGE: dict[str, Any] = {"sample_rate_hz": 8000, "height": 4, "width": 5}


@dataclass(frozen=True)
class Levels(FrontEnd):
    """The level of the sound in every row, column by column."""

    _: KW_ONLY
    hop_length: int
    octaves: float = 1.0

    @property
    def row_hz(self) -> Float64[np.ndarray, "H"]:
        return 100.0 * 2.0 ** (self.octaves * np.arange(self.height))

    @property
    def hop_s(self) -> float:
        return self.hop_length / self.sample_rate_hz

    @property
    def num_samples(self) -> int:
        return self.width * self.hop_length

    def check(self) -> None:
        if self.octaves <= 0:
            raise VIMHError(f"stft.octaves is {self.octaves}; expected more than 0")

    def __call__(self, audio: Float32[np.ndarray, "B T"]) -> Float32[np.ndarray, "B H W"]:
        self.check_length(audio.shape[1])
        framed = self.emphasised(audio).reshape(len(audio), self.width, self.hop_length)
        level_db = 20.0 * np.log10(np.abs(framed).max(axis=2) + 1e-6)
        rows = np.arange(self.height, dtype=np.float32)[:, None]
        return (level_db[:, None] - rows).astype(np.float32)


def with_levels(recipe: dict[str, Any], **changes: Any) -> dict[str, Any]:
    recipe["stft"] = {"_target_": TARGET, "hop_length": 80, **changes}
    return recipe


def test_rows_frames_and_the_shortest_sound_of_an_stft() -> None:
    s = Stft(8000, height=4, width=5, n_fft=160, n_window=100, hop_length=40)
    assert s.row_hz.tolist() == [50.0, 100.0, 150.0, 200.0]
    np.testing.assert_allclose(s.frame_s, [0.0, 0.005, 0.01, 0.015, 0.02])
    assert s.num_samples == 4 * 40 + 100
    tone = np.sin(2 * np.pi * s.row_hz[2] * np.arange(8000) / 8000).astype(np.float32)
    assert Stft(8000, 8, 5, n_fft=160, n_window=160)(tone[None])[0, :, 0].argmax() == 2


def test_rows_of_mel_filters_are_their_peaks() -> None:
    s = Mel(8000, 16, 8, n_fft=4096, n_window=128, hop_length=32)
    peaks_hz = mel_filters(16, 4096, 8000, 40.0, 3600.0).argmax(axis=1) * 8000 / 4096
    np.testing.assert_allclose(s.row_hz, peaks_hz, atol=8000 / 4096)


def test_a_class_of_ones_own_makes_data_sets(make_recipe: MakeRecipe) -> None:
    recipe = with_levels(make_recipe("simple", "dataset.size=4"), octaves=0.1)
    report = generate_dataset(recipe, progress=False)
    metadata = Metadata.load(report.dataset_dir)
    config = {"_target_": TARGET, "sample_rate": 8000, "floor_db": -200.0}
    assert metadata.spectrogram_config == {**config, "hop_length": 80, "octaves": 0.1}
    assert metadata.hop_s == 0.01
    checked = Recipe.from_mapping(metadata.recipe or {})
    assert checked.digest() == metadata.raw["recipe_hash"] == Recipe.from_mapping(recipe).digest()
    assert isinstance(checked.image_maker.front_end, Levels)
    assert not generate_dataset(recipe, progress=False).made
    with pytest.raises(VIMHError, match=r"another recipe \(stft: found"):
        generate_dataset(with_levels(recipe, octaves=0.2), progress=False)


def test_what_a_file_names_is_not_imported(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe("simple", "dataset.size=4")
    directory = generate_dataset(recipe, progress=False).dataset_dir
    raw = json.loads((directory / METADATA_FILE).read_text())
    config = {"_target_": TARGET, "hop_length": 80}
    metadata = Metadata.from_json({**raw, "spectrogram_config": config})
    with pytest.raises(VIMHError, match=r"_target_ is '.*Levels', which was not"):
        front_end_of(metadata)
    assert axes_of(metadata) is None
    assert not ImageAxes(metadata).is_sound
    raw["recipe"]["stft"] = {"_target_": "nowhere.at.All"}
    (directory / METADATA_FILE).write_text(json.dumps({**raw, "recipe_hash": "another"}))
    with pytest.raises(VIMHError, match=r"stft\._target_: found nowhere\.at\.All, expected None"):
        generate_dataset(recipe, progress=False)


def test_a_class_of_the_project_is_read_from_a_file(make_recipe: MakeRecipe) -> None:
    by_type = Recipe.from_mapping(make_recipe("simple", "stft.type=mel", "stft.n_fft=1024"))
    recipe = make_recipe("simple", "dataset.size=4")
    recipe["stft"] = {"_target_": "src.synth.spectrogram.Mel", "n_fft": 1024}
    by_class = Recipe.from_mapping(recipe)
    assert by_class.image_maker == by_type.image_maker
    metadata = Metadata.load(generate_dataset(recipe, progress=False).dataset_dir)
    assert metadata.spectrogram_config["type"] == "mel"
    assert front_end_of(metadata) == by_type.image_maker.front_end
    np.testing.assert_array_equal(axes_of(metadata).row_hz, by_type.image_maker.front_end.row_hz)


@pytest.mark.parametrize(
    ("stft", "message"),
    [
        ({"hop_length": 80, "octaves": 0}, "stft.octaves is 0.0; expected more than 0"),
        ({"hop_length": "a"}, "stft.hop_length is 'a'; expected a whole number"),
        ({"hop_length": 80, "hop": 1}, "stft.hop is unknown"),
        ({}, "stft.hop_length is missing"),
        ({"hop_length": 80, "width": 5}, "stft.width is not read"),
        ({"_target_": "Levels"}, "stft._target_ is 'Levels'; expected the import path"),
        ({"_target_": 5}, "stft._target_ is 5; expected the import path"),
        ({"_target_": "src.synth.front_end.FrontEnd"}, "stft._target_ is .*, not a subclass"),
        ({"_target_": "nowhere.at.All"}, "stft._target_ is 'nowhere.at.All': No module"),
    ],
)
def test_wrong_classes_and_settings(stft: dict[str, Any], message: str) -> None:
    with pytest.raises(VIMHError, match=f"^{message}"):
        build_front_end({"_target_": TARGET, **stft}, {}, **IMAGE)


def test_a_recipe_is_refused_where_the_sound_is_too_short(make_recipe: MakeRecipe) -> None:
    recipe = with_levels(make_recipe("simple"), hop_length=1000)
    with pytest.raises(RecipeError, match=r"8000 samples gives 8 frames, the image needs 32"):
        dataset_name(recipe)
