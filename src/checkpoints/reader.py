"""Reads what ``torch.save`` writes: tensors and plain containers, and no code out of the file.

A checkpoint is a zip archive: a pickle with the containers, and a record of bytes for each tensor's
storage. A pickle is a program. This reader knows only the instructions that ``torch.save`` needs
for plain data, and of the classes in it only those of :data:`_GLOBALS`, each of which it makes
itself. Time and memory are bounded by the file's size: members are stored as they are and add up to
no more than the file, a storage has the size of its record, a tensor lies within its storage, and
what is shared counts as often as it would be visited.

The format: https://docs.pytorch.org/docs/stable/notes/serialization.html
"""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from src.checkpoints.archive import (
    Refused,
    Storage,
    Storages,
    check_directory,
    check_plain_tree,
    check_the_rest,
    members_of,
    read_member,
)

# What a damaged or a foreign file raises. `Refused` is an UnpicklingError too.
BROKEN = (
    pickle.UnpicklingError, zipfile.BadZipFile, EOFError, IndexError, KeyError, ValueError,
    struct.error, NotImplementedError, OSError,
)  # fmt: skip
MAX_PICKLE_BYTES = 16 * 2**20  # of containers and texts; the networks of the configs have 0.2 MB
MAX_STEPS = 1_500_000  # a tensor with its optimiser's state takes about 50 of them
_MAX_DIMENSIONS = 16
_TENSOR_STEPS = 10  # what a tensor takes beside its bytes
DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def read_saved(path: Path, *, with_data: bool = True) -> Any:
    """Read a zip file of ``torch.save``: tensors on the CPU, and plain containers and values.

    Without data the tensors' bytes are not read, and they are on "meta".

    Raises:
        Refused: If it holds anything else, or more than a file of its size may.
        Others: Those of :data:`BROKEN`, if it is damaged.
    """
    size = path.stat().st_size
    check_directory(path, size)
    with zipfile.ZipFile(path) as archive:
        members = members_of(archive, size)
        order = members.get("byteorder")
        if order is not None and read_member(archive, order) != b"little":
            raise Refused("its numbers are not little-endian")
        storages = Storages(archive, members, with_data)
        pickled = members["data.pkl"]
        if pickled.file_size > MAX_PICKLE_BYTES:
            raise Refused(f"its containers take {pickled.file_size} bytes")
        value = _Reader(read_member(archive, pickled), storages, 2 * size).load()
        if with_data:
            check_the_rest(archive, members.values(), storages.read)
    check_plain_tree(value, size)
    return value


@dataclass(frozen=True)
class _Global:
    """Stands for a global of the pickle; only an instruction of ours can call it."""

    name: str


_GLOBALS: dict[tuple[str, str], _Global] = {
    (module, name): _Global(name)
    for module, name in [
        ("collections", "OrderedDict"),
        ("collections", "Counter"),
        ("torch._utils", "_rebuild_tensor_v2"),
        ("torch._utils", "_rebuild_parameter"),
        *(("torch", name) for name in DTYPES),
    ]
}


