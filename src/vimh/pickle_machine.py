"""The state of the pickle reader: bytes, stack, memo, and the memory that is left."""

import io
import mmap
import pickle
import re
import struct
from typing import Any

from src.vimh.stand_ins import RefusedError

MEMORY_FACTOR, MEMORY_FREE = 2, 96 * 2**20
MAX_NUMBER = 1024  # bytes of a number or of a global's name
MAX_GAP = 1000  # of memo indices
_MEMO, _MARK = 9, 40  # bytes of memory for each, at most
# Older protocols write bytes as Latin-1. Any other character makes a text take 2 or 4 bytes each.
_LONG_TEXT = 2**20
_NOT_LATIN = {
    "utf-8": re.compile(rb"[\xc4-\xff]"),
    "raw-unicode-escape": re.compile(rb"\\u(?!00)|\\U"),
}
_ESCAPE = re.compile(rb"\\(?:[\\'\"abfnrtv]|x[0-9a-fA-F]{2}|[0-3]?[0-7]{1,2})")


def text_of(raw: bytes, encoding: str) -> str:
    """Decode UTF-8, or a line of protocol 0; pickles may hold halves of surrogate pairs.

    Raises:
        RefusedError: It is long and not Latin-1, so that it takes more memory than bytes.
    """
    if len(raw) > _LONG_TEXT and _NOT_LATIN[encoding].search(raw):
        raise RefusedError(f"a text of {len(raw)} bytes that is not Latin-1 is not allowed")
    return str(raw, encoding, "surrogatepass")


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


class PickleMachine:
    """Read operands, keep the stack and count the memory; a subclass has the instructions.

    `position` is that of the next byte to read.
    """

    def __init__(self, file: mmap.mmap | io.BytesIO) -> None:
        self.position = 0
        self._data = file.getvalue() if isinstance(file, io.BytesIO) else file
        self._size = len(self._data)
        self._room = MEMORY_FACTOR * self._size + MEMORY_FREE
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: list[object] = []

    def _take(self, num_bytes: int) -> None:
        """Count memory."""
        self._room -= num_bytes
        if self._room < 0:
            raise RefusedError(
                f"what it makes takes more memory than {MEMORY_FACTOR} times its {self._size} "
                f"bytes and {MEMORY_FREE // 2**20} MB, which is not allowed"
            )

    def _read(self, length: int) -> bytes:
        start, end = self.position, self.position + length
        if not start <= end <= self._size:
            raise pickle.UnpicklingError(f"{length} bytes are said to follow, but do not")
        self.position = end
        return self._data[start:end]

    def _unpack(self, form: str) -> Any:
        (value,) = struct.unpack_from(form, self._data, self.position)
        self.position += struct.calcsize(form)
        return value

    def _line(self, most: int | None = MAX_NUMBER) -> bytes:
        end = self._size if most is None else min(self._size, self.position + most)
        found = self._data.find(b"\n", self.position, end)
        if found < 0:
            raise pickle.UnpicklingError("a line is too long or does not end")
        line = self._read(found - self.position)
        self.position += 1
        return line

    def _pop_mark(self) -> list[object]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _mark(self) -> None:
        self._take(_MARK)
        self._marks.append(len(self._stack))

    def _pop(self) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._stack.pop()

    # The memo

    def _get(self, index: int) -> None:
        if index < 0:
            raise pickle.UnpicklingError("a memo index below 0")
        self._stack.append(self._memo[index])

    def _put(self, index: int) -> None:
        """Remember the last value. Picklers count; Python 2's leaves out numbers now and then."""
        memo, value = self._memo, self._stack[-1]
        gap = index - len(memo)
        if index < 0 or gap > MAX_GAP:
            raise RefusedError(f"a memo index of {index} after {len(memo)} others is not allowed")
        self._take(_MEMO * (1 + max(0, gap)))
        if gap < 0:
            memo[index] = value
        else:
            memo.extend([None] * gap)
            memo.append(value)
