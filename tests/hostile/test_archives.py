"""Files that are small and claim much: their reading is bounded by their size."""

import io
import json
import pickle
import resource
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from src.checkpoint import read_checkpoint
from src.checkpoints.checkpoint_io import load_checkpoint
from src.utils.errors import CheckpointError

P = pickle
PROTO = P.PROTO + b"\x02"
FLOATS = b"ctorch\nFloatStorage\n"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
ORDERED = b"ccollections\nOrderedDict\n)R"


def text(value: str) -> bytes:
    return P.BINUNICODE + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    content = P.encode_long(value)
    return P.LONG1 + bytes([len(content)]) + content


def storage(key: str, numel: int) -> bytes:
    pid = text("storage") + FLOATS + text(key) + text("cpu") + number(numel)
    return P.MARK + pid + P.TUPLE + P.BINPERSID


def tensor(key: str, numel: int, size: int, stride: int, offset: int = 0) -> bytes:
    shape = number(size) + P.TUPLE1 + number(stride) + P.TUPLE1
    arguments = storage(key, numel) + number(offset) + shape + P.NEWFALSE + ORDERED
    return REBUILD + P.MARK + arguments + P.TUPLE + P.REDUCE


def under_key(value: bytes) -> bytes:
    return PROTO + P.EMPTY_DICT + text("x") + value + P.SETITEM + P.STOP


def doubled(make: bytes, depth: int) -> bytes:
    """Two of what was before, `depth` times, through the memo."""
    pickled = make
    for _ in range(depth):
        pickled += P.BINPUT + b"\x00" + P.BINGET + b"\x00" + P.TUPLE2
    return pickled


def as_key(value: bytes) -> bytes:
    return PROTO + P.EMPTY_DICT + value + P.NONE + P.SETITEM + P.STOP


def colliding(count: int) -> bytes:
    keys = b"".join(number(i * (2**61 - 1)) + P.NONE for i in range(count))
    return PROTO + P.EMPTY_DICT + P.MARK + keys + P.SETITEMS + P.STOP


def nested(count: int) -> bytes:
    return under_key(P.EMPTY_LIST * count + P.APPEND * (count - 1))


def rebuilt(count: int) -> bytes:
    attributes = P.EMPTY_DICT + P.MARK
    attributes += b"".join(text(f"k{i}") + P.NONE for i in range(5000)) + P.SETITEMS
    build = P.BINGET + b"\x01" + P.BUILD
    return PROTO + attributes + P.BINPUT + b"\x01" + ORDERED + build * count + P.STOP


def long_tuples(count: int) -> bytes:
    """Many calls with one tuple of many parts: looked at each time, they would take an hour."""
    many = P.MARK + P.NONE * 300_000 + P.TUPLE + P.BINPUT + b"\x02" + P.BINPUT + b"\x03"
    call = REBUILD + P.BINGET + b"\x02" + P.REDUCE
    return PROTO + P.MARK + many + call * count + P.TUPLE + P.STOP


PICKLES: dict[str, bytes] = {
    "calls with a long tuple": long_tuples(1000),
    "nested tuples as a key": as_key(doubled(P.NONE + P.TUPLE1, 60)),
    "a tuple of tuples of tuples": under_key(doubled(P.NONE + P.TUPLE1, 60)),
    "numbers of one hash": colliding(20_000),
    "deep": nested(50_000),
    "marks": PROTO + P.MARK * 2_000_000 + P.STOP,
    "dicts": PROTO + P.MARK + P.EMPTY_DICT * 3_000_000 + P.TUPLE + P.STOP,
    "attributes again and again": rebuilt(100_000),
    "a list in itself": under_key(P.EMPTY_LIST + b"q\x00h\x00" + P.APPEND),
    "larger than its storage": under_key(tensor("0", 4, 10**12, 1)),
    "a view of one number": under_key(tensor("0", 4, 10**12, 0)),
    "a negative stride": under_key(tensor("0", 4, 4, -1)),
    "an offset beyond": under_key(tensor("0", 4, 2, 1, offset=3)),
    "a storage that claims more": under_key(tensor("0", 10**9, 4, 1)),
    "a storage that claims less": under_key(tensor("0", 3, 3, 1)),
    "a storage that is not there": under_key(tensor("7", 4, 4, 1)),
    "many views": PROTO + P.MARK + tensor("0", 4, 4, 1) * 30_000 + P.TUPLE + P.STOP,
    "a text that is not there": PROTO + P.BINUNICODE + b"\xff\xff\xff\x7f" + b"x" + P.STOP,
    "nothing on the stack": PROTO + P.TUPLE3 + P.STOP,
    "a memo that is not there": PROTO + P.BINGET + b"\x05" + P.STOP,
    "another protocol": b"\x80\x04" + P.EMPTY_DICT + P.STOP,
    "a function as a value": under_key(REBUILD),
    "a class as a value": under_key(FLOATS),
    "an object of a class": under_key(b"ctorch\ndevice\n" + text("cpu") + P.TUPLE1 + P.REDUCE),
    "a new object": under_key(b"ctorch.nn.parameter\nParameter\n" + P.EMPTY_TUPLE + P.NEWOBJ),
    "methods of a dict": under_key(
        ORDERED + P.EMPTY_DICT + text("items") + P.NONE + P.SETITEM + P.BUILD
    ),
}  # fmt: skip


