"""A pickle reader that builds plain containers and numeric arrays, and nothing else.

A pickle is a program. The reader takes only the instructions and the few globals that a dict of
numbers, strings, lists and numpy arrays needs, and refuses all others by name. Each global is a
stand-in of the project's own (stand_ins.py), so that no foreign function runs, not even numpy's.

The size of a pickle bounds its time and memory. An instruction takes time only for the bytes that
it reads, makes or takes off the stack: keys are short texts, whose hashes nobody can make collide,
and the reader never compares, hashes, copies or prints a value that may hold itself. It counts the
memory and refuses a pickle that wants more than twice its size and 96 MB.
"""

import pickle
import pickletools
import struct
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from src.vimh.pickle_machine import MAX_NUMBER, PickleMachine, text_of, unescaped
from src.vimh.stand_ins import (
    ArrayState,
    DtypeState,
    Global,
    PlainList,
    RefusedError,
    find_global,
    kind_of,
    plain,
)

# The exceptions of a broken pickle, beside `RefusedError`.
BROKEN = (pickle.UnpicklingError, IndexError, OverflowError, ValueError, struct.error)
# Only values that no container takes make a larger stack.
STACK_FREE, STACK_SHARE = 2**21, 16
MAX_KEY = 1000  # characters: setting an equal key again compares all of them
_RUN = 512  # small numbers that are read at once
# Bytes of memory for each, at most.
_LIST, _DICT, _TUPLE, _STATE, _ITEM = 150, 80, 56, 360, 160


