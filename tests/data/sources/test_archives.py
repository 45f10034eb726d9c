"""Archives that unpack without an end, and headers that are none."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from src.data.sources.downloads import UNPACKED_FREE, members
from src.data.sources.mnist import read_idx
from src.vimh.errors import VIMHError


def packed(path: Path, **files: bytes) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_wanted_members_in_order(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tar.gz", a=b"1", b=bytes(1000), c=b"")
    assert list(members(path, {"a", "b", "c"})) == [("a", b"1"), ("b", bytes(1000)), ("c", b"")]
    assert list(members(path, {"b"})) == [("b", bytes(1000))]


@pytest.mark.parametrize("wanted", [{"a"}, {"b"}])
def test_archives_that_unpack_to_too_much(wanted: set[str], tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tar.gz", a=bytes(UNPACKED_FREE), b=bytes(UNPACKED_FREE))
    with pytest.raises(VIMHError, match="unpacks to more than"):
        list(members(path, wanted))


@pytest.mark.parametrize("content", [b"x", b"x" * 512, b"a" * 100 + b"0" * 24 + b"7" * 388])
def test_headers_that_are_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(VIMHError, match=r"a\.tar\.gz"):
        list(members(path, {"a"}))


def test_digits_that_unpack_to_too_much(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    count = 2**30 // 784
    header = bytes((0, 0, 8, 3)) + count.to_bytes(4, "big") + (28).to_bytes(4, "big") * 2
    path.write_bytes(gzip.compress(header + bytes(10**6)))
    with pytest.raises(VIMHError, match="that a file of its size may hold"):
        read_idx(path, 3)