class _Reader:
    """The pickle's machine: a stack, marks on it, and a memo.

    All tensors together may take ``max_tensor_bytes`` if each were copied.
    """

    def __init__(self, data: bytes, storages: Storages, max_tensor_bytes: int) -> None:
        self._file = io.BytesIO(data)
        self._storages = storages
        self._tensor_bytes_left = max_tensor_bytes
        self._steps_left = MAX_STEPS
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """Run the pickle and return its value."""
        read = self._file.read
        while (code := read(1)) != pickle.STOP:
            instruction = _INSTRUCTIONS.get(code)
            if instruction is None:
                raise Refused(f"it holds the instruction {code!r}, which torch.save does not write")
            self._take(1)
            instruction(self)
        (value,) = self._stack
        return value

    def _take(self, steps: int) -> None:
        self._steps_left -= steps
        if self._steps_left < 0:
            raise Refused(f"it takes more than {MAX_STEPS} steps to read")

    def _exactly(self, length: int) -> bytes:
        content = self._file.read(length)
        if len(content) != length:
            raise EOFError("its containers are cut off")
        return content

    def _unpack(self, form: str) -> Any:
        return struct.unpack(form, self._exactly(struct.calcsize(form)))[0]

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if self._marks and self._marks[-1] >= len(self._stack):
            raise Refused("it takes a value that is not there")
        return self._stack.pop()

    def _pop_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _protocol(self) -> None:
        if self._unpack("B") != 2:
            raise Refused("its pickle is not of protocol 2, which torch.save writes")

    def _text(self) -> None:
        # A path may have bytes that are no text.
        self._push(self._exactly(self._unpack("<I")).decode("utf-8", "surrogatepass"))

    def _long(self) -> None:
        self._push(int.from_bytes(self._exactly(self._unpack("B")), "little", signed=True))

    def _tuple(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._push(tuple(reversed(items)))

    def _append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise Refused(f"it adds to a {_kind(target)}")
        target.extend(items)

    def _set(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) not in (dict, OrderedDict, Counter) or len(items) % 2:
            raise Refused(f"it sets an item of a {_kind(target)}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # A tuple may hold itself 2^80 times, and large numbers can be chosen to collide.
            if type(key) is not str and not (type(key) is int and abs(key) < 2**31):
                raise Refused(f"it has a {_kind(key)} as a key")
            target[key] = value

    def _set_one(self) -> None:
        value = self._pop()
        self._set([self._pop(), value])

    def _put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _global(self) -> None:
        module, name = (self._line() for _ in range(2))
        if (module, name) not in _GLOBALS:
            raise Refused(
                f"it holds {', '.join(self._foreign_names())}, which is no plain data: to read it "
                "would run code"
            )
        self._push(_GLOBALS[module, name])

    def _foreign_names(self) -> list[str]:
        """List the first globals of the pickle that are not read: one alone may not say much."""
        names: dict[str, None] = {}
        try:
            for opcode, argument, _ in pickletools.genops(self._file.getvalue()):
                if opcode.name != "GLOBAL" or argument is None:
                    continue
                if tuple(argument.split(" ", 1)) not in _GLOBALS:
                    names[argument.replace(" ", ".")[:80]] = None
        except ValueError:  # what follows is no pickle
            pass
        return list(names)[:5]

    def _line(self) -> str:
        line = self._file.readline(200)
        if not line.endswith(b"\n"):
            raise Refused("it holds a name that is too long")
        return line[:-1].decode("ascii", "replace")

    def _persistent(self) -> None:
        pid = self._pop()
        match pid:
            case ("storage", _Global(name), str(key), str(), int(numel)) if name in DTYPES:
                self._push(self._storages.get(key, DTYPES[name], numel))
            case _:
                raise Refused("it refers to something that is no storage")

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        if type(arguments) is not tuple or not isinstance(function, _Global):
            raise Refused(f"it calls a {_kind(function)}")
        match function.name, arguments:
            case "OrderedDict", ():
                self._push(OrderedDict())
            case "Counter", (dict(counts),) if type(counts) is dict:
                self._take(len(counts))
                self._push(Counter(counts))
            case "_rebuild_tensor_v2", (
                Storage() as storage,
                int(offset),
                tuple(size),
                tuple(stride),
                bool(grad),
                OrderedDict() as hooks,
            ) if len(size) == len(stride) <= _MAX_DIMENSIONS and not hooks:
                self._push(self._tensor(storage, offset, size, stride, grad))
            case "_rebuild_parameter", (Tensor() as tensor, bool(grad), OrderedDict()):
                self._take(_TENSOR_STEPS)
                self._push(torch.nn.Parameter(tensor, grad and tensor.is_floating_point()))
            case _:
                raise Refused(f"it calls {function.name} with what torch.save does not give it")

    def _tensor(
        self,
        storage: Storage,
        offset: int,
        size: tuple[Any, ...],
        stride: tuple[Any, ...],
        grad: bool,
    ) -> Tensor:
        """Make a tensor that lies within a storage."""
        dimensions = (offset, *size, *stride)
        if any(type(number) is not int or not 0 <= number < 2**62 for number in dimensions):
            raise Refused("it describes a tensor whose sizes are no sizes")
        numel = 1
        for length in size:
            numel = min(numel * length, 2**62)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if numel and last >= storage.numel:
            raise Refused("it describes a tensor that is larger than its storage")
        self._take(_TENSOR_STEPS)
        self._tensor_bytes_left -= numel * storage.dtype.itemsize
        if self._tensor_bytes_left < 0:
            raise Refused("its tensors would take more than twice the bytes of the file")
        flat = storage.content.view(storage.dtype)
        tensor = torch.as_strided(flat, size, stride, offset if numel else 0)
        return tensor.requires_grad_(grad and storage.dtype.is_floating_point)

    def _build(self) -> None:
        """Set the versions of a state dict's modules; refuse every other attribute."""
        state, target = self._pop(), self._stack[-1]
        match state:
            case {"_metadata": OrderedDict() as versions} if len(state) == 1:
                pass
            case _:
                raise Refused(f"it sets attributes of a {_kind(target)}")
        if type(target) is not OrderedDict:
            raise Refused(f"it sets attributes of a {_kind(target)}")
        target._metadata = versions  # type: ignore[attr-defined]


def _kind(value: Any) -> str:
    return value.name if isinstance(value, _Global) else type(value).__name__


_Instruction = Callable[[_Reader], Any]


def _constant(make: Callable[[], Any]) -> _Instruction:
    return lambda reader: reader._push(make())


_INSTRUCTIONS: dict[bytes, _Instruction] = {
    pickle.PROTO: _Reader._protocol,
    pickle.MARK: lambda reader: reader._marks.append(len(reader._stack)),
    pickle.NONE: _constant(lambda: None),
    pickle.NEWTRUE: _constant(lambda: True),
    pickle.NEWFALSE: _constant(lambda: False),
    pickle.BININT: lambda reader: reader._push(reader._unpack("<i")),
    pickle.BININT1: lambda reader: reader._push(reader._unpack("B")),
    pickle.BININT2: lambda reader: reader._push(reader._unpack("<H")),
    pickle.LONG1: _Reader._long,
    pickle.BINFLOAT: lambda reader: reader._push(reader._unpack(">d")),
    pickle.BINUNICODE: _Reader._text,
    pickle.EMPTY_TUPLE: _constant(tuple),
    pickle.TUPLE: lambda reader: reader._push(tuple(reader._pop_mark())),
    pickle.TUPLE1: lambda reader: reader._tuple(1),
    pickle.TUPLE2: lambda reader: reader._tuple(2),
    pickle.TUPLE3: lambda reader: reader._tuple(3),
    pickle.EMPTY_LIST: _constant(list),
    pickle.APPEND: lambda reader: reader._append([reader._pop()]),
    pickle.APPENDS: lambda reader: reader._append(reader._pop_mark()),
    pickle.EMPTY_DICT: _constant(dict),
    pickle.SETITEM: _Reader._set_one,
    pickle.SETITEMS: lambda reader: reader._set(reader._pop_mark()),
    pickle.BINGET: lambda reader: reader._push(reader._memo[reader._unpack("B")]),
    pickle.LONG_BINGET: lambda reader: reader._push(reader._memo[reader._unpack("<I")]),
    pickle.BINPUT: lambda reader: reader._put(reader._unpack("B")),
    pickle.LONG_BINPUT: lambda reader: reader._put(reader._unpack("<I")),
    pickle.GLOBAL: _Reader._global,
    pickle.BINPERSID: _Reader._persistent,
    pickle.REDUCE: _Reader._reduce,
    pickle.BUILD: _Reader._build,
}
