"""The pickled variant: the same samples, and nothing that a pickle could do to us."""

import io
import os
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata
from src.vimh.pickles import read_pickle
from src.vimh.records import DatasetWriter, Records, check_dataset, open_dataset
from src.vimh.stand_ins import RefusedError, plain
from src.vimh.unpickler import RestrictedUnpickler
from tests.vimh.conftest import make_json, make_samples

Write = Callable[..., Path]
IMAGES, LABELS, SCALE_FACTORS = make_samples(6, 3)
ROWS = [[2, 0, int(a), 1, int(b)] for a, b in LABELS]


def contents(**changes: Any) -> dict[str, Any]:
    """What another program's pickle may hold."""
    return {
        "data": IMAGES.reshape(6, -1),
        "vimh_labels": ROWS,
        "height": 4,
        "width": 5,
        "channels": 3,
        "image_size": [4, 5, 3],
        "scale_factors": SCALE_FACTORS,
        **changes,
    }


def opened(write_by_hand: Write, data: bytes, **more: Any) -> Records:
    folder = write_by_hand(make_json(3, **more), train_batch=data, test_batch=data)
    return open_dataset(folder, check="full").train


def assert_same(records: Records) -> None:
    np.testing.assert_array_equal(records.images, IMAGES)
    np.testing.assert_array_equal(records.labels, LABELS)
    np.testing.assert_array_equal(records.scale_factors, SCALE_FACTORS)
    images, labels, scale_factors = records.gather(np.array([5, 0]))
    np.testing.assert_array_equal(images, IMAGES[[5, 0]])
    np.testing.assert_array_equal(labels, LABELS[[5, 0]])
    np.testing.assert_array_equal(scale_factors, SCALE_FACTORS[[5, 0]])


@pytest.mark.parametrize("channels", [1, 3, 9])
def test_binary_and_pickle_read_back_the_same(channels: int, tmp_path: Path) -> None:
    samples = make_samples(10, channels, 6, 7)
    with DatasetWriter(tmp_path / "x", make_json(channels, 6, 7), output_format="both") as writer:
        writer.write("train", *samples)
        writer.write("test", *make_samples(1, channels, 6, 7))
    metadata = check_dataset(tmp_path / "x").metadata  # compares the two
    for name in ("train", "train_batch"):
        records = Records.open(tmp_path / "x" / name, metadata)
        for what, expected in zip(("images", "labels", "scale_factors"), samples, strict=True):
            np.testing.assert_array_equal(getattr(records, what), expected)


def test_comparison_finds_scrambled_channels(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "x", make_json(3), output_format="both") as writer:
        writer.write("train", IMAGES, LABELS, SCALE_FACTORS)
    # row-major H x W x C, as readers elsewhere took it
    scrambled = contents(data=np.ascontiguousarray(IMAGES.transpose(0, 2, 3, 1)).reshape(6, -1))
    (tmp_path / "x" / "train_batch").write_bytes(pickle.dumps(scrambled))
    info = tmp_path / "x" / "vimh_dataset_info.json"
    info.write_text(info.read_text().replace('"train_batch"', '"ignored"'))
    with pytest.raises(VIMHError, match="train_batch: sample 0: images differ"):
        check_dataset(tmp_path / "x")


def test_any_python_reads_what_we_write(small_dataset: Path) -> None:
    with (small_dataset / "train_batch").open("rb") as file:
        loaded = pickle.load(file)
    images, labels, scale_factors = make_samples(8)
    assert loaded["data"].dtype == np.uint8
    np.testing.assert_array_equal(loaded["data"], images.reshape(8, -1))
    assert loaded["vimh_labels"] == [[2, 0, int(a), 1, int(b)] for a, b in labels]
    assert loaded["scale_factors"].dtype == np.float32
    np.testing.assert_array_equal(loaded["scale_factors"], scale_factors)
    sizes = {key: loaded[key] for key in ("height", "width", "channels", "image_size")}
    assert sizes == {"height": 4, "width": 5, "channels": 1, "image_size": "4x5x1"}


