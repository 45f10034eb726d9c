"""Plain values from untrusted files: JSON within bounds, and any value in a message."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from src.vimh.errors import VIMHError

MAX_JSON_BYTES = 16 * 2**20
# A list of one byte in the file takes 60 bytes in memory, an object of seven 230, a name 60.
MAX_CONTAINERS = 250_000
MAX_ITEMS = 250_000
MAX_DEPTH = 32  # of containers in one another
_MAX_SHOWN = 60
_READ_AT_ONCE = 2**20  # bytes of a file


def shown(value: object) -> str:
    """Describe any value shortly, for a message; a long or deep container by its type.

    Example:
        >>> shown("a" * 100), shown([1, "b"]), shown(10**100)
        ("'aaaaaaaaaaaaaaaaaaaa'...", "[1, 'b']", 'a number of 333 bits')
    """
    if isinstance(value, str | bytes):
        return repr(value) if len(value) <= _MAX_SHOWN else f"{value[:20]!r}..."
    if isinstance(value, bool | float | None):
        return repr(value)
    if isinstance(value, int):
        return (
            repr(value) if value.bit_length() <= 128 else f"a number of {value.bit_length()} bits"
        )
    if isinstance(value, list | tuple) and len(value) <= 8:
        text = ", ".join(map(_shown_part, value))
        if len(text) <= _MAX_SHOWN:
            return f"[{text}]" if isinstance(value, list) else f"({text})"
    if isinstance(value, Sequence | Mapping):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


def _shown_part(value: object) -> str:
    return shown(value) if isinstance(value, str | bytes | int | float | None) else "..."


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        first = file.read(_READ_AT_ONCE)  # hashlib's own buffer takes longer than a short file
        if len(first) < _READ_AT_ONCE:
            return hashlib.sha256(first).hexdigest()
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """Read a JSON file in at most 4 times its size and 100 MB of memory.

    Raises:
        VIMHError: It is too large, holds too many values or too deep ones, or is no JSON.
    """
    size = path.stat().st_size
    if size > MAX_JSON_BYTES:
        raise VIMHError(f"{path}: expected at most {MAX_JSON_BYTES} bytes, found {size}")
    with path.open("rb") as file:
        data = file.read(MAX_JSON_BYTES + 1)
    # Those inside of texts count too, so that counting needs no parsing.
    for what, count, most in (
        ("lists and objects", data.count(b"[") + data.count(b"{"), MAX_CONTAINERS),
        ("values", data.count(b",") + data.count(b":"), MAX_ITEMS),
    ):
        if count > most:
            raise VIMHError(f"{path}: expected at most {most} {what}, found {count}")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise VIMHError(f"{path}: not valid JSON: {error}") from error
    check_plain(value, str(path))
    return value


def check_plain(value: object, where: str) -> None:
    """Check that JSON can hold a value, and that a walk through the value ends.

    Raises:
        VIMHError: It holds another type, a text that is no Unicode, or is too large or too deep
            (as one that holds itself is); the message names the key.
    """
    waiting: list[tuple[object, str, int]] = [(value, "", 0)]
    seen = 0
    while waiting:
        node, key, depth = waiting.pop()
        if not isinstance(node, Mapping | list | tuple):
            _check_leaf(node, key, where)
            continue
        seen += 1 + len(node)
        if depth > MAX_DEPTH or seen > MAX_ITEMS + MAX_CONTAINERS:
            raise VIMHError(
                f"{where}: {key}expected at most {MAX_DEPTH} levels of lists and objects and "
                f"{MAX_ITEMS + MAX_CONTAINERS} values, found more"
            )
        if isinstance(node, Mapping):
            for name in node:
                if not isinstance(name, str):
                    raise VIMHError(f"{where}: {key}expected names as keys, found {shown(name)}")
                _check_leaf(name, key, where)
            # A message names the outermost key only: texts of all keys would be long copies.
            waiting += [(node[n], key or f"key {shown(n)}: ", depth + 1) for n in node]
        else:
            waiting += [(item, key, depth + 1) for item in node]


def _check_leaf(value: object, key: str, where: str) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise VIMHError(
                f"{where}: {key}expected Unicode text, found half a surrogate pair in "
                f"{shown(value)}"
            ) from error
    elif not isinstance(value, bool | int | float | None):
        raise VIMHError(f"{where}: {key}expected plain values, found {shown(value)}")
