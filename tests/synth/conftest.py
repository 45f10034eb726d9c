from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from src.schema.plain import plain_values

CONFIGS = Path(__file__).resolve().parents[2] / "configs"

MakeRecipe = Callable[..., dict[str, Any]]


@cache
def _composed(name: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return plain_values(compose(f"generate_{name}", overrides=list(overrides)))


@pytest.fixture
def make_recipe(tmp_path: Path) -> MakeRecipe:
    """`make_recipe("simple", "dataset.size=100", …)`: a recipe that writes to tmp_path."""

    def make(name: str = "simple", *overrides: str) -> dict[str, Any]:
        recipe = deepcopy(_composed(name, overrides))
        recipe["generate"]["output_dir"] = str(tmp_path)
        return recipe

    return make
