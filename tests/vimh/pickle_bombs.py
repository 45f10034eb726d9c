"""A small assembler of pickles, and pickles that are made to take time or memory.

Each bomb is a function of the size wanted. Most are a dict whose `data` is what blows up, so that
what walks through it afterwards is tried as well.
"""

import pickle
import struct
from collections.abc import Callable

BININT1, GET = b"K\x01", b"h"


def text(value: bytes) -> bytes:
    """Push a text."""
    return b"X" + struct.pack("<I", len(value)) + value


def raw(value: bytes) -> bytes:
    """Push bytes."""
    return b"B" + struct.pack("<I", len(value)) + value


def number(value: int) -> bytes:
    """Push a number of any size."""
    data = pickle.encode_long(value)
    return b"\x8b" + struct.pack("<i", len(data)) + data


def get(index: int) -> bytes:
    """Push a remembered value."""
    return b"h" + bytes([index])


def put(index: int) -> bytes:
    """Remember the value on top."""
    return b"q" + bytes([index])


def call(module: str, name: str) -> bytes:
    """Push a global."""
    return f"c{module}\n{name}\n".encode()


def fill(piece: bytes, size: int) -> bytes:
    """A piece over and over, up to a size."""
    return piece * max(1, size // len(piece))


def dataset(data: bytes) -> bytes:
    """A pickle whose keys `data`, `vimh_labels` and `scale_factors` hold the same value."""
    keys = text(b"data") + get(250) + text(b"vimh_labels") + get(250)
    return b"\x80\x02" + data + put(250) + b"0}(" + keys + text(b"scale_factors") + get(250) + b"u."


def rows(row: bytes, size: int, prefix: bytes = b"") -> bytes:
    """A list of one row, named over and over."""
    return dataset(prefix + row + put(1) + b"0](" + fill(get(1), size) + b"e")


def doubled(opening: bytes, closing: bytes, depth: int = 100) -> bytes:
    """A value that holds itself 2^depth times."""
    code = opening + put(2)
    for _ in range(depth):
        code += b"0(" + get(2) * 2 + closing + put(2)
    return code


DTYPE = call("numpy", "dtype") + text(b"u1") + b"\x85R"
RECONSTRUCT = call("numpy.core.multiarray", "_reconstruct")
EMPTY_ARRAY = RECONSTRUCT + b"(NK\x00\x85NtR"
FROM_BUFFER = call("numpy.core.numeric", "_frombuffer")
ENCODE = call("_codecs", "encode")
PRIME = 2**61 - 1  # hashes of whole numbers are the rest after a division by it


def _all_to_one_hash(size: int) -> bytes:
    keys = b"".join(number((k + 1) * PRIME) + b"N" for k in range(size // 16))
    return dataset(b"}(" + keys + b"u")


def _equal_long_keys(size: int) -> bytes:
    long = text(b"k" * (size // 4))
    setting = fill(get(2) + b"Ns" + get(3) + b"Ns", size // 2)
    return dataset(long + put(2) + b"0" + long + put(3) + b"0}" + setting)


def _encoded(size: int) -> bytes:
    start = ENCODE + put(2) + b"0" + text(b"a" * (size // 2)) + b"\x85" + put(3) + b"0"
    return dataset(start + b"](" + fill(get(2) + get(3) + b"R", size // 2) + b"e")


def _encoded_and_dropped(size: int) -> bytes:
    start = ENCODE + put(2) + b"0" + text(b"a" * (size // 2)) + b"\x85" + put(3) + b"0"
    return dataset(start + fill(get(2) + get(3) + b"R0", size // 2) + b"N")


def _many_arguments(size: int) -> bytes:
    start = call("numpy", "dtype") + put(2) + b"0(" + text(b"u1") + fill(b"N", size // 2) + b"t"
    return dataset(start + put(3) + b"0" + fill(get(2) + get(3) + b"R0", size // 2) + b"N")


def _state_of_text(size: int) -> bytes:
    data = b"T" + struct.pack("<i", size // 2) + b"\x00" * (size // 2)
    state = b"(K\x01" + number(size // 2) + b"\x85" + DTYPE + b"\x89" + data + b"t" + put(3) + b"0"
    return dataset(state + EMPTY_ARRAY + fill(get(3) + b"b", size // 2))


def _shape_of_large_numbers(size: int) -> bytes:
    shape = number(1 << (4 * size)) + put(2) + b"0(" + get(2) * 4 + b"t" + put(3) + b"0"
    arguments = b"(" + raw(b"") + DTYPE + get(3) + text(b"C") + b"t" + put(4) + b"0"
    calls = fill(get(5) + get(4) + b"R0", size // 3)
    return dataset(shape + arguments + FROM_BUFFER + put(5) + b"0" + calls + b"N")


def _same_large_number(size: int, use: bytes) -> bytes:
    return number(1 << (4 * size)) + put(2) + b"0" + use


def _array_as_dtype(size: int) -> bytes:
    """An array where a name is expected: comparing the two looks at all of its items."""
    array = FROM_BUFFER + b"(" + raw(b"\x00" * (size // 2)) + DTYPE + number(size // 2) + b"\x85"
    start = array + text(b"C") + b"tR\x85" + put(2) + b"0" + call("numpy", "dtype") + put(3) + b"0"
    return dataset(start + fill(get(3) + get(2) + b"R0", size // 2) + b"N")


BOMBS: dict[str, Callable[[int], bytes]] = {
    "lists on the stack": lambda n: dataset(fill(b"]", n)),
    "dicts on the stack": lambda n: dataset(fill(b"}", n)),
    "lists in a list": lambda n: dataset(b"](" + fill(b"]", n) + b"e"),
    "dicts in a list": lambda n: dataset(b"](" + fill(b"}", n) + b"e"),
    "dicts in a tuple": lambda n: dataset(b"(" + fill(b"}", n) + b"t"),
    "remembered dicts": lambda n: dataset(b"](" + fill(b"}\x94", n) + b"e"),
    "remembered again and again": lambda n: dataset(b"N" + fill(b"\x94", n)),
    "memo indices with gaps": lambda n: dataset(
        b"N" + b"".join(b"r" + struct.pack("<I", 999 * k) for k in range(n // 5))
    ),
    "a memo index beyond memory": lambda n: dataset(b"Nr\xff\xff\xff\x7f" + fill(b"N0", n)),
    "marks": lambda n: dataset(fill(b"(", n)),
    "marks and values": lambda n: dataset(fill(b"(N", n)),
    "tuples in one another": lambda n: dataset(b")" + fill(b"\x85", n)),
    "tuples of three": lambda n: dataset(fill(b"NNN\x87", n)),
    "lists in one another": lambda n: dataset(fill(b"](", n) + fill(b"e", n // 2)),
    "dict in one another": lambda n: dataset(
        fill(b"}X\x01\x00\x00\x00a", n) + b"N" + fill(b"s", n // 7)
    ),
    "floats": lambda n: dataset(b"](" + fill(b"G12345678", n) + b"e"),
    "numbers of two bytes": lambda n: dataset(b"](" + fill(b"M\xff\xff", n) + b"e"),
    "short texts": lambda n: dataset(b"](" + fill(b"\x8c\x02ab", n) + b"e"),
    "short bytes": lambda n: dataset(b"](" + fill(b"C\x02ab", n) + b"e"),
    "a wide text": lambda n: dataset(text("\U0001f600".encode() + b"a" * n)),
    "a wide text in escapes": lambda n: dataset(b"V\\U0001f600" + b"a" * n + b"\n"),
    "a string of escapes": lambda n: dataset(b"S'" + fill(b"\\x41", n) + b"'\n"),
    "a string of names": lambda n: dataset(b"S'" + fill(b"\\N{SPACE}", n) + b"'\n"),
    "a string of wrong escapes": lambda n: dataset(b"S'" + fill(b"\\q", n) + b"'\n"),
    "a long line": lambda n: dataset(b"I" + b"9" * n + b"\n"),
    "a long line of another base": lambda n: dataset(b"I0x" + b"f" * n + b"\n"),
    "a long float": lambda n: dataset(b"F1." + b"1" * n + b"\n"),
    "a long number": lambda n: dataset(number(1 << (8 * n))),
    "a long number as the height": lambda n: (
        b"\x80\x02}" + text(b"height") + number(1 << 8000) + b"s."
    ),
    "a long name": lambda n: dataset(b"c" + b"a" * n + b"\nb\n"),
    "a long name on the stack": lambda n: b"\x80\x04" + text(b"a" * n) + b"\x8c\x01b\x93.",
    "the same text joined": lambda n: dataset(
        text(b"a" * (n // 2)) + put(2) + fill(get(2), n // 2)
    ),
    "values that are copied on the stack": lambda n: dataset(b"(N" + fill(b"2", n) + b"t"),
    "popped and pushed": lambda n: dataset(fill(b"N0", n) + b"N"),
    "popped marks": lambda n: dataset(fill(b"(NN1", n) + b"N"),
    "doubled tuples": lambda n: rows(doubled(b")", b"t"), n),
    "doubled lists": lambda n: rows(doubled(b"]", b"l"), n),
    "doubled tuples as a key": lambda n: dataset(
        doubled(b")", b"t") + b"0" + fill(b"}h\x02Ns0", n) + b"N"
    ),
    "doubled tuples as a type": lambda n: dataset(
        call("numpy", "dtype") + doubled(b")", b"t") + b"\x85R"
    ),
    "doubled tuples as a shape": lambda n: dataset(
        doubled(b")", b"t") + RECONSTRUCT + b"(N" + get(2) + b"NtR"
    ),
    "doubled tuples as a state": lambda n: dataset(doubled(b")", b"t") + DTYPE + get(2) + b"b"),
    "a list that holds itself": lambda n: dataset(b"]" + put(2) + fill(get(2) + b"a", n)),
    "a dict that holds itself": lambda n: dataset(
        b"}" + put(2) + fill(text(b"a") + get(2) + b"s", n)
    ),
    "the dict that holds itself": lambda n: (
        b"\x80\x02}" + put(0) + text(b"data") + b"h\x00s" + text(b"vimh_labels") + b"h\x00s."
    ),
    "a set that holds itself": lambda n: b"\x80\x04\x8f\x94(h\x00\x85\x90.",
    "one list, appended to": lambda n: dataset(b"]" + fill(b"Na", n)),
    "one list, extended by nothing": lambda n: dataset(b"]" + fill(b"(e", n)),
    "one list, extended by one": lambda n: dataset(b"]" + fill(b"(K\x01e", n)),
    "a list of numbers that becomes another": lambda n: dataset(
        b"](" + fill(b"K\x01", n // 2) + b"e" + fill(b"Na(K\x01e", n // 2)
    ),
    "one dict, set again": lambda n: dataset(b"}" + fill(text(b"a") + b"Ns", n)),
    "many keys": lambda n: dataset(
        b"}(" + b"".join(b"\x8c\x04%04xN" % (k % 65536) for k in range(n // 7)) + b"u"
    ),
    "numbers of one hash as keys": _all_to_one_hash,
    "equal long keys": _equal_long_keys,
    "one text, encoded again and again": _encoded,
    "one text, encoded and dropped": _encoded_and_dropped,
    "a million arguments": _many_arguments,
    "one text as the state of an array": _state_of_text,
    "a shape of large numbers": _shape_of_large_numbers,
    "an array instead of a type": _array_as_dtype,
    "one large number as a key": lambda n: dataset(
        _same_large_number(n, fill(b"}h\x02Ns0", n // 2) + b"N")
    ),
    "one large number as a scale factor": lambda n: rows(
        b"(h\x02h\x02t", n // 2, _same_large_number(n, b"")
    ),
    "one row of bytes": lambda n: rows(raw(bytes(20)), n),
    "one row of numbers": lambda n: rows(b"](" + b"K\x01" * 20 + b"e", n),
    "one row of a tuple": lambda n: rows(b"(" + b"K\x01" * 20 + b"t", n),
    "one long row": lambda n: rows(raw(bytes(n // 2)), n // 2),
    "one row that is an array": lambda n: rows(
        FROM_BUFFER
        + b"("
        + raw(bytes(n // 2))
        + DTYPE
        + number(n // 2)
        + b"\x85"
        + text(b"C")
        + b"tR",
        n // 2,
    ),
    "arrays without a content": lambda n: dataset(
        RECONSTRUCT + put(2) + b"0(NK\x00\x85Nt" + put(3) + b"0](" + fill(b"h\x02h\x03R", n) + b"e"
    ),
    "arrays of nothing": lambda n: dataset(
        FROM_BUFFER
        + put(2)
        + b"0("
        + raw(b"")
        + DTYPE
        + b"K\x00\x85"
        + text(b"C")
        + b"t"
        + put(3)
        + b"0]("
        + fill(b"h\x02h\x03R", n)
        + b"e"
    ),
    "an array with a huge and an empty side": lambda n: dataset(
        FROM_BUFFER + b"(" + raw(b"") + DTYPE + number(2**60) + b"K\x00\x86" + text(b"C") + b"tR"
    ),
    "an array of 2^47 rows of nothing": lambda n: dataset(
        FROM_BUFFER + b"(" + raw(b"") + DTYPE + number(2**47) + b"K\x00\x86" + text(b"C") + b"tR"
    ),
    "types": lambda n: dataset(
        call("numpy", "dtype")
        + put(2)
        + b"0"
        + text(b"u1")
        + b"\x85"
        + put(3)
        + b"0]("
        + fill(b"h\x02h\x03R", n)
        + b"e"
    ),
    "scalars": lambda n: dataset(
        call("numpy.core.multiarray", "scalar")
        + put(2)
        + b"0"
        + DTYPE
        + raw(b"a")
        + b"\x86"
        + put(3)
        + b"0]("
        + fill(b"h\x02h\x03R", n)
        + b"e"
    ),
    "an array as the height": lambda n: (
        b"\x80\x02}"
        + text(b"data")
        + b"]s"
        + text(b"height")
        + FROM_BUFFER
        + b"("
        + raw(b"ab")
        + DTYPE
        + b"K\x02\x85"
        + text(b"C")
        + b"tRs."
    ),
    "frames": lambda n: b"\x80\x04" + fill(b"\x95" + bytes(8), n) + b"N.",
    "protocols": lambda n: fill(b"\x80\x04", n) + b"N.",
    "extensions": lambda n: b"\x80\x02" + fill(b"\x84\xff\xff\xff\x7f", n) + b".",
    "no end": lambda n: b"\x80\x02" + fill(b"N", n),
}