def test_binary_is_preferred(small_dataset: Path) -> None:
    (small_dataset / "train_batch").write_bytes(b"no pickle")
    assert open_dataset(small_dataset).train.path.name == "train"


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol(protocol: int, write_by_hand: Write) -> None:
    assert_same(opened(write_by_hand, pickle.dumps(contents(), protocol=protocol)))


def test_python_2_pickle(write_by_hand: Write) -> None:
    """Strings of bytes, dtype and content as Python 2 and an old numpy wrote them."""
    data = IMAGES.tobytes()
    stream = b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
    stream += b"U\x01b\x87R(K\x01K\x06K\x3c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
    stream += b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    stream += b"T" + struct.pack("<i", len(data)) + data + b"tbU\x06labels"
    stream += pickle.dumps(ROWS, protocol=2)[2:-1] + b"u."
    records = opened(write_by_hand, stream)
    np.testing.assert_array_equal(records.images, IMAGES)
    np.testing.assert_array_equal(records.labels, LABELS)
    assert (records.scale_factors == [[0, 255]]).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"data": IMAGES.reshape(6, -1).tolist()},
        {"data": [bytes(row) for row in IMAGES.reshape(6, -1)]},
        {"data": list(IMAGES.reshape(6, -1))},
        {"data": IMAGES.reshape(6, -1).astype(np.int64)},
        {"data": np.asfortranarray(IMAGES.reshape(6, -1))},
        {"vimh_labels": np.array(ROWS, dtype=np.int64)},
        {"vimh_labels": np.array(ROWS, dtype=">i2")},
        {"vimh_labels": np.array(ROWS, dtype=np.uint8)},
        {"vimh_labels": [[np.int64(v) for v in row] for row in ROWS]},
        {"vimh_labels": [tuple(row) for row in ROWS]},
        {"vimh_labels": [np.array(row) for row in ROWS]},
        {"scale_factors": SCALE_FACTORS.astype(np.float64)},
        {"scale_factors": [tuple(map(float, row)) for row in SCALE_FACTORS]},
        {"scale_factors": [[np.float32(v) for v in row] for row in SCALE_FACTORS]},
        {"scale_factors": list(SCALE_FACTORS)},
        {"vimh_labels": None, "multihead_labels": ROWS},
        {"vimh_labels": None, "labels": ROWS},
        {"anything": "else", "height": None},
    ],
)
def test_every_form(changes: dict, write_by_hand: Write) -> None:
    forms = {k: v for k, v in contents(**changes).items() if v is not None}
    assert_same(opened(write_by_hand, pickle.dumps(forms)))


def test_empty_split(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "x", make_json(), output_format="pickle") as writer:
        writer.write("train", *make_samples(1))
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == [
        "test_batch",
        "train_batch",
        "vimh_dataset_info.json",
    ]
    records = check_dataset(tmp_path / "x").test
    assert records.gather(np.array([], dtype=np.int64))[0].shape == (0, 1, 4, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": None}, "key 'data' is missing"),
        ({"vimh_labels": None}, "none of the keys"),
        ({"height": 5}, "Dimension mismatch.*'height' of the pickle says 5.*says 4"),
        ({"channels": 1}, "Dimension mismatch.*'channels'"),
        ({"data": IMAGES.reshape(6, -1)[:, :-1]}, "'data': expected 60 values a sample, found 59"),
        ({"data": IMAGES}, "'data', sample 0: expected 60 values, found 3"),
        ({"data": IMAGES.reshape(6, -1).tolist()[:5]}, "'vimh_labels' holds 6 samples.*holds 5"),
        ({"data": [[256] * 60] * 6}, "'data', sample 0: expected whole numbers 0 to 255"),
        ({"data": IMAGES.reshape(6, -1) / 255}, "'data', sample 0: expected whole numbers"),
        ({"data": [5] * 6}, "'data', sample 0: expected 60 values, found int"),
        ({"data": "text"}, "'data' must be an array or a list, found str"),
        ({"data": np.array(5)}, "'data' must be an array or a list"),
        ({"vimh_labels": [*ROWS[:3], [2, 0, 1], *ROWS[4:]]}, "sample 3: expected 5 values"),
        ({"vimh_labels": [*ROWS[:3], [1, 0, 1, 1, 1], *ROWS[4:]]}, "sample 3: expected N = 2"),
        ({"vimh_labels": [*ROWS[:3], [2, 1, 1, 0, 1], *ROWS[4:]]}, "sample 3.*found N = 2 and"),
        ({"vimh_labels": [[2, 0, -1, 1, 1]] * 6}, "sample 0: expected whole numbers 0 to 255"),
        ({"vimh_labels": [[1, 0, 5]] * 6}, "also names"),
        ({"vimh_labels": [[3, 0, 5, 1, 5, 7, 5]] * 6}, "parameter id 7"),
        ({"vimh_labels": [[]] * 6}, "sample 0: expected .N, id"),
        ({"vimh_labels": [0] * 6}, "sample 0: expected .N, id"),
        ({"scale_factors": SCALE_FACTORS[:5]}, "'scale_factors' holds 5 samples"),
        ({"scale_factors": SCALE_FACTORS[:, :1]}, r"expected shape \(6, 2\)"),
        ({"scale_factors": [[0, 1, 2]] * 6}, "sample 0: expected .spec_min"),
        ({"scale_factors": [["0", "1"]] * 6}, "sample 0: expected .spec_min"),
        ({"scale_factors": [[10**400, 0]] * 6}, "sample 0: expected .spec_min"),
        ({"scale_factors": [[1e300, 0]] * 6}, "sample 0: expected finite scale factors"),
    ],
)
def test_wrong_contents(changes: dict, message: str, write_by_hand: Write) -> None:
    forms = {k: v for k, v in contents(**changes).items() if v is not None}
    with pytest.raises(VIMHError, match=message) as error:
        opened(write_by_hand, pickle.dumps(forms))
    assert "train_batch" in str(error.value)