def archive(path: Path, pickled: bytes, data: bytes = bytes(16), **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/byteorder", "little")
        file.writestr("archive/data/0", data)
        for name, content in members.items():
            file.writestr(name, content)
    return path


def refused(path: Path, seconds: float = 60) -> str:
    """The reason; a small file takes neither long nor much memory.

    Here each call's types are checked, which takes ten times as long as the reading alone.
    """
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert time.process_time() - start < seconds
    assert grown < 200 * 1024 + 4 * path.stat().st_size // 1024
    assert len(str(caught.value)) < 1000
    return str(caught.value)


LONG = ("many views", "dicts", "marks")  # tens of seconds where types are checked


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LONG)) for n in PICKLES]
)
@pytest.mark.sampled(3)
def test_pickles(name: str, tmp_path: Path) -> None:
    refused(archive(tmp_path / "a.ckpt", PICKLES[name]))


def test_an_honest_pickle_of_the_same_parts(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.ckpt", under_key(tensor("0", 4, 2, 2, offset=1)))
    assert load_checkpoint(path)["x"].shape == (2,)


def test_compressed_members(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", under_key(P.NONE))
        file.writestr("archive/data/0", bytes(50_000_000))
    assert "compressed" in refused(path)


@pytest.mark.parametrize(
    "name",
    ["archive/../x", "/etc/x", "archive/code/x.py", "other/version", "archive/DATA.PKL", "version",
     "archive/data/x", "archive/data/0/1", "archive/constants.pkl", "archive\\version", "a\x00b"],
)  # fmt: skip
def test_members_that_torch_does_not_write(name: str, tmp_path: Path) -> None:
    refused(archive(tmp_path / "a.ckpt", under_key(P.NONE), **{name: b"x"}))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.ckpt", under_key(P.NONE), **{"archive/data/0": bytes(16)})
    assert "two members" in refused(path)


def test_members_that_overlap(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.ckpt", under_key(P.NONE), data=bytes(100_000))
    content = bytearray(path.read_bytes())
    # Every entry of the table of contents leads to the same large member.
    large = content.index(b"PK\1\2", content.index(b"PK\1\2"))
    entries = [i for i in range(len(content)) if content[i : i + 4] == b"PK\1\2"]
    assert large == entries[0]
    for entry in entries:
        content[entry + 20 : entry + 28] = struct.pack("<II", 90_000, 90_000)
        content[entry + 42 : entry + 46] = struct.pack("<I", 0)
    path.write_bytes(content)
    refused(path)


def test_a_table_of_contents_of_many_members(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", under_key(P.NONE))
        for key in range(70_000):
            file.writestr(f"archive/data/{key}", b"")
    assert "table of contents" in refused(path)


def test_what_follows_the_end(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.ckpt", under_key(P.NONE))
    path.write_bytes(path.read_bytes() + b"more")
    refused(path)


def safetensors(path: Path, header: bytes, claimed: int | None = None, data: bytes = b"") -> Path:
    length = len(header) if claimed is None else claimed
    path.write_bytes(length.to_bytes(8, "little") + header + data)
    return path


ONE = '"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'


@pytest.mark.parametrize(
    "make",
    [
        lambda path: safetensors(path, b"{}", 2**62),
        lambda path: safetensors(path, b"{}", 10**7),
        lambda path: safetensors(path, b" " * (17 * 2**20)),
        lambda path: safetensors(path, b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
        lambda path: safetensors(path, f"{{{ONE},{ONE}}}".encode(), data=bytes(4)),
        lambda path: safetensors(path, f"{{{ONE.replace('[1]', '[1000000000000]')}}}".encode()),
        lambda path: safetensors(path, f"{{{ONE.replace('[0,4]', '[4,0]')}}}".encode()),
        lambda path: safetensors(path, b'{"__metadata__":{"avix":5}}'),
        lambda path: safetensors(path, b'{"__metadata__":[]}'),
        lambda path: safetensors(path, b"\xff\xfe"),
        lambda path: safetensors(path, b""),
        lambda path: safetensors(path, described("[" * 100_000)),
        lambda path: safetensors(path, described("1" * 100_000)),
        lambda path: safetensors(path, described("[" + "[]," * 2_000_000 + "[]]")),
        lambda path: safetensors(path, described("NaN")),
        lambda path: safetensors(path, described('{"config":{},"metadata":{}}')),
        lambda path: safetensors(path, described('{"config":{"a":1},"config":[],"metadata":{}}')),
    ],
)
def test_safetensors(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path / "a.safetensors")
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"a\.safetensors"):
        read_checkpoint(path)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200 * 1024 + 4 * path.stat().st_size // 1024
    assert time.monotonic() - start < 20


def described(avix: str) -> bytes:
    return json.dumps({"__metadata__": {"avix": avix}}).encode()


def test_reading_an_honest_file_runs_no_unpickler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    torch.save({"w": torch.arange(4.0), "n": [1, None, "a", 0.5]}, buffer)
    (tmp_path / "a.ckpt").write_bytes(buffer.getvalue())
    for owner in (pickle, torch):
        monkeypatch.delattr(owner, "load")
    monkeypatch.delattr(pickle, "Unpickler")
    assert load_checkpoint(tmp_path / "a.ckpt")["n"] == [1, None, "a", 0.5]
