"""The files of a folder, and what tells whether they are still the same."""

import hashlib
import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from src.recordings import arrays, images, sounds
from src.vimh.errors import VIMHError

Kind = Literal["sounds", "images"]
SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "sounds": (*sounds.SUFFIXES, *arrays.SUFFIXES),
    "images": images.SUFFIXES,
}

_KINDS = {suffix: kind for kind, known in SUFFIXES.items() for suffix in known}


def kind_of(name: str) -> Kind | None:
    """Return what a file holds, by the end of its name."""
    return _KINDS.get(os.path.splitext(name)[1].lower())


@dataclass(frozen=True)
class Folder:
    """The sounds and images in a folder and its subfolders, without hidden ones.

    Attributes:
        path: the folder.
        sizes: bytes of each file, by its path from the folder on with slashes, sorted.
    """

    path: Path
    sizes: Mapping[str, int]

    @classmethod
    def of(cls, path: Path) -> "Folder":
        """Look into a folder.

        Raises:
            VIMHError: it is not there, or holds no sound and no image.
        """
        if not path.is_dir():
            raise VIMHError(f"{path}: there is no such folder of sounds or images")
        sizes: dict[str, int] = {}
        for where, folders, files in os.walk(path):
            folders[:] = sorted(f for f in folders if not f.startswith((".", "__MACOSX")))
            inside = os.path.relpath(where, path)
            for name in files:
                if not name.startswith(".") and kind_of(name) is not None:
                    whole = name if inside == "." else f"{inside}/{name}"
                    sizes[whole] = os.stat(os.path.join(where, name)).st_size
        if not sizes:
            known = ", ".join(suffix for ends in SUFFIXES.values() for suffix in ends)
            raise VIMHError(f"{path}: there is no sound and no image in it ({known})")
        return cls(path, dict(sorted(sizes.items())))

    @cached_property
    def _composed(self) -> dict[str, str]:
        """Names by their composed form: macOS decomposes accents where tables do not."""
        return {unicodedata.normalize("NFC", name): name for name in self.sizes}

    def find(self, given: str) -> str | None:
        """Return the file that a table names, by its path from the folder on; None: none does."""
        name = os.path.normpath(given)
        if os.path.isabs(name):
            name = os.path.relpath(name, os.path.abspath(self.path))
        return self._composed.get(unicodedata.normalize("NFC", name))

    def of_kind(self, kind: Kind) -> list[str]:
        """Return the files of a kind, sorted."""
        return [name for name in self.sizes if kind_of(name) == kind]

    def names_digest(self, kind: Kind) -> str:
        """SHA-256 of the names and sizes of a kind."""
        lines = (f"{self.sizes[name]} {name}\n" for name in self.of_kind(kind))
        return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()

    def newest(self, kind: Kind) -> float:
        """Return when the newest file of a kind was changed."""
        return max(os.stat(self.path / name).st_mtime for name in self.of_kind(kind))


def contents_digest(digests: Mapping[str, bytes]) -> str:
    """SHA-256 of the digests of files, in the order of their names."""
    return hashlib.sha256(b"".join(digests[name] for name in sorted(digests))).hexdigest()
