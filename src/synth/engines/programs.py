"""Programs and plug-ins by their content: a file, or a bundle, which is a folder."""

import hashlib
from pathlib import Path

from src.synth.errors import RecipeError
from src.utils.trust import current_trust, how_to_trust_program
from src.vimh.plain import file_digest, shown

MAX_TEXT_BYTES = 2**20  # of a program
# Programs of this project are trusted as its code is.
_SHIPPED = Path(__file__).resolve().parents[3] / "examples" / "faust"


def program_digest(path: Path) -> str:
    """Return the SHA-256 of a file; of a folder that of the names and digests of its files.

    Raises:
        RecipeError: if there is neither.
    """
    if path.is_file():
        return file_digest(path)
    if not path.is_dir():
        raise RecipeError(f"{path}: there is no such file; expected a program or a plug-in")
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{file_digest(file)}\n".encode())
    return digest.hexdigest()


def program_text(path: Path) -> str:
    """Return the text of a program.

    Raises:
        RecipeError: if it is none, or too long.
    """
    program_digest(path)
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
    for path in map(Path, trusted):
        if program_digest(path) == sha256:
            return path
    for path in sorted(_SHIPPED.glob("*.dsp")):
        if program_digest(path) == sha256:
            return path
    how = how_to_trust_program(shown(Path(name).name), f"{sha256}", trusted)
    raise RecipeError(f"synth.{key}: {how}")
