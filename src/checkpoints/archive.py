"""The archive that ``torch.save`` writes: a zip file of members that are stored as they are.

One member holds the containers as a pickle, and one the bytes of each tensor's storage. Nothing is
taken that a file of this size does not hold, and what is read are plain containers that end.
"""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

MAX_DIRECTORY_BYTES = 4 * 2**20  # of the archive's table of contents: 40,000 tensors
MAX_DEPTH = 64  # of containers in containers
_CHUNK_BYTES = 2**20
_CONTAINERS = (dict, OrderedDict, Counter, list, tuple)
_LEAVES = (str, int, float, bool, type(None), Tensor, torch.nn.Parameter)
_END = struct.Struct("<4s4H2LH")  # of an archive: signature, ..., directory's size, offset, comment
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_BYTES = 20
_MEMBER = re.compile(
    r"([^/]+)/(data\.pkl|byteorder|version|\.format_version|\.storage_alignment"
    r"|\.data/serialization_id|data/[0-9]+)"
)


class Refused(pickle.UnpicklingError):
    """The file holds something that is never read, or more than one of its size may."""


def check_directory(path: Path, size: int) -> None:
    """Refuse a table of contents that would take more memory than any checkpoint's."""
    length = _END.size + _LOCATOR_BYTES + _END_64.size
    with path.open("rb") as file:
        file.seek(max(0, size - length))
        tail = file.read(length)
    if len(tail) < _END.size:
        raise zipfile.BadZipFile("it is too short")
    signature, *_, directory_bytes, _, comment_bytes = _END.unpack(tail[-_END.size :])
    if signature != b"PK\5\6" or comment_bytes:
        raise zipfile.BadZipFile("something follows its end")
    if len(tail) == length and tail[_END_64.size :].startswith(b"PK\6\7"):
        signature, *_, directory_bytes, _ = _END_64.unpack(tail[: _END_64.size])
        if signature != b"PK\6\6":
            raise zipfile.BadZipFile("its end is damaged")
    if directory_bytes > min(size, MAX_DIRECTORY_BYTES):
        raise Refused(f"its table of contents takes {directory_bytes} bytes")


def members_of(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Return the members by their names below the archive's own; check that each is stored once."""
    members: dict[str, zipfile.ZipInfo] = {}
    prefixes, total = set(), 0
    for info in archive.infolist():
        matched = _MEMBER.fullmatch(info.filename)
        if matched is None or info.orig_filename != info.filename:
            raise Refused(
                f"it has a member {info.filename[:60]!r}, which torch.save writes in none"
            )
        prefixes.add(matched[1])
        if matched[2] in members or len(prefixes) > 1:
            raise Refused(f"it has two members for {matched[2]}")
        stored = info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 0x1
        if not stored or info.compress_size != info.file_size:
            raise Refused(f"its member {matched[2]} is compressed")
        total += info.file_size
        if total > size:
            raise Refused("its members claim more bytes than it has")
        members[matched[2]] = info
    if "data.pkl" not in members:
        raise Refused("it has no member data.pkl")
    return members


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Read a member's bytes; zipfile checks their checksum."""
    content = archive.read(info)
    if len(content) != info.file_size:
        raise zipfile.BadZipFile(f"{info.filename} is cut off")
    return content


def check_the_rest(
    archive: zipfile.ZipFile, members: Iterable[zipfile.ZipInfo], read: set[str]
) -> None:
    """Check the checksums of the members that were not read: a flipped bit anywhere is damage."""
    for info in members:
        if info.filename not in read:
            with archive.open(info) as member:
                while member.read(_CHUNK_BYTES):
                    pass


@dataclass(frozen=True)
class Storage:
    """A storage in the pickle: its bytes, as uint8, and the type of its numbers."""

    content: Tensor
    dtype: torch.dtype

    @property
    def numel(self) -> int:
        """The number of its elements."""
        return self.content.numel() // self.dtype.itemsize


class Storages:
    """The storages of an open archive, each read once; without data they are on "meta"."""

    def __init__(
        self, archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], with_data: bool
    ) -> None:
        self._archive, self._members, self._with_data = archive, members, with_data
        self._contents: dict[str, Tensor] = {}
        self.read: set[str] = set()

    def get(self, key: str, dtype: torch.dtype, numel: int) -> Storage:
        """Return the storage of a key.

        Raises:
            Refused: If the archive has none, or one of another size.
        """
        info = self._members.get(f"data/{key}")
        if info is None or numel * dtype.itemsize != info.file_size:
            found = "missing" if info is None else f"of {info.file_size} bytes"
            raise Refused(f"its storage {key[:20]} of {numel} numbers is {found}")
        if key not in self._contents:
            self._contents[key] = self._content(info)
        return Storage(self._contents[key], dtype)

    def _content(self, info: zipfile.ZipInfo) -> Tensor:
        if not self._with_data:
            return torch.empty(info.file_size, dtype=torch.uint8, device="meta")
        content = torch.empty(info.file_size, dtype=torch.uint8)
        target, start = content.numpy(), 0
        with self._archive.open(info) as member:
            while piece := member.read(_CHUNK_BYTES):
                target[start : start + len(piece)] = np.frombuffer(piece, dtype=np.uint8)
                start += len(piece)
        if start != info.file_size:
            raise zipfile.BadZipFile(f"{info.filename} is cut off")
        self.read.add(info.filename)
        return content


def check_plain_tree(root: object, most: int) -> None:
    """Refuse data that is not plain, holds itself, is too deep, or takes too many visits.

    A list of two lists of two lists ... is small in a file; whoever walks it visits 2^depth parts.

    Each part of an honest file takes a byte or more, so that its size is the most visits.

    Raises:
        Refused: Names the part by its first two keys.
    """
    visits: dict[int, int] = {}  # of a container and all in it
    depths: dict[int, int] = {}
    waiting: list[tuple[object, str, bool]] = [(root, "", False)]
    open_now: set[int] = set()
    while waiting:
        node, where, is_done = waiting.pop()
        if type(node) not in _CONTAINERS:
            if type(node) not in _LEAVES:
                raise Refused(f"{where or 'it'} holds a {type(node).__name__}, no plain data")
            continue
        key = id(node)
        if key in visits:
            continue
        parts = _parts(node)
        if not is_done:
            if key in open_now:
                raise Refused(f"{where or 'it'} is not what it should be: it holds itself")
            open_now.add(key)
            waiting.append((node, where, True))
            waiting += [(part, _below(where, name), False) for name, part in parts]
            continue
        open_now.discard(key)
        visits[key] = 1 + sum(visits.get(id(part), 1) for _, part in parts)
        depths[key] = 1 + max((depths.get(id(part), 0) for _, part in parts), default=0)
        if visits[key] > most or depths[key] > MAX_DEPTH:
            raise Refused(
                f"{where or 'it'} is not what it should be: it has more than {most} parts, or "
                f"parts more than {MAX_DEPTH} deep"
            )


def _parts(node: Any) -> list[tuple[object, object]]:
    """Return a container's parts with the names that a message may show."""
    if isinstance(node, dict):
        more = vars(node).items() if type(node) is OrderedDict else ()
        return [*node.items(), *more]
    return [("", part) for part in node]


def _below(where: str, name: object) -> str:
    if "." in where or type(name) is not str or not name:
        return where
    return f"{where}.{name[:40]}" if where else name[:40]
