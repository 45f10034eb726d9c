"""Imports point one way: vimh <- inputs <- synth <- data; models know no data.

utils and schema know no room.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What a room may import of the project, besides itself and utils (utils is below all).
LOWEST = {"schema", "vimh"}
ALLOWED: dict[str, set[str]] = {
    "schema": set(),
    "vimh": set(),
    "inputs": LOWEST,
    "synth": {*LOWEST, "inputs"},
    "checkpoints": LOWEST,
    "data": {*LOWEST, "synth", "inputs"},
    "models": {*LOWEST, "inputs", "checkpoints"},
    "evaluation": {*LOWEST, "synth", "inputs", "data", "models", "build"},
    "callbacks": {
        *LOWEST,
        *("synth", "inputs", "data", "checkpoints", "models", "evaluation", "loggers", "sweeps"),
    },
    "loggers": LOWEST,
    "sweeps": LOWEST,
    "training": LOWEST,
    "utils": set(),
}
ROOMS = set(ALLOWED)
# Former places, which users' configs name: they hand on what lies elsewhere now.
FORMER = {"src/utils/multirun_table.py", "src/utils/tensorboard_logger.py"}
HEAVY = ("torch", "lightning", "hydra", "omegaconf", "matplotlib", "sklearn")


def imported_modules(source: str, package: str) -> set[str]:
    """Dotted names of all imports in a source text, relative ones resolved against its package."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join(parts) if node.level else ""
            module = ".".join(filter(None, [base, node.module or ""]))
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def forbidden_rooms(source: str, package: str) -> set[str]:
    """Rooms that a module of `package` imports and must not; `src` itself counts as a room."""
    room = package.split(".")[1]
    wrong = set()
    for module in imported_modules(source, package):
        parts = module.split(".")
        if parts[0] != "src" or len(parts) == 1:
            continue
        target = parts[1]
        if target not in {room, "utils"} | ALLOWED[room]:
            wrong.add(target)
    return wrong


def room_files() -> list[Path]:
    return sorted(path for room in ROOMS for path in (ROOT / "src" / room).rglob("*.py"))


@pytest.mark.parametrize("path", room_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_room_imports_point_one_way(path: Path) -> None:
    package = ".".join(path.relative_to(ROOT).parent.parts)
    if path.relative_to(ROOT).as_posix() in FORMER:
        statements = ast.parse(path.read_text()).body
        assert not any(isinstance(s, ast.FunctionDef | ast.ClassDef) for s in statements)
        return
    assert forbidden_rooms(path.read_text(), package) == set()


def test_every_folder_of_src_is_a_known_room() -> None:
    folders = {path.name for path in (ROOT / "src").iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} <= ROOMS


@pytest.mark.parametrize(
    ("package", "source", "wrong"),
    [
        ("src.vimh", "import src.synth.spectrogram", {"synth"}),
        ("src.synth", "from src.data import batch", {"data"}),
        ("src.inputs", "from src.synth import samples", {"synth"}),
        ("src.models", "from src.vimh.parameters import Parameter", set()),
        ("src.models.losses", "from src.data.splits import Splits", {"data"}),
        ("src.models.losses", "from ..components import heads", set()),
        ("src.models", "from ..data.batch import Batch", {"data"}),
        ("src.utils", "from src import vimh", {"vimh"}),
        ("src.data", "from src.build import build", {"build"}),
    ],
)
def test_the_check_finds_what_it_is_for(package: str, source: str, wrong: set[str]) -> None:
    assert forbidden_rooms(source, package) == wrong


def test_vimh_is_usable_without_torch_lightning_and_hydra() -> None:
    """Every module of the room imported in a fresh process: nothing heavy comes with it."""
    names = sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "src" / "vimh").rglob("*.py")
    )
    assert "src.vimh" in names
    program = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
