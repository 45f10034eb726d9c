"""Decode the texts of a pickle with no more memory than a text of Latin-1 takes."""

import pickle
import re

from src.vimh.stand_ins import RefusedError

# Older protocols write bytes as Latin-1. Any other character makes a text take 2 or 4 bytes each.
LONG_TEXT = 2**20
_NOT_LATIN = re.compile(rb"[\xc4-\xff]")
_NOT_LATIN_ESCAPE = re.compile(rb"\\u(?!00)|\\U")
_ESCAPE = re.compile(rb"\\(?:[\\'\"abfnrtv]|x[0-9a-fA-F]{2}|[0-3]?[0-7]{1,2})")


def text_of(raw: bytes) -> str:
    """Decode UTF-8; pickles may hold halves of surrogate pairs.

    Raises:
        RefusedError: It is long and not Latin-1.
    """
    _refuse_wide(raw, _NOT_LATIN)
    return str(raw, "utf-8", "surrogatepass")


def text_of_escapes(raw: bytes) -> str:
    """Decode a line of protocol 0, Latin-1 with escapes.

    Raises:
        RefusedError: It is long and not Latin-1.
    """
    _refuse_wide(raw, _NOT_LATIN_ESCAPE)
    return str(raw, "raw-unicode-escape")


def _refuse_wide(raw: bytes, wide: re.Pattern[bytes]) -> None:
    if len(raw) > LONG_TEXT and wide.search(raw):
        raise RefusedError(f"a text of {len(raw)} bytes that is not Latin-1 is not allowed")


def unescaped(raw: bytes) -> bytes:
    """Undo the escapes of a Python 2 string, which its `repr` wrote for unprintable bytes.

    Raises:
        UnpicklingError: It holds an escape that `repr` does not write.
    """
    if b"\\" not in raw:
        return raw
    if b"\\" in _ESCAPE.sub(b"", raw):
        raise pickle.UnpicklingError("a string with an escape that Python 2 does not write")
    return raw.decode("unicode_escape").encode("latin-1")
