"""An ASCII locale, and output that lacks letters."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from src.utils.terminal import take_any_text
take_any_text()
print(sys.argv[1], "±", sys.getfilesystemencoding())
"""


def run(folder: Path, argument: bytes, **more: str) -> bytes:
    (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **more}
    done = subprocess.run(
        [sys.executable, folder / "program.py", argument],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout.strip()


def test_an_ascii_locale_takes_names_of_any_letters(tmp_path: Path) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    assert run(tmp_path, "José".encode(), **ascii_only) == "José ± utf-8".encode()


def test_letters_that_can_not_be_shown_do_not_end_a_command(tmp_path: Path) -> None:
    assert run(tmp_path, "José".encode(), PYTHONIOENCODING="ascii") == rb"Jos\xe9 \xb1 utf-8"
    assert run(tmp_path, b"Jos\xe9", PYTHONUTF8="1") == rb"Jos\udce9" + " ± utf-8".encode()
