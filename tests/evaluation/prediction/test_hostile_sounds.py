"""Sounds that unpack to more than their file warrants, and names that no system takes."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from src.recordings.sounds import read_sound
from src.vimh.errors import VIMHError

RATE_HZ = 8000


@pytest.mark.slow
def test_packed_sounds_take_no_more_than_their_size_warrants(tmp_path: Path) -> None:
    path = tmp_path / "constant.flac"
    with soundfile.SoundFile(path, "w", 48_000, 8, subtype="PCM_16") as file:
        for _ in range(60):  # 48 million frames of a constant in less than a megabyte
            file.write(np.full((800_000, 8), 0.25, dtype=np.float32))
    assert path.stat().st_size < 2_000_000
    tracemalloc.start()
    try:
        with pytest.raises(VIMHError, match="take more memory than 4 times the file's size"):
            read_sound(path, 48_000)
        assert tracemalloc.get_traced_memory()[1] < 4 * path.stat().st_size + 200e6
    finally:
        tracemalloc.stop()


def test_a_rate_whose_filter_would_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "prime.wav"
    soundfile.write(path, np.ones(100, np.float32), 767_957)
    with pytest.raises(VIMHError, match="cannot be resampled to 8000 Hz"):
        read_sound(path, RATE_HZ)


def test_names_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(VIMHError, match="there is no such file"):
        read_sound(tmp_path / ("n" * 300 + ".wav"), RATE_HZ)
    with pytest.raises(VIMHError, match="no Unicode text"):
        read_sound(tmp_path / "\udcff.wav", RATE_HZ)
    raw = tmp_path / "a.raw"
    raw.write_bytes(bytes(100))
    with pytest.raises(VIMHError, match="not a sound file"):
        read_sound(raw, RATE_HZ)


def test_many_channels_are_mixed_as_before(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (5000, 3)).astype(np.float32)
    path = tmp_path / "three.wav"
    soundfile.write(path, sound, RATE_HZ, subtype="FLOAT")
    read = read_sound(path, RATE_HZ)
    mono, notes = read.audio, read.notes
    np.testing.assert_array_equal(mono, sound.mean(axis=1, dtype=np.float64).astype(np.float32))
    assert notes == ("3 channels mixed down to one",)