class RestrictedUnpickler(PickleMachine):
    """Read one pickle; see the module's docstring."""

    def load(self) -> Any:
        """Return the pickled object; `plain` turns its lists and arrays into Python's and numpy's.

        Raises:
            RefusedError: It uses a global or an instruction that is not on the list, or makes more
                than a file of this size may.
            Others: Those of `BROKEN`, where the pickle is not whole.
        """
        data, stack, most = self._data, self._stack, STACK_FREE + self._size // STACK_SHARE
        while (code := data[self.position]) != _STOP:
            self.position += 1
            _INSTRUCTIONS[code](self)
            if len(stack) > most:
                raise RefusedError(f"more than {most} values that are in no list are not allowed")
        return plain(stack.pop())

    # Frames

    def _protocol(self) -> None:
        if self._unpack("B") > pickle.HIGHEST_PROTOCOL:
            raise pickle.UnpicklingError("a protocol of the future")

    def _frame(self) -> None:
        length = self._unpack("<Q")
        if length > self._size - self.position:
            raise pickle.UnpicklingError(f"a frame of {length} bytes is not there")

    # Numbers

    def _small_numbers(self) -> None:
        """Read BININT1 and all that follow it: images and labels are long runs of them."""
        data, start = self._data, self.position - 1
        pieces = []
        while True:
            codes = data[start : start + 2 * _RUN : 2]
            count = len(codes) - len(codes.lstrip(pickle.BININT1))
            pieces.append(data[start + 1 : start + 2 * count : 2])
            start += 2 * count
            if count < _RUN:
                break
        values = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if start > self._size:
            raise pickle.UnpicklingError("a number is cut off")
        self.position = start
        stack, marks = self._stack, self._marks
        whole_list = marks and marks[-1] == len(stack) and data[start] == _APPENDS
        if whole_list and stack and type(stack[-1]) is PlainList:
            marks.pop()
            self.position += 1
            self._take(stack[-1].extend(values))
        else:
            if len(values) > STACK_FREE // 4:
                self._take(9 * len(values))
            stack.extend(values)

    def _int(self) -> None:
        line = self._line()
        if line in (b"00", b"01"):
            self._stack.append(line == b"01")
        else:
            self._push_number(int(line, 0))

    def _long(self) -> None:
        line = self._line()
        self._push_number(int(line.removesuffix(b"L"), 0))

    def _long_bytes(self, length: int) -> None:
        if length > MAX_NUMBER:
            raise RefusedError(f"a number of {length} bytes is not allowed")
        self._push_number(int.from_bytes(self._read(length), "little", signed=True))

    def _push_number(self, value: float | int) -> None:
        if type(value) is float or not -5 <= value <= 256:  # Python shares the other integers
            self._take(sys.getsizeof(value))
        self._stack.append(value)

    # Texts and bytes

    def _push_bytes(self, length: int) -> None:
        self._push_object(self._read(length))

    def _push_text(self, length: int) -> None:
        self._push_object(text_of(self._read(length), "utf-8"))

    def _text_line(self) -> None:
        self._push_object(text_of(self._line(None), "raw-unicode-escape"))

    def _push_string(self, length: int) -> None:
        """Read a string of Python 2, which did not tell text and bytes apart."""
        if length > MAX_KEY:
            self._push_bytes(length)
        else:
            self._push_object(self._read(length).decode("latin-1"))

    def _string_line(self) -> None:
        raw = self._line(None)
        if len(raw) < 2 or raw[:1] != raw[-1:] or raw[:1] not in (b"'", b'"'):
            raise pickle.UnpicklingError("a string without its quotes")
        value = unescaped(raw[1:-1])
        self._push_object(value if len(value) > MAX_KEY else value.decode("latin-1"))

    def _push_object(self, value: str | bytes) -> None:
        self._take(sys.getsizeof(value))
        self._stack.append(value)

    # Containers

    def _push_list(self, items: list[object]) -> None:
        self._take(_LIST + 9 * len(items))
        self._stack.append(PlainList(items or bytearray()))

    def _append(self) -> None:
        item = self._stack.pop()
        self._take(self._open_list().append(item))

    def _appends(self) -> None:
        items = self._pop_mark()
        if items:
            self._take(self._open_list().extend(items))

    def _open_list(self) -> PlainList:
        target = self._stack[-1]
        if not isinstance(target, PlainList):
            raise RefusedError(f"adding to a {kind_of(target)} is not allowed")
        return target

    def _push_tuple(self, items: list[object]) -> None:
        self._take(_TUPLE + 8 * len(items))
        self._stack.append(tuple(items))

    def _tuple_of(self, count: int) -> None:
        items = self._stack[-count:]
        if len(items) < count:
            raise pickle.UnpicklingError("a tuple of what is not there")
        del self._stack[-count:]
        self._push_tuple(items)

    def _push_dict(self) -> None:
        self._take(_DICT)
        self._stack.append({})

    def _dict(self) -> None:
        items = self._pop_mark()
        self._push_dict()
        self._set(items)

    def _set(self, items: list[object]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise RefusedError(f"setting an item of a {kind_of(target)} is not allowed")
        self._take(_ITEM * (len(items) // 2))
        for key, value in zip(items[::2], items[1::2], strict=True):
            # A tuple may hold itself 2^80 times, and the hashes of numbers can collide.
            if not isinstance(key, str):
                raise RefusedError(f"a {kind_of(key)} as a key is not allowed")
            if len(key) > MAX_KEY:
                raise RefusedError(f"a key of {len(key)} characters is not allowed")
            target[key] = value

    # Globals

    def _global(self) -> None:
        module, name = self._line().decode(), self._line().decode()
        self._stack.append(find_global(module, name))

    def _stack_global(self) -> None:
        self._stack.append(find_global(self._stack.pop(-2), self._stack.pop()))

    def _reduce(self) -> None:
        function, arguments = self._stack.pop(-2), self._stack.pop()
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise RefusedError(f"calling a {kind_of(function)} is not allowed")
        made = function(arguments)
        self._take(sys.getsizeof(made) if isinstance(made, bytes | int | float) else _STATE)
        self._stack.append(made)

    def _build(self) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        if not isinstance(target, DtypeState | ArrayState):
            raise RefusedError(f"setting the state of a {kind_of(target)} is not allowed")
        self._take(_STATE)
        target.set_state(state)


_STOP, _APPENDS = pickle.STOP[0], pickle.APPENDS[0]
_Instruction = Callable[[RestrictedUnpickler], None]


def _refuse(name: str) -> Callable[[RestrictedUnpickler], NoReturn]:
    def refuse(_: RestrictedUnpickler) -> NoReturn:
        raise RefusedError(f"the instruction {name} is not allowed")

    return refuse


def _push(value: object) -> _Instruction:
    return lambda reader: reader._stack.append(value)


_BY_NAME: dict[str, _Instruction] = {
    "PROTO": RestrictedUnpickler._protocol,
    "FRAME": RestrictedUnpickler._frame,
    "MARK": RestrictedUnpickler._mark,
    "POP": RestrictedUnpickler._pop,
    "POP_MARK": lambda reader: reader._pop_mark().clear(),
    "DUP": lambda reader: reader._stack.append(reader._stack[-1]),
    "NONE": _push(None),
    "NEWTRUE": _push(True),
    "NEWFALSE": _push(False),
    "INT": RestrictedUnpickler._int,
    "BININT": lambda reader: reader._push_number(reader._unpack("<i")),
    "BININT1": RestrictedUnpickler._small_numbers,
    "BININT2": lambda reader: reader._push_number(reader._unpack("<H")),
    "LONG": RestrictedUnpickler._long,
    "LONG1": lambda reader: reader._long_bytes(reader._unpack("B")),
    "LONG4": lambda reader: reader._long_bytes(reader._unpack("<i")),
    "FLOAT": lambda reader: reader._push_number(float(reader._line())),
    "BINFLOAT": lambda reader: reader._push_number(reader._unpack(">d")),
    "STRING": RestrictedUnpickler._string_line,
    "BINSTRING": lambda reader: reader._push_string(reader._unpack("<i")),
    "SHORT_BINSTRING": lambda reader: reader._push_string(reader._unpack("B")),
    "BINBYTES": lambda reader: reader._push_bytes(reader._unpack("<I")),
    "SHORT_BINBYTES": lambda reader: reader._push_bytes(reader._unpack("B")),
    "BINBYTES8": lambda reader: reader._push_bytes(reader._unpack("<Q")),
    "BYTEARRAY8": lambda reader: reader._push_bytes(reader._unpack("<Q")),
    "UNICODE": RestrictedUnpickler._text_line,
    "BINUNICODE": lambda reader: reader._push_text(reader._unpack("<I")),
    "SHORT_BINUNICODE": lambda reader: reader._push_text(reader._unpack("B")),
    "BINUNICODE8": lambda reader: reader._push_text(reader._unpack("<Q")),
    "EMPTY_TUPLE": _push(()),
    "TUPLE": lambda reader: reader._push_tuple(reader._pop_mark()),
    "TUPLE1": lambda reader: reader._tuple_of(1),
    "TUPLE2": lambda reader: reader._tuple_of(2),
    "TUPLE3": lambda reader: reader._tuple_of(3),
    "EMPTY_LIST": lambda reader: reader._push_list([]),
    "LIST": lambda reader: reader._push_list(reader._pop_mark()),
    "APPEND": RestrictedUnpickler._append,
    "APPENDS": RestrictedUnpickler._appends,
    "EMPTY_DICT": RestrictedUnpickler._push_dict,
    "DICT": RestrictedUnpickler._dict,
    "SETITEM": lambda reader: reader._set([reader._stack.pop(-2), reader._stack.pop()]),
    "SETITEMS": lambda reader: reader._set(reader._pop_mark()),
    "GET": lambda reader: reader._get(int(reader._line())),
    "BINGET": lambda reader: reader._get(reader._unpack("B")),
    "LONG_BINGET": lambda reader: reader._get(reader._unpack("<I")),
    "PUT": lambda reader: reader._put(int(reader._line())),
    "BINPUT": lambda reader: reader._put(reader._unpack("B")),
    "LONG_BINPUT": lambda reader: reader._put(reader._unpack("<I")),
    "MEMOIZE": lambda reader: reader._put(len(reader._memo)),
    "GLOBAL": RestrictedUnpickler._global,
    "STACK_GLOBAL": RestrictedUnpickler._stack_global,
    "REDUCE": RestrictedUnpickler._reduce,
    "BUILD": RestrictedUnpickler._build,
}


def _table() -> list[_Instruction]:
    """Map each byte to its instruction; most of them are refused."""
    table: list[_Instruction] = [_refuse(f"0x{code:02x}") for code in range(256)]
    for opcode in pickletools.opcodes:
        table[ord(opcode.code)] = _BY_NAME.get(opcode.name) or _refuse(opcode.name)
    return table


_INSTRUCTIONS = _table()