def test_sample_count_and_label_range(write_by_hand: Write) -> None:
    with pytest.raises(VIMHError, match=r"'train_samples'.*says 9, the file holds 6"):
        opened(write_by_hand, pickle.dumps(contents()), train_samples=9)


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


class Plain:
    """Any other class."""


def with_global(module: str, name: str, rest: bytes = b")R.") -> bytes:
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + rest


HOSTILE = {
    "os.system": (pickle.dumps(Call(os.system, "touch owned")), "posix.system"),
    "eval": (pickle.dumps(Call(eval, "1")), "builtins.eval"),
    "getattr": (pickle.dumps(Call(getattr, {}, "keys")), "builtins.getattr"),
    "ordered dict": (pickle.dumps(OrderedDict()), "collections.OrderedDict"),
    "a class of ours": (pickle.dumps({"data": Plain()}), "tests.vimh.test_pickles.Plain"),
    "object array": (pickle.dumps({"data": np.array([{}], dtype=object)}), r"numpy.dtype\('O8'\)"),
    "text array": (pickle.dumps({"data": np.array(["a"])}), r"numpy.dtype\('U1'\)"),
    "structured": (pickle.dumps({"data": np.zeros(1, "u1,u1")}), r"numpy.dtype\('V2'\)"),
    "load": (with_global("numpy", "load"), "numpy.load"),
    "memmap": (with_global("numpy", "memmap"), "numpy.memmap"),
    "fromfile": (with_global("numpy", "fromfile"), "numpy.fromfile"),
    "dotted": (with_global("numpy", "ndarray.tofile"), "numpy.ndarray.tofile"),
    "module path": (with_global("numpy.core.multiarray", "fromfile"), "multiarray.fromfile"),
    "inst": (b"(ios\nsystem\n.", "INST"),
    "obj": (b"(cnumpy\ndtype\no.", "OBJ"),
    "new object": (b"\x80\x02cnumpy\ndtype\n)\x81.", "NEWOBJ"),
    "extension": (b"\x80\x02\x82\x01.", "EXT1"),
    "persistent": (b"Pid\n.", "PERSID"),
    "out of band": (b"\x80\x05\x97.", "NEXT_BUFFER"),
    "no instruction": (b"\x80\x02\xff.", "0xff"),
    "set in a list": (b"\x80\x04\x8f.", "EMPTY_SET"),
    "calling text": (b"\x80\x02U\x01a)R.", "calling a str"),
    "state of a global": (b"\x80\x02cnumpy\ndtype\n}b.", "setting the state of a Global"),
    "state of a dict": (b"\x80\x02}}b.", "setting the state of a dict"),
    "array of a size": (
        with_global("numpy.core.multiarray", "_reconstruct", b"(NM\xff\xff\x85Nt R.").replace(
            b"t R", b"tR"
        ),
        "_reconstruct with a size",
    ),
    "ndarray called": (with_global("numpy", "ndarray", b"M\xff\xff\x85\x85R."), ""),
    "huge bytearray": (with_global("builtins", "bytearray", b"J\xff\xff\xff\x7f\x85R."), "latin-1"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_everything_else_is_refused_by_name(
    name: str, write_by_hand: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, refused = HOSTILE[name]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VIMHError, match=f"train_batch.*{refused}"):
        opened(write_by_hand, data)
    assert not (tmp_path / "owned").exists()


def test_refusals_are_told_apart() -> None:
    data = pickle.dumps(Call(os.system, "true"))
    with pytest.raises(RefusedError, match=r"the global posix.system is not allowed"):
        RestrictedUnpickler(io.BytesIO(data)).load()


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"x.",  # bytes of an absurd length
        b"\x80\x05\x96" + struct.pack("<Q", 2**60) + b"x.",  # the same as a bytearray
        b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"x.",  # a frame
        b"\x80\x04\x8d" + struct.pack("<Q", 2**60) + b"x.",  # text
        b"\x80\x04T" + struct.pack("<i", -5) + b"x.",  # less than nothing
        b"\x80\x02Nr\xff\xff\xff\x7f0.",  # a memo index of 2^31: 32 GB in the unpickler in C
        b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",  # a number of 2 GB
        b"(" * 100_000 + b"t" * 100_000 + b".",  # deep nesting
        b"",
        b".",
        b"\x80\x63.",
        b"K\x05.",
        pickle.dumps([1]),
        pickle.dumps({1: 2}),
        pickle.dumps(contents())[:-50],
    ],
)
@pytest.mark.sampled(2)
def test_broken_and_absurd_pickles(data: bytes, write_by_hand: Write) -> None:
    with pytest.raises(VIMHError, match="train_batch"):
        opened(write_by_hand, data)


