"""Texts of any letters, whatever the locale."""

import io
import os
import sys


def take_any_text() -> None:
    r"""Has this process read and write names and texts of any letters; called before all else.

    With an ASCII locale (``LC_ALL=C``, a bare container) Python takes the name of a file apart into
    bytes that most libraries refuse. Python then starts anew in its UTF-8 mode (PEP 540), once.
    Letters that standard output can not show are written as ``\xe9`` instead of raising.
    """
    if sys.getfilesystemencoding() == "ascii" and not sys.flags.utf8_mode:
        os.environ["PYTHONUTF8"] = "1"  # for processes that this one starts
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a notebook or a test may have put something else
            stream.reconfigure(errors="backslashreplace")
