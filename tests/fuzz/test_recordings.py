"""Tables, names, sounds and pictures of any bytes: imported, or refused by an error of our own."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from src.recordings.images import read_image
from src.recordings.importing import import_recordings
from src.recordings.pattern import Pattern
from src.recordings.settings import ImportSettings
from src.recordings.sounds import Listening, length_s, read_sound
from src.recordings.table import read_table
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError
from src.vimh.records import check_dataset
from tests.fakes import RATE, notes, tone, write_sounds
from tests.fuzzing import FUZZ, FUZZ_FEW, damaged, damages

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
CSV = b"file,pitch,kind,group,split\n" + b"".join(
    b"%03d.wav,%d,%s,g%d,%s\n" % (k, 40 + k, b"ab"[k % 2 :][:1], k % 4, (b"test", b"train")[k > 1])
    for k in range(8)
)
JSON = b'{"file": "000.wav", "pitch": 1.5, "kind": "a"}\n{"file": "001.wav", "pitch": 2}\n'


def written(save: object, **how: object) -> bytes:
    buffer = io.BytesIO()
    save(buffer, **how)  # type: ignore[operator]
    return buffer.getvalue()


PICTURES = [
    *(
        written(Image.fromarray(PIXELS).save, format=kind)
        for kind in ("PNG", "JPEG", "WEBP", "TIFF")
    ),
    written(Image.fromarray(PIXELS[:, :, 0]).save, format="TIFF", compression="tiff_lzw"),
    written(Image.fromarray(PIXELS[:, :, 0].astype(np.uint16)).save, format="PNG"),
    written(Image.fromarray(PIXELS).quantize(5).save, format="PNG"),
]
ARRAYS = [
    written(lambda buffer: np.save(buffer, tone(60, 100))),
    written(lambda buffer: np.savez(buffer, sound=tone(60, 100), rate=RATE)),
    written(lambda buffer: np.savez_compressed(buffer, sound=tone(60, 100), rate=RATE)),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = write_sounds(tmp_path_factory.mktemp("fuzz") / "sounds", notes(8))
    (made / "labels.csv").unlink()
    return made


@given(
    table=st.sampled_from([CSV, JSON]) | st.binary(max_size=60),
    name=st.sampled_from(["t.csv", "t.tsv", "t.jsonl"]),
    damage=damages,
)
@FUZZ
def test_tables(table: bytes, name: str, damage: tuple, folder: Path) -> None:
    path = folder.parent / name
    path.write_bytes(damaged(table or b"x", damage))
    try:
        found = read_table(path)
    except VIMHError:
        return
    assert {len(column) for column in found.columns.values()} == {len(found.rows)}


@given(damage=damages, skip=st.booleans())
@FUZZ_FEW
def test_imports_by_damaged_tables(damage: tuple, skip: bool, folder: Path) -> None:
    path = folder.parent / "i.csv"
    path.write_bytes(damaged(CSV, damage))
    settings = ImportSettings(
        folder=str(folder), labels=str(path), output_dir=str(folder.parent / "out"),
        sample_rate=RATE, skip_broken=skip, overwrite=True, threads=1,
        image={"height": 8, "width": 8},
    )  # fmt: skip
    try:
        made = import_recordings(settings, progress=False)
    except VIMHError:
        return
    check_dataset(made.dataset_dir)
    shutil.rmtree(made.dataset_dir)


@given(picture=st.sampled_from(PICTURES), damage=damages)
@FUZZ
@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it reads all the same
def test_pictures(picture: bytes, damage: tuple, folder: Path) -> None:
    path = folder.parent / "picture.png"
    path.write_bytes(damaged(picture, damage))
    try:
        image = read_image(path)
    except VIMHError:
        return
    assert image.dtype == np.uint8
    assert len(image) in (1, 3)


@given(array=st.sampled_from(ARRAYS), damage=damages, key=st.sampled_from([None, "sound", "x"]))
@FUZZ
def test_arrays(array: bytes, damage: tuple, key: str | None, folder: Path) -> None:
    path = folder.parent / ("sound.npz" if array.startswith(b"PK") else "sound.npy")
    path.write_bytes(damaged(array, damage))
    how = Listening("onset", 0.01, array_key=key, rate_key=None if key is None else "rate")
    try:
        assert length_s(path, how, RATE) >= 0
        audio = read_sound(path, RATE, how).audio
    except VIMHError:
        return
    assert np.isfinite(audio).all()


@given(
    channels=st.sampled_from(["mix", "left", "right", "stereo"]),
    kind=st.sampled_from(["WAV", "FLAC"]),
    damage=damages,
)
@FUZZ
def test_sounds_by_any_channel(channels: str, kind: str, damage: tuple, folder: Path) -> None:
    stereo = np.stack([tone(60, 100), tone(70, 90)], axis=1)
    path = folder.parent / "stereo.wav"
    plain = written(lambda b: soundfile.write(b, stereo, 22050, format=kind, subtype="PCM_16"))
    path.write_bytes(damaged(plain, damage))
    try:
        audio = read_sound(path, RATE, Listening("onset", 0.01, channels)).audio
    except VIMHError:
        return
    assert audio.ndim == (2 if channels == "stereo" else 1)
    assert np.isfinite(audio).all()


@given(text=st.text("{}:dfabx_./!1", max_size=20), file=st.text("abx_./1-", max_size=30))
@FUZZ
def test_patterns(text: str, file: str) -> None:
    try:
        pattern = Pattern(text)
    except ConfigError:
        return
    found = pattern.match(file)
    assert found is None or list(found) == pattern.names
