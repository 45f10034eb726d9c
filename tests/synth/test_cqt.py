"""The constant-Q transform against a plain sum, pure tones and shifts in pitch."""

import math
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from benchmarks.reference_generator import reference_window
from src.evaluation.presentation.dataset_picture import facts
from src.evaluation.presentation.image_axes import ImageAxes
from src.synth.cqt import Cqt, spanning_hop
from src.synth.errors import RecipeError
from src.synth.generate import dataset_name, generate_dataset
from src.synth.images import ImageMaker
from src.synth.recipe import Recipe
from src.synth.samples import SampleMaker
from src.synth.settings import axes_of, build_front_end, front_end_of
from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata
from src.vimh.records import check_dataset
from tests.synth.conftest import MakeRecipe

RATE_HZ = 8000


def cqt(height: int = 36, width: int = 9, **changes: Any) -> Cqt:
    settings = {"hop_length": 400, "freq_min": 220.0, **changes}
    return Cqt(RATE_HZ, height, width, **settings)


def tone(frequency_hz: float, length: int = RATE_HZ) -> np.ndarray:
    sound = np.sin(2 * np.pi * frequency_hz * np.arange(length) / RATE_HZ + 0.3)
    return sound.astype(np.float32)[None]


def some_audio(count: int = 3, length: int = RATE_HZ) -> np.ndarray:
    decay = np.exp(-np.arange(length) / 3000)
    return (np.random.default_rng(2).normal(size=(count, length)) * decay).astype(np.float32)


def by_definition(sound: np.ndarray, c: Cqt, frame: int) -> list[float]:
    """A frame row by row and sample by sample, from the docstring."""
    q = 1.0 / (2.0 ** (1.0 / c.bins_per_octave) - 1.0)
    levels = []
    for row in range(c.height):
        f = c.freq_min * 2.0 ** (row / c.bins_per_octave)
        length = round(q * c.sample_rate_hz / f)
        window = reference_window(c.window_type, length)
        wave = np.exp(-2j * np.pi * f * np.arange(length) / c.sample_rate_hz)
        times = 1
        while c.hop_length / times > length / 2 and 2 * times <= c.hop_length:
            times *= 2
        powers = []
        for i in range(times):
            heard = sound[frame * c.hop_length + i * c.hop_length // times :][:length]
            powers.append(abs((window * heard.astype(float) * wave).sum() / length) ** 2)
        levels.append(20 * np.log10(max(np.sqrt(np.mean(powers)), 10 ** (c.floor_db / 20))))
    return levels


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"window_type": "blackman", "bins_per_octave": 24, "height": 50},
        {"hop_length": 7, "bins_per_octave": 3, "height": 5},
        {"hop_length": 1, "width": 3, "window_type": "rectangular"},
    ],
)
def test_it_is_the_plain_sum(changes: dict[str, Any]) -> None:
    c = cqt(**changes)
    audio = some_audio(2)
    db = c(audio)
    assert db.dtype == np.float32
    for sound, image in zip(audio, db, strict=True):
        for frame in (0, 1, c.width - 1):
            np.testing.assert_allclose(image[:, frame], by_definition(sound, c, frame), atol=2e-3)


def test_rounding_lies_far_under_the_strongest_row() -> None:
    c, sound = cqt(), tone(440.0)
    exact = np.array(by_definition(sound[0], c, 0))
    error = 10 ** (c(sound)[0, :, 0] / 20.0) - 10 ** (exact / 20.0)
    assert 20 * np.log10(np.abs(error).max()) < exact.max() - 120.0


def test_a_tone_at_a_rows_centre_peaks_there() -> None:
    c = cqt(height=48)
    for row in range(0, 48, 5):
        db = c(tone(float(c.row_hz[row])))[0]
        assert (db.argmax(axis=0) == row).all()
        # A sine of amplitude 1 through a Hann window of mean 1/2.
        np.testing.assert_allclose(db[row], 20 * np.log10(0.25), atol=0.01)


def test_a_semitone_higher_is_a_row_up() -> None:
    c = cqt(height=40)
    low = c(tone(float(c.row_hz[10])))[0]
    for step in (1, 12):
        high = c(tone(float(c.row_hz[10 + step])))[0]
        # Where the tone is; further off is the leakage of its negative frequency.
        np.testing.assert_allclose(high[9 + step : 12 + step], low[9:12], atol=0.05)


def test_rows_frames_and_the_shortest_sound() -> None:
    c = cqt(height=12)
    np.testing.assert_allclose(c.row_hz[[0, 11]], [220.0, 220.0 * 2 ** (11 / 12)])
    np.testing.assert_allclose(c.frame_s[:2], [0.0, 0.05])
    longest = round(8000 / 220.0 / (2 ** (1 / 12) - 1))
    assert c.num_samples == 8 * 400 + 200 + longest  # twice a hop, as it is shorter than 800
    audio = some_audio(1, c.num_samples)
    c(audio)
    with pytest.raises(VIMHError, match=rf"gives 8 frames.*220 Hz, has {longest} samples.*needs 9"):
        c(audio[:, :-1])
    assert cqt(height=3, hop_length=250).num_samples == 8 * 250 + longest