def test_array_that_claims_more_than_it_holds(write_by_hand: Write) -> None:
    good = pickle.dumps(contents(), protocol=2)
    shape = pickle.dumps((6, 60), protocol=2)[2:-3]
    assert good.count(shape) == 1
    claimed = pickle.dumps((2**40, 60), protocol=2)[2:-3]
    with pytest.raises(VIMHError, match=r"an array of shape \(1099511627776, 60\)"):
        opened(write_by_hand, good.replace(shape, claimed))


def test_amplification_is_capped(write_by_hand: Write) -> None:
    """One row, named a hundred thousand times: small in the file, large in memory."""
    row = bytes(60)
    data = pickle.dumps(contents(data=[row] * 100_000, vimh_labels=[ROWS[0]] * 100_000))
    folder = write_by_hand(make_json(3), train_batch=data, test_batch=data)
    metadata = Metadata.load(folder)
    with pytest.raises(VIMHError, match="'data' holds 100000 rows of 60 values, more than the"):
        read_pickle(folder / "train_batch", metadata, max_bytes=1_000_000)


def test_size_cap_offers_the_converter(small_dataset: Path) -> None:
    metadata = Metadata.load(small_dataset)
    with pytest.raises(VIMHError, match=r"larger than the 100 that are read.*to_binary"):
        read_pickle(small_dataset / "train_batch", metadata, max_bytes=100)
    huge = small_dataset / "huge_batch"
    with huge.open("wb") as file:
        file.truncate(2**41)
    with pytest.raises(VIMHError, match="a pickle of 2199023255552 bytes is larger"):
        Records.open(huge, metadata)


def test_arrays_stand_alone() -> None:
    data = pickle.dumps([np.arange(3), np.float32(2.5), 7])
    array, scalar, number = RestrictedUnpickler(io.BytesIO(data)).load()
    np.testing.assert_array_equal(plain(array), [0, 1, 2])
    assert (scalar, plain(number)) == (2.5, 7)
