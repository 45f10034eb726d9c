"""Imports point one way: vimh <- inputs <- synth <- data; models know no data.

utils and schema know no room.
"""

import ast
import os
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
    "calibration": LOWEST,
    "recordings": {*LOWEST, "synth"},
    "data": {*LOWEST, "synth", "inputs", "recordings"},
    "models": {*LOWEST, "inputs", "checkpoints", "calibration"},
    "refining": {*LOWEST, "synth"},
    "evaluation": set(),
    "evaluation.scoring": {
        *LOWEST,
        *("synth", "inputs", "data", "models", "calibration", "build", "refining"),
    },
    "evaluation.prediction": {
        *LOWEST,
        *("synth", "models", "recordings", "calibration", "refining", "evaluation.scoring"),
    },
    "evaluation.export": {*LOWEST, "synth", "models", "recordings", "checkpoint"},
    "evaluation.presentation": {
        *LOWEST,
        *("synth", "models", "build", "data", "refining"),
        *("evaluation.scoring", "evaluation.prediction", "calibration"),
    },
    "callbacks": {
        *LOWEST,
        *("synth", "inputs", "data", "checkpoints", "models", "loggers", "sweeps"),
        *("evaluation.scoring", "evaluation.presentation"),
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


def room_of(module: str) -> str:
    """The room of a module in `src`, a room within a room where there is one."""
    parts = module.split(".")[1:3]
    return ".".join(parts) if ".".join(parts) in ROOMS else parts[0]


def forbidden_rooms(source: str, package: str) -> set[str]:
    """Rooms that a module of `package` imports and must not; `src` itself counts as a room."""
    room = room_of(package)
    found = {m for m in imported_modules(source, package) if m.startswith("src.")}
    if any("." in r and r.startswith(f"{room}.") for r in ROOMS):
        return {room_of(module) for module in found}
    within = room.partition(".")[0]  # `from src.evaluation import scoring` imports both
    return {room_of(m) for m in found} - {room, within, "utils"} - ALLOWED[room]


def room_files() -> list[Path]:
    folders = (ROOT / "src" / room.replace(".", "/") for room in ROOMS)
    return sorted({path for folder in folders for path in folder.rglob("*.py")})


@pytest.mark.parametrize("path", room_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_room_imports_point_one_way(path: Path) -> None:
    package = ".".join(path.relative_to(ROOT).parent.parts)
    if path.relative_to(ROOT).as_posix() in FORMER:
        statements = ast.parse(path.read_text()).body
        assert not any(isinstance(s, ast.FunctionDef | ast.ClassDef) for s in statements)
        return
    assert forbidden_rooms(path.read_text(), package) == set()


SCRIPTS = sorted(
    path
    for folder in ("benchmarks", "examples", "hydra_plugins", "scripts", "viz")
    for path in (ROOT / folder).rglob("*.py")
)


def has_name(module: str, name: str) -> bool:
    """Whether a module of src, read and not imported, has this name or submodule."""
    folder = ROOT.joinpath(*module.split("."))
    file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    if not file.is_file():
        return False
    if (folder / name).is_dir() or (folder / f"{name}.py").is_file():
        return True
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.FunctionDef(name=found) | ast.ClassDef(name=found) | ast.Name(id=found):
                if found == name:
                    return True
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                if name in {alias.asname or alias.name for alias in aliases}:
                    return True
    return False


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_the_scripts_import_of_src_is_there(path: Path) -> None:
    """mypy looks at src alone, and most scripts run rarely."""
    wrong = [
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "src"
        for alias in node.names
        if not has_name(str(node.module), alias.name)
    ]
    assert wrong == []


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
        ("src.evaluation.scoring", "from src.evaluation.scoring import rows", set()),
        (
            "src.evaluation.scoring",
            "from src.evaluation.presentation.pictures import head_picture",
            {"evaluation.presentation"},
        ),
        ("src.evaluation.scoring", "from ..prediction import sounds", {"evaluation.prediction"}),
        ("src.evaluation", "from src.vimh import codec", {"vimh"}),
        ("src.evaluation.export", "from src.export import export", {"export"}),
    ],
)
def test_the_check_finds_what_it_is_for(package: str, source: str, wrong: set[str]) -> None:
    assert forbidden_rooms(source, package) == wrong


def test_nothing_imports_a_command() -> None:
    commands = {"src.train", "src.eval", "src.predict", "src.export"}
    for path in (ROOT / "src").rglob("*.py"):
        package = ".".join(path.relative_to(ROOT).parent.parts)
        assert not imported_modules(path.read_text(), package) & commands, path


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


def test_threads_wait_asleep_before_torch_is_loaded() -> None:
    """OpenMP reads its policy when torch loads it."""
    program = (
        "import os, sys\n"
        "class Watch:\n"
        "    def find_spec(name, path, target=None):\n"
        "        if name == 'torch': print(os.environ['OMP_WAIT_POLICY']); sys.exit()\n"
        "sys.meta_path.insert(0, Watch)\n"
        "import src.train, src.build"
    )
    environment = {name: v for name, v in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout.strip(), done.returncode) == ("passive", 0), done.stderr