def test_nothing_between_two_frames_is_missed() -> None:
    c = cqt(freq_min=1000.0, height=24, width=8)  # kernels of 36 to 135 samples
    levels = []
    for place in range(1200, 1600, 9):
        click = np.zeros((1, RATE_HZ), np.float32)
        click[0, place] = 1.0
        levels.append(20 * np.log10(np.sqrt((10 ** (c(click)[0] / 10)).sum(axis=1))))
    assert np.ptp(levels, axis=0).max() < 3.1


@pytest.mark.parametrize(
    ("longest", "samples", "width"), [(2057, 8000, 64), (136, 8000, 8), (612, 900, 2), (99, 260, 1)]
)
def test_an_image_with_the_longest_hop_is_inside_the_sound(
    longest: int, samples: int, width: int
) -> None:
    freq_min = 8000 / (2 ** (1 / 12) - 1) / longest
    hop_length = spanning_hop(longest, samples, width)
    for height in range(1, 13):
        c = cqt(height, width, freq_min=freq_min, hop_length=hop_length)
        assert c.longest == longest
        assert c.num_samples <= samples


@pytest.mark.parametrize("changes", [{}, {"floor_db_rel": -40.0}, {"hop_length": 3, "width": 40}])
def test_a_sound_has_the_same_bits_alone_and_in_any_batch(changes: dict[str, Any]) -> None:
    c = cqt(**changes)
    audio = some_audio(7)
    together = c(audio)
    for i in range(7):
        np.testing.assert_array_equal(c(audio[i : i + 1])[0], together[i])
    np.testing.assert_array_equal(c(audio[:, : c.num_samples]), together)


@pytest.mark.slow
def test_no_number_of_threads_changes_a_bit() -> None:
    code = (
        "import numpy as np\n"
        "from src.synth.cqt import Cqt\n"
        "sound = np.random.default_rng(0).normal(size=(2, 44100)).astype(np.float32)\n"
        "db = Cqt(44100, 84, 64, hop_length=300, freq_min=65.4)(sound)\n"
        "print(hash(db.tobytes()))\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": threads},
        ).stdout
        for threads in ("1", "2")
    }
    assert len(found) == 1


def test_floors_and_pre_emphasis() -> None:
    audio = np.concatenate([np.zeros((1, RATE_HZ), np.float32), some_audio(1)])
    assert (cqt()(audio)[0] == -200.0).all()
    db = cqt(floor_db_rel=-20.0)(audio)
    assert (db[0] == -200.0).all()
    assert db[1].min() == pytest.approx(db[1].max() - 20.0)
    emphasised = audio.astype(float)
    emphasised[:, 1:] -= 0.9 * audio[:, :-1].astype(float)
    expected = cqt()(emphasised.astype(np.float32))
    np.testing.assert_allclose(cqt(pre_emphasis_coefficient=0.9)(audio), expected, atol=1e-3)


SETTINGS = {"type": "cqt", "freq_min": 220.0, "hop_length": 400}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 52}, "image.height is 52; expected at most 51 with a stft.freq_min of 220 Hz"),
        ({"freq_min": 4000.0}, "image.height is 36; expected at most 0 .* Nyquist, 4000 Hz"),
        ({"freq_min": 0.001}, r"stft.freq_min is 0.001: .* takes too much memory"),
        ({"freq_min": 0}, "stft.freq_min is 0; expected a number of at least 0.001"),
        ({"freq_min": None}, "stft.freq_min is missing; expected a number"),
        ({"bins_per_octave": 0}, "stft.bins_per_octave is 0; expected a whole number of at least"),
        ({"n_fft": 512}, "stft.n_fft is 512; expected null where stft.type is cqt"),
        ({"n_window": "64 ms"}, "stft.n_window is '64 ms'; expected null where stft.type is cqt"),
        ({"bins_per_harmonic": 1.0}, "stft.bins_per_harmonic is unknown"),
        ({"window_type": "kaiser"}, "stft.window_type is 'kaiser'; expected one of rectangular"),
        ({"hop_length": 0}, "stft.hop_length is 0; expected a whole number of at least 1"),
        ({"floor_db_rel": 3.0}, "stft.floor_db_rel is 3.0; .* less than 0"),
        ({"type": "cq"}, "stft.type is 'cq'; expected one of stft, mel, cqt"),
    ],
)
def test_wrong_settings(changes: dict[str, Any], message: str) -> None:
    given = {**SETTINGS, **changes}
    height = given.pop("height", 36)
    with pytest.raises(RecipeError, match=f"^{message}"):
        build_front_end(given, {}, sample_rate_hz=RATE_HZ, height=height, width=9)


