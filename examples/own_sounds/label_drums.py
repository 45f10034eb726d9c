#!/usr/bin/env python
"""Write a table of labels for drum kits whose files are named by what they hold.

usage: python examples/own_sounds/label_drums.py KITS TABLE

KITS has a folder for each kit, such as Hydrogen's (Debian: hydrogen-drumkits, in
/usr/share/hydrogen/data/drumkits). TABLE becomes a CSV file: file, drum (a word), and group, the
kit, so that a kit is never heard in training and in a test. Files whose names say no drum get no
row; import_vimh.py leaves them out with --skip-broken.
"""

import argparse
import csv
import re
import sys
from pathlib import Path

SUFFIXES = (".wav", ".flac", ".aif", ".aiff", ".ogg")
# The first whose expression is in a file's name, in small letters, says what it is.
DRUMS = {
    "hi-hat": r"hat|hh|^ho[_\d]",
    "rim": r"rim|stick|^rs[_\d]",
    "kick": r"kick|bass ?drum|(^|_)bd",
    "snare": r"snare|(^|_)s[dnr]([_\d]|$)",
    "tom": r"tom|^f?t\d?_",
    "cymbal": r"crash|ride|splash|china|^(cc|rc|cra)_",
    "percussion": r"bell|clap|tambourine|agogo|block|conga|glass|sangban",
}


def drum_of(name: str) -> str | None:
    """Return what a file's name says that it holds; None: nothing known."""
    return next((drum for drum, said in DRUMS.items() if re.search(said, name.lower())), None)


def label_drums(kits: Path, table: Path) -> tuple[int, int]:
    """Write the table.

    Returns:
        How many files it names, and of how many kits.
    """
    files = sorted(path for path in kits.rglob("*") if path.suffix.lower() in SUFFIXES)
    rows = [
        [path.relative_to(kits).as_posix(), drum, path.relative_to(kits).parts[0]]
        for path in files
        if (drum := drum_of(path.stem)) is not None
    ]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["file", "drum", "group"], *rows])
    return len(rows), len({row[2] for row in rows})


def main() -> None:
    """The command line."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kits", type=Path)
    parser.add_argument("table", type=Path)
    given = parser.parse_args()
    if not given.kits.is_dir():
        sys.exit(f"label_drums.py: {given.kits}: there is no such folder")
    count, kits = label_drums(given.kits, given.table)
    print(f"wrote {given.table}: {count} sounds of {kits} kits")


if __name__ == "__main__":
    main()
