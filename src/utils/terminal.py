"""Read and write texts of any letters, whatever the locale."""

import io
import os
import sys


def take_any_text() -> None:
    r"""Let this process read and write names and texts of any letters; call this before all else.

    With an ASCII locale (``LC_ALL=C``, a bare container) Python splits the name of a file into
    bytes that most libraries refuse. This function then starts Python again, once, in its UTF-8
    mode (PEP 540). Letters that standard output cannot show are written as ``\xe9``.
    """
    if sys.getfilesystemencoding() == "ascii" and not sys.flags.utf8_mode:
        os.environ["PYTHONUTF8"] = "1"  # for subprocesses
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not so in a notebook or a test
            stream.reconfigure(errors="backslashreplace")
