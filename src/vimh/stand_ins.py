"""The project's own stand-ins for a pickle's globals and lists while it is read.

A call of a stand-in runs no foreign function, and takes no more time or memory than its arguments
have bytes: each stand-in checks the type of an argument before it looks at the value.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from src.vimh.errors import VIMHError
from src.vimh.plain import shown

_NUMBER_TYPES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
_MAX_DIMENSIONS = 4
_MAX_ARGUMENTS = 16


class RefusedError(VIMHError):
    """The pickle wants something that is not on the list; the message names it."""


class PlainList:
    """A list while unpickling: one byte an item as long as all items are whole numbers 0…255."""

    __slots__ = ("items",)

    def __init__(self, items: bytearray | list[Any]) -> None:
        self.items = items

    def append(self, item: object) -> int:
        """Add an item; return the bytes of memory that it takes."""
        if isinstance(self.items, bytearray) and type(item) is int and 0 <= item < 256:
            self.items.append(item)
            return 1
        return self.extend([item])

    def extend(self, items: bytes | list[object]) -> int:
        """Add items; return the bytes of memory that they take."""
        if isinstance(self.items, bytearray):
            if isinstance(items, bytes):
                self.items += items
                return len(items)
            self.items = list(self.items)
            self.items.extend(items)
            return 9 * len(self.items)
        self.items.extend(items)
        return 9 * len(items)


class DtypeState:
    """A stand-in for a numpy dtype: a plain number type, nothing structured."""

    __slots__ = ("dtype",)

    def __init__(self, spec: object, *_: object) -> None:
        if not isinstance(spec, str) or spec not in _NUMBER_TYPES:
            raise RefusedError(f"numpy.dtype({shown(spec)}) is not allowed; numbers are")
        self.dtype = np.dtype(spec).newbyteorder("<")

    def set_state(self, state: object) -> None:
        """Take the byte order, the only state of a plain number type."""
        if not isinstance(state, tuple) or not 8 <= len(state) <= _MAX_ARGUMENTS:
            raise RefusedError("a numpy.dtype with an unknown state is not allowed")
        if any(part is not None for part in state[2:5]):
            raise RefusedError("a numpy.dtype with fields is not allowed")
        order = state[1]
        if not isinstance(order, str) or order not in ("<", ">", "|"):
            raise RefusedError("a numpy.dtype without a byte order is not allowed")
        if order == ">":
            self.dtype = self.dtype.newbyteorder(">")


class ArrayState:
    """A stand-in for a numpy array until its content is read."""

    __slots__ = ("array",)

    def __init__(self) -> None:
        self.array: np.ndarray | None = None

    def set_state(self, state: object) -> None:
        """Take the content; check shape and type against the number of bytes."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise RefusedError("a numpy.ndarray with an unknown state is not allowed")
        _, shape, dtype, fortran, data = state
        self.array = _array(
            data, dtype, shape, "F" if isinstance(fortran, int) and fortran else "C"
        )


def _array(data: object, dtype: object, shape: object, order: object) -> np.ndarray:
    """Make an array over `data`, without a copy."""
    if isinstance(data, str):  # bytes of a Python 2 pickle
        data = data.encode("latin-1")
    if not isinstance(dtype, DtypeState) or not isinstance(data, bytes):
        raise RefusedError("a numpy.ndarray of anything but plain numbers is not allowed")
    shape = (shape,) if isinstance(shape, int) else shape
    if not isinstance(shape, tuple) or len(shape) > _MAX_DIMENSIONS or not isinstance(order, str):
        raise RefusedError("a numpy.ndarray of this shape is not allowed")
    # Also where another side is 0: numpy takes strides of any size then.
    if not all(isinstance(n, int) and 0 <= n < 2**48 for n in shape) or order not in ("C", "F"):
        raise RefusedError("a numpy.ndarray of this shape is not allowed")
    if math.prod(shape) * dtype.dtype.itemsize != len(data):
        raise VIMHError(
            f"an array of shape {shape} and type {dtype.dtype} cannot be made of {len(data)} bytes"
        )
    return np.frombuffer(data, dtype=dtype.dtype).reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(_kind: object, shape: object, _dtype: object) -> ArrayState:
    if not isinstance(shape, tuple) or len(shape) != 1 or not isinstance(shape[0], int) or shape[0]:
        raise RefusedError("numpy's _reconstruct with a size of its own is not allowed")
    return ArrayState()


def _scalar(dtype: object, data: object) -> object:
    return _array(data, dtype, (), "C").item()


def _encode(text: object, encoding: object = "latin1") -> bytes:
    known = isinstance(encoding, str) and encoding in ("latin1", "latin-1")
    if not isinstance(text, str) or not known:
        raise RefusedError("_codecs.encode of anything but latin-1 text is not allowed")
    return text.encode("latin-1")


def _bytes(data: object = b"", encoding: object = "latin1") -> bytes:
    return data if isinstance(data, bytes) else _encode(data, encoding)


@dataclass(frozen=True)
class Global:
    """A stand-in for a global that a pickle may call."""

    make: Callable[..., object]

    def __call__(self, arguments: tuple[object, ...]) -> object:
        """Call the stand-in; RefusedError: the arguments are too many or too few."""
        if len(arguments) > _MAX_ARGUMENTS:  # a call with a million of them takes time
            raise RefusedError(f"a call with {len(arguments)} arguments is not allowed")
        try:
            return self.make(*arguments)
        except TypeError as error:
            raise RefusedError(f"a call with {len(arguments)} arguments is not allowed") from error


_ALLOWED: dict[tuple[str, str], Global] = {
    ("numpy", "dtype"): Global(DtypeState),
    ("numpy", "ndarray"): Global(_reconstruct),  # only ever named, as _reconstruct's argument
    ("_codecs", "encode"): Global(_encode),
    ("builtins", "bytes"): Global(_bytes),
    ("__builtin__", "bytes"): Global(_bytes),
    ("builtins", "bytearray"): Global(_bytes),
    ("__builtin__", "bytearray"): Global(_bytes),
}
for _core in ("numpy.core", "numpy._core"):
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = Global(_reconstruct)
    _ALLOWED[f"{_core}.multiarray", "scalar"] = Global(_scalar)
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = Global(_array)


def find_global(module: object, name: object) -> Global:
    """Return a global's stand-in; RefusedError: it is not on the list, or its name is no text."""
    if not isinstance(module, str) or not isinstance(name, str):
        raise RefusedError("a global whose name is no text is not allowed")
    if (module, name) not in _ALLOWED:
        raise RefusedError(f"the global {module[:60]}.{name[:60]} is not allowed")
    return _ALLOWED[module, name]


def plain(value: object) -> Any:
    """Return the array or the list of a stand-in, and any other value as it is."""
    if isinstance(value, PlainList):
        return value.items if isinstance(value.items, list) else list(value.items)
    return value.array if isinstance(value, ArrayState) else value


def kind_of(value: object) -> str:
    """Name a value's type, for a message."""
    return "list" if isinstance(value, PlainList) else type(value).__name__
