"""Whatever the bytes are: a data set, or one VIMHError. Nothing else."""

import json
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata
from src.vimh.parameters import Parameter
from src.vimh.pickles import read_pickle
from src.vimh.records import DatasetWriter, check_dataset, open_dataset
from tests.fuzzing import FUZZ, FUZZ_FEW, damaged, damages, json_values
from tests.vimh.conftest import make_json, make_samples, pack_records

SAMPLES = make_samples(3)
RECORDS = pack_records(*SAMPLES)
PICKLE = pickle.dumps(
    {
        "data": SAMPLES[0].reshape(3, -1),
        "vimh_labels": [[2, 0, int(a), 1, int(b)] for a, b in SAMPLES[1]],
        "scale_factors": SAMPLES[2],
        "height": 4,
    }
)
finite = st.floats(-1e6, 1e6, allow_nan=False)


@given(
    low=finite,
    width=st.floats(1e-3, 1e6),
    steps=st.floats(0.5, 1e4),
    q=st.lists(st.integers(0, 255), min_size=1),
)
@FUZZ
def test_bytes_survive_any_range(low: float, width: float, steps: float, q: list[int]) -> None:
    parameter = Parameter("p", low, low + width, width / steps)
    np.testing.assert_array_equal(parameter.quantise(parameter.dequantise(q)), q)
    classes = parameter.class_table()[q]
    assert (classes >= 0).all()
    assert (classes < parameter.num_classes).all()


@given(
    channels=st.integers(1, 9),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    count=st.integers(1, 5),
    output_format=st.sampled_from(["binary", "pickle", "both"]),
    order=st.randoms(use_true_random=False),
)
@FUZZ_FEW
def test_round_trip(channels, height, width, count, output_format, order) -> None:
    samples = make_samples(count, channels, height, width)
    with tempfile.TemporaryDirectory() as folder:
        info = make_json(channels, height, width)
        with DatasetWriter(f"{folder}/x", info, output_format=output_format) as writer:
            writer.write("train", *samples)
        records = check_dataset(f"{folder}/x").train
        indices = np.array([order.randrange(count) for _ in range(7)])
        for got, expected in zip(records.gather(indices), samples, strict=True):
            np.testing.assert_array_equal(got, expected[indices])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "vimh_dataset_info.json").write_text(json.dumps(make_json()))
    return folder


@given(damage=damages, metadata_bytes=st.sampled_from([6, 14, None]))
@FUZZ
def test_damaged_records(damage: tuple, metadata_bytes: int | None, folder: Path) -> None:
    info = make_json(label_encoding={"metadata_bytes": metadata_bytes})
    (folder / "vimh_dataset_info.json").write_text(json.dumps(info))
    (folder / "train").write_bytes(damaged(RECORDS, damage))
    (folder / "test").write_bytes(RECORDS)
    try:
        records = open_dataset(folder, "full").train
    except VIMHError:
        return
    assert records.gather(np.arange(len(records)))[0].shape[1:] == (1, 4, 5)


@given(data=st.binary(max_size=200))
@FUZZ
def test_records_of_noise(data: bytes, folder: Path) -> None:
    (folder / "train").write_bytes(data)
    (folder / "test").write_bytes(b"")
    try:
        open_dataset(folder, "full")
    except VIMHError:
        return
    assert not data


@given(damage=damages)
@FUZZ
def test_damaged_pickles(damage: tuple, folder: Path) -> None:
    path = folder / "some_batch"
    path.write_bytes(damaged(PICKLE, damage))
    metadata = Metadata.from_json(make_json())
    try:
        layout, records = read_pickle(path, metadata)
    except VIMHError:
        return
    assert records.dtype == layout.dtype


@given(data=st.binary(max_size=100))
@FUZZ
def test_pickles_of_noise(data: bytes, folder: Path) -> None:
    path = folder / "some_batch"
    path.write_bytes(b"\x80\x04}" + data)
    with pytest.raises(VIMHError):
        read_pickle(path, Metadata.from_json(make_json()))


@given(
    key=st.sampled_from([*make_json(), "channel_labels", "checksums", "label_encoding", "recipe"]),
    value=json_values,
)
@FUZZ
def test_any_json_value(key: str, value: object) -> None:
    try:
        metadata = Metadata.from_json({**make_json(), key: value})
    except VIMHError:
        return
    assert len(metadata.channel_labels) == metadata.channels


@given(
    key=st.sampled_from(["min", "max", "step", "description", "kind", "class_names", "scale"]),
    value=json_values,
)
@FUZZ
def test_any_parameter_value(key: str, value: object) -> None:
    try:
        parameter = Parameter.from_json("p", {"min": 0.0, "max": 1.0, key: value})
    except VIMHError:
        return
    assert parameter.num_classes >= 1
    assert parameter.class_table().shape == (256,)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "set"
    with DatasetWriter(folder, make_json(), output_format="both") as writer:
        writer.write("train", *SAMPLES)
        writer.write("test", *SAMPLES)
    return folder


@given(damage=damages, name=st.sampled_from(["train", "test", "train_batch", "test_batch"]))
@FUZZ
def test_the_full_check_accepts_no_changed_file(damage: tuple, name: str, whole: Path) -> None:
    original = (whole / name).read_bytes()
    changed = damaged(original, damage)
    (whole / name).write_bytes(changed)
    try:
        if changed == original:
            check_dataset(whole)
        else:
            with pytest.raises(VIMHError):
                check_dataset(whole)
    finally:
        (whole / name).write_bytes(original)


@given(damage=damages)
@FUZZ
def test_damaged_metadata(damage: tuple, folder: Path) -> None:
    original = json.dumps(make_json())
    (folder / "vimh_dataset_info.json").write_bytes(damaged(original.encode(), damage))
    try:
        Metadata.load(folder)
    except VIMHError:
        pass
    finally:
        (folder / "vimh_dataset_info.json").write_text(original)
