"""Plain WAV files are read as libsndfile reads them, to the bit; all others are left to it."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from src.recordings.sounds import Listening, length_s, read_sound
from src.recordings.wav import MOST_BYTES, WavFile, WavHeader, all_bytes
from src.vimh.errors import VIMHError

RATE_HZ = 16_000
KINDS = ("PCM_16", "PCM_24", "PCM_32", "FLOAT")


def written(
    subtype: str, channels: int = 1, frames: int = 700, format_: str = "WAV", peak: float = 1.0
) -> bytes:
    """A file's bytes; samples beyond full scale are clipped where they are whole numbers."""
    values = peak * np.random.default_rng(3).uniform(-1, 1, (frames, channels))
    stream = io.BytesIO()
    soundfile.write(stream, values, RATE_HZ, subtype, format=format_)
    return stream.getvalue()


def by_libsndfile(content: bytes) -> tuple[np.ndarray, int]:
    return soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("subtype", KINDS)
def test_samples_are_those_of_libsndfile(subtype: str, channels: int) -> None:
    content = written(subtype, channels, peak=1.5)
    header = WavHeader.of(content, len(content))
    if header is None:  # libsndfile writes the extensible form for some
        pytest.skip("not the plain form")
    file = WavFile(header, content)
    expected, rate_hz = by_libsndfile(content)
    assert (file.samplerate, file.channels, file.frames) == (rate_hz, channels, len(expected))
    parts = [file.read(300, "float32", always_2d=True) for _ in range(4)]
    assert np.concatenate(parts).tobytes() == expected.tobytes()
    file.seek(10)
    np.testing.assert_array_equal(file.read(5, "float32", always_2d=True), expected[10:15])


def test_every_plain_kind_is_read_without_libsndfile() -> None:
    for subtype in KINDS:
        content = written(subtype)
        assert WavHeader.of(content, len(content)) is not None, subtype


@pytest.mark.parametrize(
    "content",
    [
        written("PCM_U8"), written("DOUBLE"), written("ULAW"), written("PCM_16", format_="WAVEX"),
        written("PCM_16", format_="FLAC"), written("PCM_16")[:-1], written("PCM_16") + b"\0",
        b"", b"RIFF",
    ],
)  # fmt: skip
def test_what_is_not_plain_is_left_to_libsndfile(content: bytes) -> None:
    assert WavHeader.of(content, len(content)) is None


def test_a_mutated_file_is_left_to_libsndfile_or_read_as_by_it() -> None:
    random, ours = np.random.default_rng(5), 0
    sources = [written(kind, channels, 40) for kind in KINDS for channels in (1, 2)]
    for k in range(3000):
        content = bytearray(sources[k % len(sources)])
        for _ in range(random.integers(1, 3)):
            content[random.integers(0, 60)] = random.choice([0, 1, 2, 3, 16, 255, *content[:8]])
        if (header := WavHeader.of(bytes(content), len(content))) is None:
            continue
        ours += 1
        samples = WavFile(header, bytes(content)).read(10**6, "float32", always_2d=True)
        if header.samplerate == 0:  # refused by its rate later
            continue
        expected, rate_hz = by_libsndfile(bytes(content))
        assert (samples.tobytes(), header.samplerate) == (expected.tobytes(), rate_hz), content[:60]
    assert ours > 100


@pytest.mark.parametrize("subtype", KINDS)
def test_a_sound_is_the_same_with_and_without_its_bytes(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(written(subtype, 2))
    given, found = read_sound(path, RATE_HZ, content=all_bytes(path)), read_sound(path, RATE_HZ)
    assert given.audio.tobytes() == found.audio.tobytes()
    assert (given.notes, given.start_s) == (found.notes, found.start_s)
    assert length_s(path, Listening(), RATE_HZ) == 700 / RATE_HZ


def test_large_files_are_not_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    assert all_bytes(path) is None
    path.write_bytes(b"12")
    assert all_bytes(path) == b"12"


def test_a_file_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    path, values = tmp_path / "a.wav", np.ones(50, np.float32)
    values[7] = np.nan
    soundfile.write(path, values, RATE_HZ, "FLOAT")
    with pytest.raises(VIMHError, match=r"sample 7 is \[nan\], not a finite number"):
        read_sound(path, RATE_HZ, content=all_bytes(path))
