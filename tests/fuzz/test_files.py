"""Sounds, checkpoints and journals of any bytes: read, or refused by one error of our own."""

import io
import pickle
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import optuna
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from src.checkpoint import read_checkpoint
from src.checkpoints.checkpoint_io import load_checkpoint
from src.recordings.sounds import read_sound
from src.sweeps.storage import open_storage
from src.utils.errors import CheckpointError, ConfigError
from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata
from src.vimh.pickles import read_pickle
from tests.fuzzing import FUZZ, FUZZ_FEW, damaged, damages, json_values
from tests.vimh.conftest import make_json

RATE_HZ = 8000


def wav(subtype: str, kind: str = "WAV", channels: int = 2) -> bytes:
    buffer = io.BytesIO()
    sound = np.linspace(-0.5, 0.5, 200 * channels, dtype=np.float32).reshape(-1, channels)
    soundfile.write(buffer, sound, RATE_HZ, subtype=subtype, format=kind)
    return buffer.getvalue()


SOUNDS = [wav("PCM_16"), wav("FLOAT", channels=1), wav("PCM_16", "FLAC"), wav("PCM_24", "AIFF")]


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


CHECKPOINT = saved({"state_dict": {"w": torch.arange(20.0)}, "epoch": 3, "hyper": {"lr": [0.1]}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@given(sound=st.sampled_from(SOUNDS), damage=damages)
@FUZZ
def test_damaged_sounds(sound: bytes, damage: tuple, folder: Path) -> None:
    path = folder / "sound.wav"
    path.write_bytes(damaged(sound, damage))
    try:
        audio = read_sound(path, RATE_HZ).audio
    except VIMHError:
        return
    assert audio.ndim == 1
    assert np.isfinite(audio).all()


# The sizes of a WAV's header and chunks, in any combination.
header_fields = st.tuples(
    st.sampled_from([0, 1, 3, 7, 0xFFFE, 0xFFFF]),  # format
    st.integers(0, 0xFFFF),  # channels
    st.integers(0, 0xFFFFFFFF),  # rate
    st.integers(0, 0xFFFF),  # bytes of a frame
    st.integers(0, 0xFFFF),  # bits of a sample
    st.integers(0, 0xFFFFFFFF),  # bytes of the data
)


@given(fields=header_fields, data=st.binary(max_size=40))
@FUZZ
def test_wav_headers_that_claim_anything(fields: tuple, data: bytes, folder: Path) -> None:
    kind, channels, rate_hz, frame_bytes, bits, num_bytes = fields
    form = struct.pack("<HHIIHH", kind, channels, rate_hz, rate_hz, frame_bytes, bits)
    path = folder / "header.wav"
    path.write_bytes(
        b"RIFF\xff\xff\xff\xffWAVEfmt "
        + struct.pack("<I", len(form))
        + form
        + b"data"
        + struct.pack("<I", num_bytes)
        + data
    )
    try:
        audio = read_sound(path, RATE_HZ).audio
    except VIMHError:
        return
    assert audio.any()


@given(damage=damages)
@FUZZ
def test_damaged_checkpoints(damage: tuple, folder: Path) -> None:
    path = folder / "damaged.ckpt"
    path.write_bytes(damaged(CHECKPOINT, damage))
    try:
        loaded = load_checkpoint(path)
    except CheckpointError:
        return
    # What is accepted is what was saved: the archive's checksums cover every tensor.
    assert torch.equal(loaded["state_dict"]["w"], torch.arange(20.0))


@given(
    config=json_values | st.dictionaries(st.sampled_from(["model", "data", "loss"]), json_values),
    key=st.sampled_from(["avix", "epoch", "global_step", "state_dict", "config", "metadata"]),
    value=json_values,
)
@FUZZ_FEW
def test_checkpoints_of_other_content(
    config: object, key: str, value: object, folder: Path
) -> None:
    described = {"config": config, "metadata": make_json()}
    content = {"avix": described, "epoch": 1, "global_step": 2, "state_dict": {}}
    (described if key in described else content)[key] = value
    path = folder / "other.ckpt"
    path.write_bytes(saved(content))
    try:
        checkpoint = read_checkpoint(path)
    except (CheckpointError, ConfigError, VIMHError):
        return
    assert isinstance(checkpoint.metadata, Metadata)


def journal(folder: Path) -> bytes:
    path = folder / "good.log"
    path.unlink(missing_ok=True)
    study = optuna.create_study(storage=open_storage(str(path)), study_name="s")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    return path.read_bytes()


@given(length=st.integers(0, 10**6))
@FUZZ
def test_journals_that_end_anywhere(length: int, folder: Path, whole_journal: bytes) -> None:
    path = folder / "torn.log"
    path.write_bytes(whole_journal[: length % (len(whole_journal) + 1)])
    studies = open_storage(str(path)).get_all_studies()
    assert [study.study_name for study in studies] in ([], ["s"])


@pytest.fixture(scope="module")
def whole_journal(folder: Path) -> bytes:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return journal(folder)


@given(damage=damages, kind=st.sampled_from(["sound", "pickle", "checkpoint"]))
@FUZZ_FEW
def test_memory_is_no_more_than_a_file_warrants(damage: tuple, kind: str, folder: Path) -> None:
    good = {
        "sound": SOUNDS[0],
        "pickle": pickle.dumps({"data": np.zeros((3, 20), np.uint8), "vimh_labels": [[0]] * 3}),
        "checkpoint": CHECKPOINT,
    }[kind]
    path = folder / f"memory_{kind}"
    path.write_bytes(damaged(good, damage))
    tracemalloc.start()
    try:
        if kind == "sound":
            read_sound(path, RATE_HZ)
        elif kind == "pickle":
            read_pickle(path, Metadata.from_json(make_json()))
        else:
            load_checkpoint(path)
    except (VIMHError, CheckpointError):
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    # 2 MB for a block of sound and what the readers hold themselves.
    assert peak < 4e6 + 100 * path.stat().st_size
