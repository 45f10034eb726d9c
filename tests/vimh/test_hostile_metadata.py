"""Metadata that is made to take memory or to break what reads it: one error that is short."""

import json
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src.vimh.errors import VIMHError
from src.vimh.metadata import METADATA_FILE, Metadata
from src.vimh.parameters import Parameter
from src.vimh.plain import MAX_JSON_BYTES, check_plain, shown
from src.vimh.records import DatasetWriter, check_dataset, open_dataset
from tests.vimh.conftest import make_json, make_samples, pack_records

Write = Callable[..., Path]
FILL = MAX_JSON_BYTES // 4
SHAPES = {
    "lists": b"[" + b"[]," * (FILL // 3) + b"0]",
    "objects": b"[" + b"{}," * (FILL // 3) + b"0]",
    "objects of one": b"[" + b'{"":0},' * (FILL // 7) + b"0]",
    "numbers": b"[" + b"1.5," * (FILL // 4) + b"0]",
    "texts": b"[" + b'"ab",' * (FILL // 5) + b"0]",
    "wide text": '"\U0001f600'.encode() + b"a" * FILL + b'"',
    "keys": b"{" + b",".join(b'"%d":0' % k for k in range(FILL // 12)) + b"}",
    "as many lists as may be": b"[" + b"[]," * 249_000 + b"0]",
    "as many objects as may be": b"[" + b'{"":0},' * 124_000 + b"0]",
    "depth": b"[" * 900 + b"]" * 900,
}


@pytest.mark.parametrize(
    "shape", [pytest.param(s, marks=[pytest.mark.slow] * s.startswith("as many")) for s in SHAPES]
)
def test_memory_is_no_more_than_the_file_warrants(shape: str, tmp_path: Path) -> None:
    text = json.dumps(make_json()).encode()[:-1] + b', "more": ' + SHAPES[shape] + b"}"
    path = tmp_path / METADATA_FILE
    path.write_bytes(text)
    tracemalloc.start()
    try:
        Metadata.load(tmp_path)
    except VIMHError:
        assert shape not in ("wide text", "as many lists as may be")
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 4 * len(text) + 200e6


def holding_itself(kind: type) -> Any:
    if kind is dict:
        node: Any = make_json()
        node["recipe"] = node
        return node
    inner: list[Any] = []
    inner.append(inner)
    return make_json(recipe={"a": inner})


def doubled() -> dict[str, Any]:
    node: list[Any] = [0]
    for _ in range(31):
        node = [node, node]
    return make_json(parameter_names=node)


@pytest.mark.parametrize("info", [holding_itself(dict), holding_itself(list), doubled()])
def test_what_does_not_end_is_refused(info: dict[str, Any]) -> None:
    with pytest.raises(VIMHError, match="levels of lists and objects") as error:
        Metadata.from_json(info)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("fixed_parameters", 5, "key 'fixed_parameters' must be an object .* found 5"),
        ("fixed_parameters", [[1]], "key 'fixed_parameters'"),
        ("fixed_parameters", "note", "key 'fixed_parameters'"),
        ("dataset_name", "n" * 255, "key 'dataset_name' must be of 1 to 200 bytes"),
        ("dataset_name", "\ud800", "key 'dataset_name': expected Unicode text"),
        ("dataset_name", "\x1b[2J", "that can be printed"),
        ("parameter_names", ["\ud800"], "expected Unicode text"),
        ("parameter_names", ["\u202e"], "that can be printed"),
        ("channel_labels", ["a\nb"], "that can be printed"),
        ("scale_range_db", 3, "key 'scale_range_db' must be a list of two numbers"),
        ("pre_emphasis_coefficient", "a", "key 'pre_emphasis_coefficient' must be a number"),
        ("spectrogram_config", {"n_fft": 2**60}, "spectrogram_config: key 'n_fft'"),
        ("spectrogram_config", {"hop_length": [1]}, "spectrogram_config: key 'hop_length'"),
        ("spectrogram_config", {"sample_rate": "fast"}, "key 'sample_rate'"),
        ("mel_config", {"freq_min": float("nan")}, "mel_config: key 'freq_min'"),
        ("sample_rate", 1e200, "key 'sample_rate'"),
        (
            "parameter_mappings",
            {f"p{k}": {"min": 0, "max": 1} for k in range(2000)},
            "at most 1024",
        ),
        ("more", {1: 2}, "expected names as keys, found 1"),
        ("more", {"a": {1, 2}}, "key 'more': expected plain values, found a set"),
    ],
)
def test_every_key_is_checked(key: str, value: object, message: str) -> None:
    with pytest.raises(VIMHError, match=message):
        Metadata.from_json(make_json(**{key: value}))


@pytest.mark.parametrize(
    "bounds",
    [(0.0, 1.7e308, 1e308), (0.0, 1e-310, None), (1e16, 1e16 + 2, None), (1e201, 1e201, None)],
)
def test_ranges_that_cannot_be_calculated_with(bounds: tuple) -> None:
    low, high, step = bounds
    with pytest.raises(VIMHError, match="parameter 'p': 'max'"):
        Parameter("p", low, high, step)


def test_values_in_messages_are_short() -> None:
    node: Any = [0]
    for _ in range(100):
        node = [node, node]
    for value in (10**5000, "a" * 10**6, node, {"a": node}, {1, 2}, [["a" * 50] * 8]):
        assert len(shown(value)) < 90
    check_plain({"a": [1, None, "b", (1.5, True)]}, "here")


def test_variants_of_different_length(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    with DatasetWriter(folder, make_json(), output_format="both") as writer:
        writer.write("train", *make_samples(4))
        writer.write("test", *make_samples(2))
    info = json.loads((folder / METADATA_FILE).read_bytes())
    del info["train_samples"], info["checksums"]
    (folder / METADATA_FILE).write_text(json.dumps(info))
    (folder / "train").write_bytes(pack_records(*make_samples(3)))
    with pytest.raises(VIMHError, match=r"train_batch: holds 4 samples, .*train holds 3"):
        check_dataset(folder)


def test_pickles_of_images_that_no_record_holds(write_by_hand: Write) -> None:
    data = pickle.dumps({"data": [], "vimh_labels": []})
    folder = write_by_hand(make_json(65535, 65535, 65535), train_batch=data, test_batch=data)
    with pytest.raises(VIMHError, match="is larger than the 2147479552 bytes that can be read"):
        open_dataset(folder)


def test_names_that_no_system_takes(tmp_path: Path) -> None:
    with pytest.raises(VIMHError, match="there is no such data set directory"):
        open_dataset(tmp_path / ("n" * 300))
    with pytest.raises(VIMHError, match="the data set's name must be of 1 to 200 bytes"):
        DatasetWriter(tmp_path / ("n" * 255), make_json())


def test_metadata_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    info = make_json(more="a" * MAX_JSON_BYTES)
    with (
        pytest.raises(VIMHError, match="metadata of at most 16777216 bytes"),
        DatasetWriter(tmp_path / "set", info) as writer,
    ):
        writer.write("train", *make_samples(1))
    assert list(tmp_path.iterdir()) == []
