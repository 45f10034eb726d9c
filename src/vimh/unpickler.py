"""A pickle reader that builds plain containers and numeric arrays, and nothing else.

A pickle is a program. This one may only use the instructions and the few globals that a dict of
numbers, strings, lists and numpy arrays needs; each global is a stand-in of our own, so that no
foreign function runs, not even numpy's. Everything else is refused by name. It is the pure-Python
unpickler of the standard library that reads, because the one in C allocates what a pickle claims
(a memo index, the length of a string) before it looks at the file.
"""

import io
import math
import mmap
import pickle
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from src.vimh.errors import VIMHError

# fmt: off
_INSTRUCTIONS = (
    "PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "DUP", "NONE", "NEWTRUE", "NEWFALSE",
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "EMPTY_TUPLE", "TUPLE",
    "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_DICT",
    "DICT", "SETITEM", "SETITEMS", "GET", "BINGET", "LONG_BINGET", "PUT", "BINPUT",
    "LONG_BINPUT", "MEMOIZE", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "BYTEARRAY8",
)
# fmt: on
_NUMBER_TYPES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
_MAX_DIMENSIONS = 4


class RefusedError(VIMHError):
    """The pickle wants something that is not on the list; the message names it."""


def shown(value: object) -> str:
    """A value for a message. Containers by their type: one may hold itself 2^80 times."""
    if isinstance(value, str | bytes | int | float | None):
        return repr(value[:20] if isinstance(value, str | bytes) else value)[:40]
    return type(value).__name__


class _DtypeState:
    """Stands for a numpy dtype while unpickling: a plain number type, nothing structured."""

    def __init__(self, spec: object, *_: object) -> None:
        if spec not in _NUMBER_TYPES:
            raise RefusedError(f"numpy.dtype({shown(spec)}) is not allowed; numbers are")
        self.dtype = np.dtype(str(spec)).newbyteorder("<")

    def set_state(self, state: object) -> None:
        """Take the byte order; there is nothing else in a plain number type."""
        if not isinstance(state, tuple) or len(state) < 8 or state[2:5] != (None, None, None):
            raise RefusedError("a numpy.dtype with fields or an unknown state is not allowed")
        if state[1] == ">":
            self.dtype = self.dtype.newbyteorder(">")
        elif state[1] not in ("<", "|"):
            raise RefusedError("a numpy.dtype without a byte order is not allowed")


