"""Standard output that takes any text."""

import io
import sys


def take_any_text() -> None:
    r"""Has letters that standard output's encoding lacks written as ``\xe9`` instead of raising.

    An ASCII locale has no ``é`` and no ``±``, and no encoding has what Python makes of a file name
    that is not valid UTF-8.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a notebook or a test may have put something else
            stream.reconfigure(errors="backslashreplace")
