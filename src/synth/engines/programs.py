"""Programs and plug-ins by their content: a file, or a bundle, which is a folder."""

import hashlib
import os
import re
from pathlib import Path

from src.synth.errors import RecipeError
from src.utils.trust import current_trust, how_to_trust_program
from src.vimh.plain import file_digest, shown

MAX_TEXT_BYTES = 2**20  # of a program
_IMPORT = re.compile(rb'\b(?:import|library|component)\s*\(\s*"([^"\0]+)"')
# Programs of this project are trusted as its code is.
_SHIPPED = Path(__file__).resolve().parents[3] / "examples" / "faust"


def program_digest(path: Path) -> str:
    """Return the SHA-256 of a file; of several files that of their names and digests.

    Several are those of a folder, or a Faust program and what it imports from beside it.

    Raises:
        RecipeError: if there is none.
    """
    if path.is_file():
        digest, others = file_digest(path), _imported(path)
    elif path.is_dir():
        digest = ""
        others = {p.relative_to(path).as_posix(): p for p in path.rglob("*") if p.is_file()}
    else:
        raise RecipeError(f"{path}: there is no such file; expected a program or a plug-in")
    if not others:
        return digest
    lines = (f"{name}\0{file_digest(file)}\n" for name, file in sorted(others.items()))
    return hashlib.sha256((digest + "".join(lines)).encode()).hexdigest()


def _imported(program: Path) -> dict[str, Path]:
    """Return the files beside a Faust program that it imports, by the names that it gives them."""
    found: dict[str, Path] = {}
    waiting = [program] if program.suffix == ".dsp" else []
    while waiting:
        for name in map(os.fsdecode, _IMPORT.findall(waiting.pop().read_bytes())):
            file = program.parent / name
            if name not in found and file.is_file() and file != program:
                found[name] = file
                waiting.append(file)
    return found


def program_text(path: Path) -> str:
    """Return the text of a program that is there: :func:`program_digest` has looked.

    Raises:
        RecipeError: if it is none, or too long.
    """
    data = path.read_bytes() if path.is_file() else b"\xff"
    if len(data) > MAX_TEXT_BYTES:
        raise RecipeError(f"{path} has {len(data)} bytes; expected at most {MAX_TEXT_BYTES}")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is no text; expected a program in UTF-8") from error


def trusted_program(sha256: str | None, name: str, key: str) -> Path:
    """Find the program or plug-in of this content among those that the user trusts.

    Args:
        sha256: what a data set or checkpoint says of it.
        name: what it calls it, for the message.
        key: the argument that names it, for the message.

    Raises:
        RecipeError: if there is none. What the file names itself is not looked at.
    """
    trusted = current_trust().programs
    for path in (*map(Path, trusted), *sorted(_SHIPPED.glob("*.dsp"))):
        if program_digest(path) == sha256:
            return path
    how = how_to_trust_program(shown(Path(name).name), f"{sha256}", trusted)
    raise RecipeError(f"synth.{key}: {how}")