class _ArrayState:
    """Stands for a numpy array while unpickling, until its content comes."""

    array: np.ndarray | None = None

    def set_state(self, state: object) -> None:
        """Take the content, checked against the bytes that are there."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise RefusedError("a numpy.ndarray with an unknown state is not allowed")
        _, shape, dtype, fortran, data = state
        self.array = _array(data, dtype, shape, "F" if fortran else "C")


def _array(data: object, dtype: object, shape: object, order: object) -> np.ndarray:
    """Make an array over `data`; nothing is allocated for what is not there."""
    if isinstance(data, str):  # bytes of a Python 2 pickle
        data = data.encode("latin-1")
    if not isinstance(dtype, _DtypeState) or not isinstance(data, bytes | bytearray):
        raise RefusedError("a numpy.ndarray of anything but plain numbers is not allowed")
    shape = (shape,) if isinstance(shape, int) else shape
    if not isinstance(shape, tuple) or len(shape) > _MAX_DIMENSIONS or order not in ("C", "F"):
        raise RefusedError("a numpy.ndarray of this shape is not allowed")
    if not all(isinstance(length, int) and length >= 0 for length in shape):
        raise RefusedError("a numpy.ndarray of this shape is not allowed")
    if math.prod(shape) * dtype.dtype.itemsize != len(data):
        raise VIMHError(
            f"an array of shape {shape} and type {dtype.dtype} cannot be made of {len(data)} bytes"
        )
    return np.frombuffer(data, dtype=dtype.dtype).reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(_kind: object, shape: object, _dtype: object) -> _ArrayState:
    if shape != (0,):
        raise RefusedError("numpy's _reconstruct with a size of its own is not allowed")
    return _ArrayState()


def _from_buffer(data: object, dtype: object, shape: object, order: object, *_: object) -> object:
    return _array(data, dtype, shape, order)


def _scalar(dtype: object, data: object) -> object:
    return _array(data, dtype, (), "C").item()


def _encode(text: object, encoding: object = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise RefusedError("_codecs.encode of anything but latin-1 text is not allowed")
    return text.encode("latin-1")


def _bytes(data: object = b"", encoding: object = "latin1") -> bytes:
    return data if isinstance(data, bytes) else _encode(data, encoding)


@dataclass(frozen=True)
class _Global:
    """Stands for a global that a pickle may call."""

    make: Callable[..., object]


_ALLOWED: dict[tuple[str, str], _Global] = {
    ("numpy", "dtype"): _Global(_DtypeState),
    ("numpy", "ndarray"): _Global(_reconstruct),  # only ever named, as _reconstruct's argument
    ("_codecs", "encode"): _Global(_encode),
    ("builtins", "bytes"): _Global(_bytes),
    ("__builtin__", "bytes"): _Global(_bytes),
    ("builtins", "bytearray"): _Global(_bytes),
    ("__builtin__", "bytearray"): _Global(_bytes),
}
for _core in ("numpy.core", "numpy._core"):
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = _Global(_reconstruct)
    _ALLOWED[f"{_core}.multiarray", "scalar"] = _Global(_scalar)
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = _Global(_from_buffer)


class RestrictedUnpickler(pickle._Unpickler):
    """Read one pickle; see the module's docstring.

    Args:
        file: The bytes; a kind whose `read` allocates no more than there is to read.

    Raises:
        RefusedError: The pickle uses a global or an instruction that is not on the list.
    """

    stack: list[Any]
    append: Callable[[object], None]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]

    def __init__(self, file: mmap.mmap | io.BytesIO) -> None:
        super().__init__(file, encoding="latin-1")

    def find_class(self, module: str, name: str) -> Any:
        """Return our stand-in for a global, or refuse it by name."""
        if (module, name) not in _ALLOWED:
            raise RefusedError(f"the global {module}.{name} is not allowed")
        return _ALLOWED[module, name]

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        function = self.stack[-1]
        if not isinstance(function, _Global) or not isinstance(arguments, tuple):
            raise RefusedError(f"calling a {type(function).__name__} is not allowed")
        try:
            self.stack[-1] = function.make(*arguments)
        except TypeError as error:
            raise RefusedError(f"a call with {len(arguments)} arguments is not allowed") from error

    def _build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if not isinstance(target, _DtypeState | _ArrayState):
            raise RefusedError(f"setting the state of a {type(target).__name__} is not allowed")
        target.set_state(state)

    def _set_item(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self._add(self.stack[-1], [key, value])

    def _set_items(self) -> None:
        items = self.pop_mark()
        self._add(self.stack[-1], items)

    def _dict(self) -> None:
        items = self.pop_mark()
        made: dict[Any, Any] = {}
        self._add(made, items)
        self.append(made)

    def _add(self, target: object, items: list[Any]) -> None:
        # Hashing a tuple that holds itself 2^80 times would not end.
        if not isinstance(target, dict) or len(items) % 2:
            raise RefusedError(f"setting an item of a {type(target).__name__} is not allowed")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | bytes | int | float | None):
                raise RefusedError(f"a {type(key).__name__} as a key is not allowed")
            target[key] = value

    def _bytearray(self) -> None:
        length = int.from_bytes(self.read(8), "little")
        self.append(self.read(length))


def _refuse(name: str) -> Callable[[RestrictedUnpickler], NoReturn]:
    def refuse(_: RestrictedUnpickler) -> NoReturn:
        raise RefusedError(f"the instruction {name} is not allowed")

    return refuse


def _instructions() -> dict[int, Callable[[Any], None]]:
    """The table of instructions: the standard library's, ours, or a refusal for every byte."""
    table: dict[int, Callable[[Any], None]] = {i: _refuse(f"0x{i:02x}") for i in range(256)}
    ours = {
        "REDUCE": RestrictedUnpickler._reduce,
        "BUILD": RestrictedUnpickler._build,
        "BYTEARRAY8": RestrictedUnpickler._bytearray,
        "SETITEM": RestrictedUnpickler._set_item,
        "SETITEMS": RestrictedUnpickler._set_items,
        "DICT": RestrictedUnpickler._dict,
    }
    for opcode in pickletools.opcodes:
        code = ord(opcode.code)
        if opcode.name not in _INSTRUCTIONS:
            table[code] = _refuse(opcode.name)
        else:
            table[code] = ours.get(opcode.name) or pickle._Unpickler.dispatch[code]
    return table


RestrictedUnpickler.dispatch = _instructions()


def plain(value: object) -> Any:
    """Return the array that a stand-in has become, and anything else as it is."""
    return value.array if isinstance(value, _ArrayState) else value
