"""Whatever the bytes are: a data set, or one VIMHError. Nothing else."""

import json
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata
from src.vimh.parameters import Parameter
from src.vimh.pickles import read_pickle
from src.vimh.records import DatasetWriter, check_dataset, open_dataset
from tests.vimh.conftest import make_json, make_samples, pack_records

FAST = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
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
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(
    low=finite,
    width=st.floats(1e-3, 1e6),
    steps=st.floats(0.5, 1e4),
    q=st.lists(st.integers(0, 255), min_size=1),
)
@FAST
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
@settings(FAST, max_examples=25)
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


def flipped(data: bytes, flips: list[tuple[int, int]]) -> bytes:
    changed = bytearray(data)
    for position, bit in flips:
        changed[position % len(changed)] ^= 1 << bit
    return bytes(changed)


flips = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 7)), min_size=1, max_size=4)


@given(flips=flips, metadata_bytes=st.sampled_from([6, 14, None]), cut=st.integers(0, 60))
@FAST
def test_records_with_flipped_bits(
    flips: list, metadata_bytes: int | None, cut: int, folder: Path
) -> None:
    info = make_json(label_encoding={"metadata_bytes": metadata_bytes})
    (folder / "vimh_dataset_info.json").write_text(json.dumps(info))
    (folder / "train").write_bytes(flipped(RECORDS, flips)[: len(RECORDS) - cut])
    (folder / "test").write_bytes(RECORDS)
    try:
        records = open_dataset(folder, "full").train
    except VIMHError:
        return
    assert records.gather(np.arange(len(records)))[0].shape[1:] == (1, 4, 5)


@given(data=st.binary(max_size=200))
@FAST
def test_records_of_noise(data: bytes, folder: Path) -> None:
    (folder / "train").write_bytes(data)
    (folder / "test").write_bytes(b"")
    try:
        open_dataset(folder, "full")
    except VIMHError:
        return
    assert not data


@given(flips=flips, cut=st.integers(0, 5))
@settings(FAST, max_examples=120)
def test_pickles_with_flipped_bits(flips: list, cut: int, folder: Path) -> None:
    path = folder / "some_batch"
    path.write_bytes(flipped(PICKLE, flips)[: len(PICKLE) - cut])
    metadata = Metadata.from_json(make_json())
    try:
        layout, records = read_pickle(path, metadata)
    except VIMHError:
        return
    assert records.dtype == layout.dtype


@given(data=st.binary(max_size=100))
@settings(FAST, max_examples=120)
def test_pickles_of_noise(data: bytes, folder: Path) -> None:
    path = folder / "some_batch"
    path.write_bytes(b"\x80\x04}" + data)
    with pytest.raises(VIMHError):
        read_pickle(path, Metadata.from_json(make_json()))


@given(
    key=st.sampled_from([*make_json(), "channel_labels", "checksums", "label_encoding", "recipe"]),
    value=json_values,
)
@FAST
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
@FAST
def test_any_parameter_value(key: str, value: object) -> None:
    try:
        parameter = Parameter.from_json("p", {"min": 0.0, "max": 1.0, key: value})
    except VIMHError:
        return
    assert parameter.num_classes >= 1
    assert parameter.class_table().shape == (256,)
