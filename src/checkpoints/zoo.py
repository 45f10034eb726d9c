"""The trained models of the repository by name: ``zoo:resonator``.

Wherever a model file is read, its name may stand in the place of a path; docs/zoo.md lists them.
"""

from __future__ import annotations

from pathlib import Path

from src.utils.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
# The second holds the model of the README's first command.
FOLDERS = (ROOT / "zoo", ROOT / "examples" / "model")
PREFIX = "zoo:"


def zoo_files() -> dict[str, Path]:
    """Return the models' files by their names, in the order of the names."""
    found = {path.stem: path for folder in FOLDERS for path in folder.glob("*.safetensors")}
    return dict(sorted(found.items()))


def is_zoo(path: str | Path) -> bool:
    """Tell whether a text names a model of the zoo, perhaps one that is not there.

    Example:
        >>> is_zoo("zoo:resonator"), is_zoo("zoo/resonator.safetensors"), is_zoo("./zoo:a")
        (True, False, False)
    """
    return str(path).startswith(PREFIX)


def model_path(path: str | Path) -> Path:
    """Return the file of a model: of ``zoo:NAME`` that of the zoo, else the path itself.

    Raises:
        ConfigError: If the zoo has no model of that name; lists those that it has.

    Example:
        >>> model_path("zoo:simple_wide").name, model_path("my/model.ckpt").name
        ('simple_wide.safetensors', 'model.ckpt')
    """
    if not is_zoo(path):
        return Path(path)
    files = zoo_files()
    found = files.get(str(path).removeprefix(PREFIX))
    if found is None:
        raise ConfigError(
            f"{str(path)[:100]!r} is no model of the zoo; it has {', '.join(files)}: docs/zoo.md"
        )
    return found
