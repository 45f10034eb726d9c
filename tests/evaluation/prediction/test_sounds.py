"""Files as sounds: where they begin, their channels, their levels, and their formats."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from src.checkpoint import load_model, read_checkpoint
from src.evaluation.prediction.predictor import Predictor
from src.evaluation.prediction.sounds import sound_files, windows
from src.recordings.sounds import SUFFIXES, read_sound
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError

RATE = 8000
MODEL = Path(__file__).parents[3] / "examples" / "model"
SAW, _ = soundfile.read(MODEL / "saw.wav", dtype="float32")


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    read = read_checkpoint(MODEL / "simple_wide.safetensors")
    return Predictor(load_model(read), read.metadata)


@pytest.fixture
def write(tmp_path: Path):
    def written(audio: np.ndarray, rate: int = RATE) -> Path:
        soundfile.write(tmp_path / "sound.wav", audio, rate, subtype="FLOAT")
        return tmp_path / "sound.wav"

    return written


@pytest.mark.parametrize("silent_ms", [5, 10, 100])
def test_silence_before_a_sound_changes_nothing(predictor, write, silent_ms: int) -> None:
    (plain,) = predictor.predict_file(MODEL / "saw.wav")
    assert plain.values["note_velocity"] == pytest.approx(61.36, abs=0.01)  # README.md
    assert plain.values["log10_decay_time"] == pytest.approx(-0.053, abs=0.0005)
    late = np.concatenate([np.zeros(RATE * silent_ms // 1000, np.float32), SAW])
    (found,) = predictor.predict_file(write(late))
    assert found.values == plain.values
    assert found.start_s == silent_ms / 1000
    assert found.notes == (
        f"the sound begins at {silent_ms / 1000:.3f} s; start=file keeps what is before",
    )


def test_from_the_first_sample_where_it_is_asked_for(predictor, write) -> None:
    whole = Predictor(predictor.model, predictor.metadata, start="file")
    late = write(np.concatenate([np.zeros(80, np.float32), SAW]))
    assert whole.predict_file(late)[0].values["note_velocity"] < 52
    (one,), (other,) = (each.predict_file(MODEL / "saw.wav") for each in (whole, predictor))
    assert one.values == other.values
    assert np.array_equal(one.image, other.image)
    with pytest.raises(ConfigError, match=r"start is 'middle'; it has to be onset or file"):
        Predictor(predictor.model, predictor.metadata, start="middle")


def test_a_beginning_is_found_before_resampling(predictor, write) -> None:
    at_44100 = soundfile.read(MODEL / "saw.wav")[0].repeat(6)  # steps, with sharp edges
    (plain,) = predictor.predict_file(write(at_44100, 48000))
    (late,) = predictor.predict_file(write(np.concatenate([np.zeros(4800), at_44100]), 48000))
    # repeat makes six zeros of the first one, and a beginning keeps one
    for name, value in plain.values.items():
        assert late.values[name] == pytest.approx(value, abs=0.01)
    assert late.start_s == pytest.approx(0.1, abs=0.001)


def test_a_later_window_moves_to_a_beginning() -> None:
    audio = np.zeros(45, np.float32)
    audio[:10] = audio[23:28] = audio[43:] = 1.0
    assert windows(audio, 10, 1000).start_s == (0.0, 0.02, 0.04)
    moved = windows(audio, 10, 1000, start="onset")
    assert moved.start_s == (0.0, 0.022, 0.042)  # a silent sample is the first of each
    assert "1 windows moved to where a sound begins" in moved.notes
    assert "2 silent windows left out" in moved.notes
    assert moved.audio[1].tolist() == [0, 1, 1, 1, 1, 1, 0, 0, 0, 0]


def test_of_a_long_sound_its_first_window_or_all(predictor, write) -> None:
    long = write(np.concatenate([np.zeros(40, np.float32), SAW, SAW / 2, SAW / 4]))
    (first,) = predictor.predict_file(long)
    assert first.start_s == 0.005
    assert first.notes[-1] == (
        "only its first 1.000 s are read, 2.000 s follow; window=all reads them too"
    )
    every = Predictor(predictor.model, predictor.metadata, window="all").predict_file(long)
    assert [p.start_s for p in every] == [0.005, 1.005, 2.005]
    assert every[0].values == first.values
    assert every[0].notes[-1] == "cut into 3 windows of 1.000 s"
    with pytest.raises(ConfigError, match="window is 'last'; it has to be first or all"):
        Predictor(predictor.model, predictor.metadata, window="last")


def test_the_first_window_that_is_not_silent_is_read() -> None:
    audio = np.concatenate([np.zeros(12), np.ones(30)]).astype(np.float32)
    cut = windows(audio, 10, 10, window="first")
    assert cut.start_s == (1.0,)
    assert cut.notes == (
        "only its first 1.000 s are read, 2.200 s follow; window=all reads them too",
        "1 silent windows left out",
    )


def test_an_image_that_is_mostly_floor_is_said(predictor, write) -> None:
    (short,) = predictor.predict_file(write(SAW[:400]))
    said = "84% of its image lie at the floor, -200.0 dB; of the training sounds' at most 41%"
    assert short.notes[-1] == said
    assert predictor.predict_file(write(SAW))[0].notes == ()
    every = Predictor(predictor.model, predictor.metadata, window="all")
    parts = [SAW, SAW[:400], np.zeros(7600, np.float32), SAW]
    found = every.predict_file(write(np.concatenate(parts)))
    assert found[0].notes[-1] == f"in 1 of 3 windows, {said}"


def test_a_silent_channel_is_left_out(predictor, write) -> None:
    (mono,) = predictor.predict_file(MODEL / "saw.wav")
    hiss = 1e-5 * np.random.default_rng(0).standard_normal(len(SAW)).astype(np.float32)
    for other in (np.zeros_like(SAW), hiss):
        (found,) = predictor.predict_file(write(np.stack([other, SAW], axis=1)))
        assert found.values == mono.values
        assert found.notes == ("of 2 channels, silent and left out: 1",)
    three = read_sound(write(np.stack([SAW, 0 * SAW, SAW], axis=1)), RATE)
    assert three.notes == (
        "of 3 channels, silent and left out: 2", "2 channels mixed down to one",
    )  # fmt: skip


def test_antiphase_is_said(write) -> None:
    part = read_sound(write(np.stack([SAW, -0.9 * SAW], axis=1)), RATE)
    assert "(antiphase): the mix is 26 dB below them" in part.notes[-1]
    with pytest.raises(VIMHError, match=r"2 channels cancel each other \(antiphase\)"):
        read_sound(write(np.stack([SAW, -SAW], axis=1)), RATE)
    noise = np.random.default_rng(0).standard_normal((RATE, 2)) / 5
    assert read_sound(write(noise), RATE).notes == ("2 channels mixed down to one",)


def test_far_over_full_scale_is_said(predictor, write) -> None:
    (found,) = predictor.predict_file(write(SAW * 32768))
    assert found.notes[0] == "its peak of 1.572e+04 is 84 dB over full scale, 1.0"
    assert "its level, 93.0 dB, is outside of the training range, -17.1 to 9.0 dB" in found.notes
    assert read_sound(write(1.5 * SAW / np.abs(SAW).max()), RATE).notes == ()


def test_levels_that_training_had_not_are_said(predictor, write) -> None:
    (quiet,) = predictor.predict_file(write(SAW / 1000))
    assert quiet.notes == (
        "its level, -57.3 dB, is outside of the training range, -17.1 to 9.0 dB",
    )
    every = Predictor(predictor.model, predictor.metadata, window="all")
    both = every.predict_file(write(np.concatenate([SAW, SAW / 1000, SAW / 100])))
    assert "the level of 2 windows, -57.3 to -37.3 dB, is outside" in both[0].notes[-1]


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [("ogg", "OGG"), ("mp3", "MP3"), ("au", "AU"), ("caf", "CAF"), ("aifc", "AIFF")],
)
def test_formats_are_read_in_folders_as_singly(predictor, tmp_path, suffix, kind) -> None:
    path = tmp_path / f"saw.{suffix}"
    soundfile.write(path, SAW, RATE, format=kind)
    assert sound_files(tmp_path) == [path]
    (found,) = predictor.predict_file(path)
    assert found.values["note_velocity"] == pytest.approx(61.36, abs=6)  # MP3 smears the beginning


def test_all_formats_of_the_library_that_name_their_rate_are_known() -> None:
    # Not sounds, or of no use: Matlab's files, instruments, and what needs a second file.
    odd = {"mat4", "mat5", "sd2", "xi", "svx", "htk", "avr", "paf", "pvf", "mpc2k", "sds", "wve"}
    names = {name.lower() for name in soundfile.available_formats()} - odd - {"raw"}
    other_names = {"wavex": "wav", "aiff": "aiff"}
    assert {f".{other_names.get(name, name)}" for name in names} <= set(SUFFIXES)


def test_a_raw_file_gets_a_sentence(predictor, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "take.RAW", SAW, RATE, format="RAW", subtype="PCM_16")
    assert sound_files(tmp_path) == [tmp_path / "take.RAW"]
    with pytest.raises(VIMHError, match="a raw file does not say its rate"):
        predictor.predict_file(tmp_path / "take.RAW")


def test_a_header_that_says_nothing_follows_gets_a_sentence(write) -> None:
    path = write(SAW)
    content = bytearray(path.read_bytes())
    size = content.index(b"data") + 4
    content[size : size + 4] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(VIMHError, match=r"no samples in it, says its header, but 32000 bytes"):
        read_sound(path, RATE)
    soundfile.write(path, SAW[:0], RATE)
    with pytest.raises(VIMHError, match=r"no samples in it$"):
        read_sound(path, RATE)
    shutil.copy(MODEL / "saw.wav", path)
    assert len(read_sound(path, RATE).audio) == RATE
