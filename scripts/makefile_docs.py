"""Write docs/makefile.md from the Makefile and make/*.mk; --check only compares."""

import argparse
import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "docs" / "makefile.md"
TARGET = re.compile(r"^([a-z0-9][a-z0-9_ -]*):(?!=).*?## (.+)$")

HEADER = """# Make targets

Written by `make makefile-docs` from the Makefile and `make/*.mk`: change those, not this page.

Every target has a long and a short name. `.venv` is made, and `requirements.txt` installed into it,
by the first target that needs it and again when `requirements.txt` changes.

| variable | meaning |
|---|---|
| `ARGS="…"` | passed on to the command: overrides for trainings and data sets, options for pytest |
| `PYTHON=…` | use this interpreter with the packages that it has, and no `.venv` |
| `PYTHON3=…` | make the virtual environment by this interpreter, such as `python3.13` |
| `VENV=…` | another place for the virtual environment (default `.venv`) |
| `PIP_ARGS="…"` | passed to `pip install`, such as the index of another torch build |
| `RUN_ENV="…"` | environment of trainings, data sets and benchmarks, such as `OMP_NUM_THREADS=1` |
"""


class Target(NamedTuple):
    """One documented rule of the Makefile."""

    group: str
    names: list[str]
    text: str


def makefiles(root: Path = ROOT) -> list[Path]:
    """List the Makefile and the files that it includes, in order."""
    main = root / "Makefile"
    included = re.findall(r"^include (\S+)$", main.read_text(), re.MULTILINE)
    return [main, *(root / name for name in included)]


def targets(root: Path = ROOT) -> list[Target]:
    """List all rules with a `##` text, each with its `##@` heading."""
    found = []
    group = ""
    for path in makefiles(root):
        for line in path.read_text().splitlines():
            if line.startswith("##@ "):
                group = line.removeprefix("##@ ")
            elif match := TARGET.match(line):
                found.append(Target(group, match[1].split(), match[2]))
    return found


def render(root: Path = ROOT) -> str:
    """Write the page as Markdown."""
    lines = [HEADER]
    group = None
    for target in targets(root):
        if target.group != group:
            group = target.group
            lines += [""] * lines[-1].startswith("|") + [f"## {group}", ""]
            lines += ["| target | what it does |", "|---|---|"]
        names = ", ".join(f"`{name}`" for name in target.names)
        lines.append(f"| {names} | {target.text.replace('|', '&#124;')} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page, or check it: exit code 1 where it is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare; 1 when they differ")
    check: bool = parser.parse_args().check
    page = render()
    if check:
        if not OUTPUT.exists() or OUTPUT.read_text(encoding="utf-8") != page:
            print(f"{OUTPUT.relative_to(ROOT)} is out of date: run `make makefile-docs`")
            return 1
        return 0
    OUTPUT.write_text(page, encoding="utf-8")
    print(f"wrote {OUTPUT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
