import copy
import hashlib
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile

from benchmarks.reference_generator import reference_records
from src.synth.generate import GenerationReport, generate_dataset
from src.synth.images import ImageMaker
from src.synth.recipe import Recipe
from src.synth.samples import SampleMaker
from src.synth.settings import front_end_of
from src.synth.synthesizers import Synthesizer
from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata
from src.vimh.records import Records, check_dataset, open_dataset
from src.vimh.writer import recipe_hash
from tests.synth.conftest import MakeRecipe

ENVELOPES = ("temporal_envelope=true", "spectral_envelope=true", "normalize=true")


def make(recipe: Mapping[str, Any], **arguments: Any) -> GenerationReport:
    return generate_dataset(recipe, progress=False, **arguments)


def changed(recipe: dict[str, Any], **generate: Any) -> dict[str, Any]:
    other = copy.deepcopy(recipe)
    other["generate"].update(generate)
    return other


def digests(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def arrays(directory: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, labels and scale factors of train, then test."""
    opened = open_dataset(directory)
    files = (opened.train, opened.test)
    return (
        np.concatenate([f.images for f in files]),
        np.concatenate([f.labels for f in files]),
        np.concatenate([f.scale_factors for f in files]),
    )


@pytest.mark.parametrize(
    ("name", "count", "share"),
    [("simple", 400, 1e-4), ("simple_wide", 400, 1e-4), ("simple_3p", 60, 1e-3)],
)
def test_pixels_are_those_of_the_plain_float64_loop(
    make_recipe: MakeRecipe, name: str, count: int, share: float
) -> None:
    recipe = make_recipe(name, f"dataset.size={count}")
    images, labels, scale_factors = arrays(make(recipe).dataset_dir)
    shape = images.shape[1:]
    dtype = np.dtype(
        [
            ("head", "V6"),
            ("scale", "<f4", 2),
            ("n", "u1"),
            ("labels", "u1", (labels.shape[1], 2)),
            ("pixels", "u1", shape),
        ]
    )
    expected = np.frombuffer(b"".join(reference_records(recipe, count)), dtype)
    difference = np.abs(images.astype(int) - expected["pixels"])
    assert difference.max() <= 1
    assert (difference > 0).mean() <= share
    np.testing.assert_array_equal(labels, expected["labels"][:, :, 1])
    np.testing.assert_allclose(scale_factors, expected["scale"], rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        pytest.param("simple", ("shuffle=true", *ENVELOPES), marks=pytest.mark.slow),
        pytest.param(
            "simple",
            ("generate.scale=dataset", "stft.type=mel", "stft.n_fft=512"),
            marks=pytest.mark.slow,
        ),
        ("simple_noisy", ("image.height=16", "image.width=16")),
    ],
)
def test_bytes_depend_on_no_chunk_size_and_no_thread(
    make_recipe: MakeRecipe, tmp_path: Path, name: str, overrides: tuple[str, ...]
) -> None:
    recipe = make_recipe(name, "dataset.size=700", "output_format=both", *overrides)
    made = []
    for i, (chunk_size, threads) in enumerate([(4096, 2), (1, 1), (64, 3), (333, 2)]):
        other = changed(recipe, chunk_size=chunk_size, threads=threads)
        other["generate"]["output_dir"] = str(tmp_path / str(i))
        made.append(digests(make(other).dataset_dir))
    assert all(files == made[0] for files in made)
    assert set(made[0]) == {
        "train", "test", "train_batch", "test_batch", "train_values", "test_values",
        "vimh_dataset_info.json",
    }  # fmt: skip


def test_sample_i_is_the_same_in_a_data_set_of_any_size(make_recipe: MakeRecipe) -> None:
    few = arrays(make(make_recipe("simple_noisy", "dataset.size=5")).dataset_dir)
    more = arrays(make(make_recipe("simple_noisy", "dataset.size=40")).dataset_dir)
    for a, b in zip(few, more, strict=True):
        np.testing.assert_array_equal(a, b[:5])


def test_the_grid_holds_every_combination_once_last_fastest(make_recipe: MakeRecipe) -> None:
    report = make(make_recipe("simple", "avix=true"))
    parameters = open_dataset(report.dataset_dir).metadata.parameters
    _, labels, _ = arrays(report.dataset_dir)
    classes = [
        p.class_table()[column] for p, column in zip(parameters.values(), labels.T, strict=True)
    ]
    expected = np.indices((3, 24)).reshape(2, 72)
    np.testing.assert_array_equal(classes, expected)


@pytest.mark.parametrize("overrides", [("avix=true",), ("dataset.size=333",)])
def test_a_shuffle_is_one_permutation_before_the_split(
    make_recipe: MakeRecipe, overrides: tuple[str, ...]
) -> None:
    plain = arrays(make(make_recipe("simple", *overrides)).dataset_dir)
    shuffled_recipe = make_recipe("simple", *overrides, "shuffle=true")
    shuffled = arrays(make(shuffled_recipe).dataset_dir)
    maker = SampleMaker(Recipe.from_mapping(shuffled_recipe))
    order = maker.indices(range(maker.num_samples))
    np.testing.assert_array_equal(np.sort(order), np.arange(maker.num_samples))
    assert (order != np.arange(maker.num_samples)).any()
    for a, b in zip(plain, shuffled, strict=True):
        np.testing.assert_array_equal(a[order], b)


@pytest.mark.parametrize(("size", "train"), [(2, 1), (3, 2), (72, 57), (100, 80), (333, 266)])
def test_the_first_four_fifths_train(make_recipe: MakeRecipe, size: int, train: int) -> None:
    report = make(make_recipe("simple", f"dataset.size={size}"))
    assert (report.train_samples, report.test_samples) == (train, size - train)
    opened = open_dataset(report.dataset_dir)
    assert (len(opened.train), len(opened.test)) == (train, size - train)


def test_random_values_fill_their_ranges(make_recipe: MakeRecipe) -> None:
    maker = SampleMaker(Recipe.from_mapping(make_recipe("simple_3p")))
    values = maker.values(np.arange(20000))
    for name, parameter in maker.synthesizer.parameters.items():
        quantiles = np.quantile(values[name], [0, 0.25, 0.5, 0.75, 1])
        expected = parameter.min + np.linspace(0, 1, 5) * parameter.range
        np.testing.assert_allclose(quantiles, expected, atol=0.02 * parameter.range)
    pitch, level = values["note_number"], values["note_velocity"]
    assert abs(np.corrcoef(pitch, level)[0, 1]) < 0.02


def test_a_data_set_from_the_same_recipe_is_left_alone(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("simple", "dataset.size=20", "output_format=both")
    first = make(recipe)
    before = {path: path.stat().st_mtime_ns for path in first.dataset_dir.iterdir()}
    assert first.made
    for again in (recipe, changed(recipe, chunk_size=3), {**recipe, "output_format": "binary"}):
        report = make(again)
        assert not report.made
        assert "left alone" in str(report)
        assert (report.train_samples, report.test_samples) == (16, 4)
    assert {path: path.stat().st_mtime_ns for path in first.dataset_dir.iterdir()} == before


def test_another_recipe_under_the_same_name_is_an_error_unless_overwritten(
    make_recipe: MakeRecipe,
) -> None:
    recipe = make_recipe("simple", "dataset.size=20")
    directory = make(recipe).dataset_dir
    before = digests(directory)
    other = {**recipe, "seed": 43}
    with pytest.raises(
        VIMHError, match=r"another recipe \(seed: found 42, expected 43\).*overwrite"
    ):
        make(other)
    with pytest.raises(VIMHError, match="output_format 'binary', asked for 'both'"):
        make({**recipe, "output_format": "both"})
    assert digests(directory) == before
    assert make({**other, "overwrite": True}).made
    assert digests(directory) != before
    assert make(recipe, overwrite=True).made
    assert digests(directory) == before


@pytest.mark.parametrize(
    ("name", "overrides", "labels"),
    [  # SHA-256 of all label bytes, as they were before there were exact values
        (
            "simple",
            ("avix=true", "shuffle=true"),
            "2a4657e9261b5f3c3e0a5525f31e09a32ae1e33db08f0fb3720463930533c570",
        ),
        (
            "resonator",
            ("dataset.size=100", "output_format=both"),
            "8d3cbe833e99c65dc2fa8b95e18486b357df15bc15b38692356be1fb8aebd6f2",
        ),
    ],
)
def test_exact_values_lie_beside_the_bytes_of_before(
    make_recipe: MakeRecipe, tmp_path: Path, name: str, overrides: tuple[str, ...], labels: str
) -> None:
    recipe = make_recipe(name, *overrides)
    old = changed(recipe, bytes_only=True, output_dir=str(tmp_path / "old"))
    exact, stored = (check_dataset(make(r).dataset_dir) for r in (recipe, old))
    info, before = exact.metadata.raw, stored.metadata.raw
    assert (info["version"], before["version"]) == ("2.2", "2.1")
    assert (
        hashlib.sha256(stored.train.labels.tobytes() + stored.test.labels.tobytes()).hexdigest()
        == labels
    )
    sums = {**before["checksums"]}
    sums |= {name: info["checksums"][name] for name in ("train_values", "test_values")}
    encoding = {**before["label_encoding"], "values": "float32"}
    # All other files and keys are the same, and a recipe's name and hash.
    assert info == {**before, "version": "2.2", "checksums": sums, "label_encoding": encoding}
    assert (stored.train.values, exact.train.groups) == (None, None)
    maker = SampleMaker(Recipe.from_mapping(recipe))
    drawn = maker.values(maker.indices(range(maker.num_samples)))
    columns = np.concatenate([exact.train.values, exact.test.values]).T
    for parameter, column in zip(exact.metadata.parameters.values(), columns, strict=True):
        np.testing.assert_array_equal(column, drawn[parameter.name].astype(np.float32))


def test_a_set_with_other_values_than_asked_for_is_kept_and_said(make_recipe: MakeRecipe) -> None:
    exact = make_recipe("simple", "dataset.size=20")
    stored = changed(exact, bytes_only=True)
    assert make(stored).note == ""
    report = make(exact)
    assert not report.made
    assert str(report).endswith(
        "it has no exact values, only bytes; overwrite=true makes it again with both"
    )
    report = make(exact, overwrite=True)
    assert (report.made, report.note) == (True, "")
    report = make(stored)
    assert not report.made
    assert "it has exact values as well; overwrite=true" in str(report)
    assert "the pickles hold each value to a byte" in str(
        make({**exact, "output_format": "both"}, overwrite=True)
    )


def test_a_range_that_float32_does_not_resolve(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("simple", "dataset.size=20")
    recipe["synth"]["parameters"]["note_velocity"] = {"min": 1e9, "max": 1e9 + 100, "step": 50}
    with pytest.raises(VIMHError, match=r"'note_velocity': float32 .*\(generate.bytes_only=true\)"):
        make(recipe)


def test_steps_finer_than_bytes_need_exact_values(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("simple", "dataset.size=20")
    recipe["synth"]["parameters"]["log10_decay_time"]["step"] = 0.0005  # 4600 of the range
    with pytest.raises(VIMHError, match=r"log10_decay_time.step is 0.0005; .* at least 0.018"):
        make(changed(recipe, bytes_only=True))
    train = check_dataset(make(recipe).dataset_dir).train
    decay = train.metadata.parameters["log10_decay_time"]
    exact, stored = (
        decay.class_of(v) for v in (train.values[:, 1], decay.dequantise(train.labels[:, 1]))
    )
    assert (exact != stored).mean() > 0.5
    assert decay.num_classes == 4601


def test_a_data_set_of_unknown_origin_is_not_taken_for_ours(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("simple", "dataset.size=20")
    info = make(recipe).dataset_dir / "vimh_dataset_info.json"
    info.write_text(info.read_text().replace('"recipe_hash"', '"recipe_hush"'))
    with pytest.raises(VIMHError, match="does not say from which recipe"):
        make(recipe)


def test_a_hash_of_all_of_the_recipe_is_no_other_recipe(make_recipe: MakeRecipe) -> None:
    """What the writer gives a set whose maker says nothing, and what older versions counted in."""
    recipe = make_recipe("simple", "dataset.size=20")
    directory = make(recipe).dataset_dir
    info = directory / "vimh_dataset_info.json"
    metadata = Metadata.load(directory)
    assert metadata.raw["recipe_hash"] == recipe_hash(Recipe.from_mapping(recipe).identity())
    whole = recipe_hash(metadata.recipe or {})
    info.write_text(info.read_text().replace(metadata.raw["recipe_hash"], whole))
    assert not make(recipe).made
    with pytest.raises(VIMHError, match=r"another recipe \(seed: found 42, expected 43\)"):
        make({**recipe, "seed": 43})


def test_an_interrupted_run_leaves_nothing(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = changed(make_recipe("simple", "dataset.size=3000"), chunk_size=64)
    values = SampleMaker.values

    def interrupted(self: SampleMaker, indices: np.ndarray) -> dict[str, np.ndarray]:
        if indices.max() > 1500:
            raise KeyboardInterrupt
        return values(self, indices)

    monkeypatch.setattr(SampleMaker, "values", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(recipe)
    assert not list(Path(recipe["generate"]["output_dir"]).rglob("*"))


def test_one_range_for_the_data_set_keeps_levels(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("simple_wide", "dataset.size=50", "generate.scale=dataset")
    directory = make(recipe).dataset_dir
    images, _, scale_factors = arrays(directory)
    assert (scale_factors == scale_factors[0]).all()
    assert images.min() == 0
    assert images.max() == 255
    maker = SampleMaker(Recipe.from_mapping(recipe))
    db = maker.image_maker.front_end(maker.audio(np.arange(50)))
    expected = np.round(255 * (db - db.min()) / (db.max() - db.min()))
    np.testing.assert_array_equal(images[:, 0], expected)


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("simple", ("shuffle=true", *ENVELOPES)),
        ("simple_noisy", ("generate.scale=dataset",)),
        ("simple_wide", ("stft.type=mel", "stft.n_fft=512", "pre_emphasis_coefficient=0.9")),
    ],
)
def test_the_wav_files_give_the_same_images_to_the_last_bit(
    make_recipe: MakeRecipe, name: str, overrides: tuple[str, ...]
) -> None:
    recipe = changed(make_recipe(name, "dataset.size=20", *overrides), wav=18)
    report = make(recipe)
    directory = report.dataset_dir
    assert [path.name for path in report.wav_files][15:] == [
        "train_000015.wav", "test_000000.wav", "test_000001.wav"
    ]  # fmt: skip
    images, _, scale_factors = arrays(directory)
    maker = ImageMaker.from_metadata(Metadata.load(directory))
    assert maker.front_end == front_end_of(Metadata.load(directory))
    for i, path in enumerate(report.wav_files):
        info = soundfile.info(path)
        assert (info.samplerate, info.frames, info.subtype) == (8000, 8000, "FLOAT")
        audio, _ = soundfile.read(path, dtype="float32")
        image, scale = maker(audio[None])
        np.testing.assert_array_equal(image[0], images[i])
        np.testing.assert_array_equal(scale[0], scale_factors[i])


def test_more_wavs_than_samples(make_recipe: MakeRecipe) -> None:
    with pytest.raises(VIMHError, match=r"^generate\.wav is 21; .* the data set has 20 samples"):
        make(changed(make_recipe("simple", "dataset.size=20"), wav=21))


@pytest.mark.parametrize("overrides", [(), ENVELOPES, (*ENVELOPES[:2], "image.channels=3")])
def test_binary_and_pickle_hold_the_same(
    make_recipe: MakeRecipe, overrides: tuple[str, ...]
) -> None:
    recipe = make_recipe("simple", "dataset.size=50", "output_format=both", *overrides)
    directory = make(recipe).dataset_dir
    opened = check_dataset(directory)
    assert opened.metadata.channels == {(): 1, ENVELOPES: 3}.get(overrides, 9)
    for records in (opened.train, opened.test):
        path = records.path.with_name(f"{records.path.name}_batch")
        pickled = Records.open(path, opened.metadata)
        np.testing.assert_array_equal(pickled.images, records.images)
        np.testing.assert_array_equal(pickled.labels, records.labels)
        np.testing.assert_array_equal(pickled.scale_factors, records.scale_factors)


def test_metadata_says_all_that_the_format_lists(make_recipe: MakeRecipe) -> None:
    report = make(make_recipe("simple", "dataset.size=50", *ENVELOPES))
    metadata = Metadata.load(report.dataset_dir)
    keys = """format version dataset_name output_format height width channels channel_labels
        varying_parameters parameter_names train_samples test_samples total_samples n_samples
        sample_rate duration synth_type image_size parameter_mappings fixed_parameters
        pre_emphasis_coefficient spectrogram_config mel_config label_encoding seed checksums recipe
        recipe_hash"""
    assert set(metadata.raw) == set(keys.split())
    assert metadata.dataset_name == report.dataset_dir.name
    assert metadata.channel_labels[0] == "Gray_normalized"
    assert metadata.parameters["note_velocity"].unit == "MIDI"
    assert metadata.fixed_parameters == {"note_number": 43.35}
    assert metadata.hop_s == 0.01
    assert set(metadata.checksums) == {"train", "test", "train_values", "test_values"}
    config = "sample_rate type n_fft n_window hop_length window_type bins_per_harmonic n_bins"
    assert set(config.split()) <= set(metadata.spectrogram_config)
    assert metadata.raw["recipe_hash"] == Recipe.from_mapping(metadata.recipe or {}).digest()


def test_noise_lies_where_the_recipe_says(make_recipe: MakeRecipe) -> None:
    noisy = SampleMaker(Recipe.from_mapping(make_recipe("simple_noisy")))
    clean = SampleMaker(Recipe.from_mapping({**make_recipe("simple_noisy"), "noise": None}))
    indices = np.arange(300)
    for name, values in noisy.values(indices).items():  # noise draws from a stream of its own
        np.testing.assert_array_equal(values, clean.values(indices)[name])
    sounds = clean.audio(indices)
    noise = noisy.audio(indices) - sounds
    rms, peak = np.sqrt((noise.astype(float) ** 2).mean(axis=1)), np.abs(sounds).max(axis=1)
    below_peak_db = 20 * np.log10(peak / rms)
    assert below_peak_db.min() > 20 - 0.2
    assert below_peak_db.max() < 60 + 0.2
    assert abs(below_peak_db.mean() - 40) < 2
    assert np.histogram(below_peak_db, 4, (20, 60))[0].min() > 50
    assert abs(np.corrcoef(noise[:2])[0, 1]) < 0.05


def test_memory_does_not_grow_with_the_data_set(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    # its 32 MB, of which no page is touched, would hide everything else
    monkeypatch.setattr("src.synth.generate.reuse_freed_blocks", lambda: None)
    peaks = []
    for size in (6000, 16000):
        recipe = changed(make_recipe("simple", f"dataset.size={size}"), chunk_size=500, threads=1)
        tracemalloc.start()
        make(recipe)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2e6  # the images are 10 MB more


def test_a_signal_too_short_for_the_image(make_recipe: MakeRecipe) -> None:
    with pytest.raises(VIMHError, match=r"gives 12 frames.*needs 32"):
        make(make_recipe("simple", "duration=0.12"))


class Beep(Synthesizer):
    """A new synthesiser is one class and one YAML file."""

    synth_type = "beep"
    parameter_names: ClassVar[tuple[str, ...]] = ("frequency", "gain")

    def __init__(self, parameters: Mapping[str, Any], *, decay_s: float, **where: Any) -> None:
        super().__init__(parameters, **where)
        self.decay_s = decay_s

    def render(
        self, values: Mapping[str, np.ndarray], num_samples: int | None = None
    ) -> np.ndarray:
        t = np.arange(num_samples or self.num_samples) / self.sample_rate_hz
        tone = np.sin(2 * np.pi * values["frequency"][:, None] * t) * np.exp(-t / self.decay_s)
        return (values["gain"][:, None] * tone).astype(np.float32)


def test_a_new_synthesizer_is_one_class_and_its_config(make_recipe: MakeRecipe) -> None:
    recipe = {
        **make_recipe("simple", "avix=true", "shuffle=true", "dataset.name=null"),
        "synth": {
            "_target_": f"{Beep.__module__}.Beep",
            "decay_s": 0.1,
            "parameters": {
                "frequency": {"min": 100, "max": 3000, "step": 100, "unit": "Hz"},
                "gain": {"min": 1.0, "max": 1.0},
            },
        },
    }
    report = make(recipe)
    assert report.dataset_dir.name == "avix-vimh-32x32x1_8000Hz_1p0s_30dss_beep_1p_shuffled"
    images, labels, _ = arrays(report.dataset_dir)
    metadata = Metadata.load(report.dataset_dir)
    assert metadata.synth_type == "beep"
    frequency = metadata.parameters["frequency"].dequantise(labels[:, 0])
    loudest = images[:, 0, :, 0].argmax(axis=1)
    assert (np.abs((loudest + 1) * 100 - frequency) <= 10).all()
    assert Recipe.from_mapping(recipe).directory(".") == report.dataset_dir
    recipe["synth"]["decay_s"] = 0.2
    with pytest.raises(VIMHError, match=r"another recipe \(synth_options"):
        make(recipe)


def test_parameters_in_units_make_the_sounds_of_their_logarithms(make_recipe: MakeRecipe) -> None:
    made = {
        name: SampleMaker(Recipe.from_mapping(make_recipe(name, "dataset.size=64")))
        for name in ("resonator", "resonator_hz")
    }
    own, other = (maker(np.arange(64)) for maker in made.values())
    assert own.labels.tobytes() == other.labels.tobytes()
    assert np.abs(own.images.astype(int) - other.images).max() <= 1
    values = made["resonator_hz"].values(np.arange(64))
    logarithms = made["resonator"].values(np.arange(64))
    for name in ("frequency", "q"):
        np.testing.assert_allclose(np.log10(values[name]), logarithms[f"log10_{name}"], atol=1e-14)


def test_a_set_of_ratios_and_of_a_parameter_without_a_step(make_recipe: MakeRecipe) -> None:
    changes = ("dataset.size=40", "synth.parameters.q.step=null")
    directory = generate_dataset(make_recipe("resonator_hz", *changes), progress=False).dataset_dir
    metadata = open_dataset(directory).metadata
    frequency, q = metadata.parameters.values()
    assert (frequency.spacing, frequency.step, frequency.num_classes) == ("log", 0.03, 79)
    assert (q.spacing, q.step, q.num_classes, q.has_jnd) == ("log", None, 256, False)
    mappings = metadata.raw["parameter_mappings"]
    assert [mappings[name].get("spacing") for name in mappings] == ["log", "log"]
    assert "spacing" not in metadata.raw["fixed_parameters"]["note_velocity"]
    check_dataset(directory)


def test_a_grid_of_ratios_has_to_be_whole_steps(make_recipe: MakeRecipe) -> None:
    changes = ("avix=true", "synth.parameters.q={min: 2.0, max: 32.0, step: 1.0, spacing: log}")
    with pytest.raises(VIMHError, match=r"'step' must divide .* does is 0\.029960365"):
        generate_dataset(make_recipe("resonator_hz", *changes), progress=False)
    step = "synth.parameters.frequency={min: 100.0, max: 800.0, spacing: log, step: 1.0}"
    recipe = Recipe.from_mapping(make_recipe("resonator_hz", *changes, step))
    assert recipe.num_samples == 4 * 5
    values = SampleMaker(recipe).values(np.arange(20))
    np.testing.assert_allclose(values["frequency"][::5], [100.0, 200.0, 400.0, 800.0])
    np.testing.assert_allclose(values["q"][:5], [2.0, 4.0, 8.0, 16.0, 32.0])