def test_a_kernel_longer_than_the_sound_is_refused(make_recipe: MakeRecipe) -> None:
    with pytest.raises(RecipeError, match=r"^duration is 0.5, too short: 4000 .* alone hears 4114"):
        dataset_name(make_recipe("simple", "front_end=cqt_84", "duration=0.5"))


def test_a_data_set_with_a_row_for_each_semitone(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("simple_3p", "front_end=cqt_64", "dataset.size=6")
    dataset = check_dataset(generate_dataset(recipe, progress=False).dataset_dir)
    metadata = dataset.metadata
    assert metadata.spectrogram_config["type"] == "cqt"
    hop_length = (8000 - 2057) // 63
    assert metadata.hop_s == hop_length / 8000
    checked = Recipe.from_mapping(metadata.recipe or {})
    assert checked.digest() == metadata.raw["recipe_hash"]
    assert front_end_of(metadata) == checked.image_maker.front_end
    # What is predicted of a sound is what was made of it.
    audio = SampleMaker(checked).audio(np.arange(4))
    images, _ = ImageMaker.from_metadata(metadata)(audio)
    np.testing.assert_array_equal(images, dataset.train.images)
    # The fundamental of a sound that lasts lies in the row of its note.
    values = SampleMaker(checked).values(np.arange(4))
    lasting = (values["note_number"] > 36) & (values["log10_decay_time"] > -1)
    assert lasting.any()
    notes = images[lasting, 0, :, 0].argmax(axis=1) + 36
    np.testing.assert_allclose(notes, values["note_number"][lasting], atol=0.55)
    assert (
        "cqt, freq_min 65.4064, bins_per_octave 12, hop_length 94"
        in dict(facts(dataset))["spectrogram"]
    )


def test_axes_of_a_picture(make_recipe: MakeRecipe) -> None:
    from matplotlib.figure import Figure

    recipe = make_recipe("simple", "front_end=cqt_64", "dataset.size=4")
    metadata = Metadata.load(generate_dataset(recipe, progress=False).dataset_dir)
    drawn = ImageAxes(metadata)
    assert drawn.front_end is not None
    np.testing.assert_allclose(drawn.front_end.row_hz[[0, 12]], [65.4064, 130.8128])
    axes = Figure().subplots()
    drawn.draw(axes, np.zeros((1, 64, 64), np.uint8), 0, time=True, frequency=True)
    labels = {t.get_text(): t.get_position()[1] for t in axes.get_yticklabels()}
    assert labels.keys() == {"100", "200", "500", "1k", "2k"}
    assert labels["200"] - labels["100"] == pytest.approx(12.0, abs=0.05)
    assert labels["2k"] - labels["1k"] == pytest.approx(12.0, abs=0.05)
    less = {k: v for k, v in metadata.spectrogram_config.items() if k != "freq_min"}
    without = Metadata.from_json({**metadata.raw, "spectrogram_config": less})
    assert axes_of(without) is None
    with pytest.raises(VIMHError, match="spectrogram_config lacks freq_min"):
        front_end_of(without)
    high = {**metadata.spectrogram_config, "freq_min": 3000.0}
    with pytest.raises(VIMHError, match=r"image.height is 64; expected at most 5 with"):
        ImageAxes(Metadata.from_json({**metadata.raw, "spectrogram_config": high})).draw(
            axes, np.zeros((1, 64, 64), np.uint8), 0, time=True, frequency=True
        )


SENSELESS: list[Any] = [
    None, "", "auto", "64 ms", "\0", True, [], {}, -1, 0, 0.5, 1e-300, 5e-324, 10**6, 2**31, 10**23,
    1e9, 1e300, math.nan, math.inf, -math.inf,
]  # fmt: skip


def test_settings_out_of_a_file_make_a_front_end_or_one_of_our_errors(
    make_recipe: MakeRecipe,
) -> None:
    recipe = make_recipe("simple", "front_end=cqt_64", "dataset.size=2")
    raw = Metadata.load(generate_dataset(recipe, progress=False).dataset_dir).raw
    made = 0
    for key in ("type", "freq_min", "bins_per_octave", "hop_length", "window_type", "sample_rate"):
        for value in SENSELESS:
            config = {**raw["spectrogram_config"], key: value}
            for build in (front_end_of, axes_of):
                try:
                    front_end = build(Metadata.from_json({**raw, "spectrogram_config": config}))
                    assert front_end is None or np.isfinite(front_end.row_hz).all()
                    made += front_end is not None
                except VIMHError:
                    continue
    assert made > 10
