"""Known attacks by pickle, in every protocol: refused by name, and nothing of them runs."""

import builtins
import codecs
import copyreg
import functools
import importlib
import io
import operator
import os
import pickle
import pty
import runpy
import subprocess
import types
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata
from src.vimh.pickles import read_pickle
from src.vimh.stand_ins import RefusedError
from src.vimh.unpickler import RestrictedUnpickler
from tests.vimh.conftest import make_json

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
CODE = "open('owned', 'w')"
ATTACKS: list[tuple[Callable[..., Any], tuple]] = [
    (os.system, ("touch owned",)),
    (os.popen, ("touch owned",)),
    (os.execv, ("/bin/sh", ["sh", "-c", "touch owned"])),
    (subprocess.Popen, (["touch", "owned"],)),
    (subprocess.check_output, (["touch", "owned"],)),
    (pty.spawn, (["touch", "owned"],)),
    (builtins.eval, (CODE,)),
    (builtins.exec, (CODE,)),
    (builtins.compile, (CODE, "x", "exec")),
    (builtins.open, ("owned", "w")),
    (builtins.__import__, ("os",)),
    (builtins.getattr, (os, "system")),
    (builtins.map, (os.system, ["touch owned"])),
    (importlib.import_module, ("os",)),
    (runpy.run_path, ("owned.py",)),
    (operator.attrgetter("system"), (os,)),
    (operator.methodcaller("system", "touch owned"), (os,)),
    (functools.partial(os.system, "touch owned"), ()),
    (functools.reduce, (os.system, ["a", "b"])),
    (types.FunctionType, (1,)),
    (webbrowser.open, ("file:///owned",)),
    (codecs.decode, ("bjarq", "rot13")),
    (copyreg._reconstructor, (dict, object, None)),
    (pickle.loads, (b"cos\nsystem\n(S'touch owned'\ntR.",)),
    (np.load, ("owned.npy", None, True)),
    (np.memmap, ("owned", "u1", "w+", 0, (8,))),
    (np.savetxt, ("owned", [1])),
    (np.ndarray, ((2**40,),)),
    (np.zeros, (2**40,)),
    (np.frombuffer, (b"abcd",)),
]


class Call:
    def __init__(self, function: Any, arguments: tuple) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


def payloads() -> list[bytes]:
    """Every attack in every protocol, alone and deep inside what looks like a data set."""
    found = []
    for function, arguments in ATTACKS:
        for protocol in PROTOCOLS:
            for content in (
                Call(function, arguments),
                {"data": [[1, 2]], "vimh_labels": [{"a": (Call(function, arguments),)}]},
            ):
                try:
                    found.append(pickle.dumps(content, protocol))
                except (TypeError, pickle.PicklingError):  # a module as an argument
                    continue
    return found


def test_every_attack_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tried = payloads()
    assert len(tried) > 250
    for data in tried:
        with pytest.raises(RefusedError):
            RestrictedUnpickler(io.BytesIO(data)).load()
    assert list(tmp_path.iterdir()) == []


def test_the_attacks_are_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Call(os.system, ("touch owned",))))
    assert (tmp_path / "owned").exists()


DTYPE = b"cnumpy\ndtype\n(S'u1'\nI0\nI1\ntR"
TRICKS = {
    "memo then call": b"\x80\x02cos\nsystem\nq\x00h\x00X\x04\x00\x00\x00true\x85R.",
    "name from the stack": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
    "dotted name from the stack": b"\x80\x04\x8c\x05numpy\x8c\x0bdtype.mro.x\x93.",
    "name that is no text": b"\x80\x04K\x01K\x02\x93.",
    "global of a global": b"\x80\x04\x8c\x05numpy\x8c\x0ddtype.__init__\x93)R.",
    "result called": DTYPE + b")R.",
    "result of a result called": DTYPE + b")R)R.",
    "state of a made dtype": DTYPE + b"}b.",
    "dtype with fields": DTYPE + b"(I3\nS'<'\n(S'a'\nt(dI1\nI1\nI0\ntb.",
    "slots": b"\x80\x02}}}\x86b.",
    "popped too often": b"\x80\x02000.",
    "mark that is not there": b"\x80\x02t.",
    "memo that is not there": b"\x80\x02h\x05.",
    "key that cannot be one": b"\x80\x02}]K\x01s.",
    "no end": b"\x80\x02" + b"N" * 1000,
    "protocol of the future": b"\x80\x63N.",
}


@pytest.mark.parametrize("name", TRICKS)
def test_tricks_end_in_one_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / "train_batch"
    path.write_bytes(TRICKS[name])
    with pytest.raises(VIMHError, match="train_batch"):
        read_pickle(path, Metadata.from_json(make_json()))


def bomb(depth: int, opening: bytes, joining: bytes) -> bytes:
    """A container that holds itself twice, `depth` times: 2^depth items, if anybody walks it."""
    body = opening + b"q\x00"
    for level in range(depth):
        last = bytes([level])
        body += b"(" + b"h" + last + b"h" + last + joining + b"q" + bytes([level + 1])
    return body


@pytest.mark.parametrize(("opening", "joining"), [(b"]", b"l"), (b")", b"t")])
def test_containers_that_double(opening: bytes, joining: bytes, tmp_path: Path) -> None:
    inner = bomb(80, opening, joining)
    path = tmp_path / "train_batch"
    for key in (b"data", b"vimh_labels", b"height"):
        item = b"X" + len(key).to_bytes(4, "little") + key
        path.write_bytes(b"\x80\x02}(" + item + inner + b"u.")
        with pytest.raises(VIMHError, match="train_batch"):
            read_pickle(path, Metadata.from_json(make_json()))
    for setting in (b"\x80\x02}" + inner + b"Ns.", b"\x80\x02}(" + inner + b"Nu."):
        path.write_bytes(setting)  # as a key: tuples are hashed through and through
        with pytest.raises(VIMHError, match="train_batch"):
            read_pickle(path, Metadata.from_json(make_json()))
    path.write_bytes(b"\x80\x02(" + inner + b"Nd.")
    with pytest.raises(VIMHError, match="train_batch"):
        read_pickle(path, Metadata.from_json(make_json()))
    path.write_bytes(b"\x80\x02cnumpy\ndtype\n" + inner + b"\x85R.")
    with pytest.raises(VIMHError, match="train_batch"):
        read_pickle(path, Metadata.from_json(make_json()))


def test_lists_that_hold_themselves(tmp_path: Path) -> None:
    rows: list[Any] = []
    rows.append(rows)
    path = tmp_path / "train_batch"
    for key in ("data", "vimh_labels", "scale_factors"):
        good = {"data": [[0] * 20], "vimh_labels": [[1, 0, 0]]}
        path.write_bytes(pickle.dumps(good | {key: rows}))
        with pytest.raises(VIMHError, match="train_batch"):
            read_pickle(path, Metadata.from_json(make_json()))
