"""Any value at any key of a recipe or a data config: taken, or one error that names the key."""

import contextlib
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from src.model_settings import NETWORKS, network_spec
from src.schema.plain import check_plain, plain_values
from src.schema.specs import listed
from src.synth.recipe import Recipe
from src.utils.errors import ConfigError
from src.utils.foreign_errors import called
from src.vimh.errors import VIMHError
from src.vimh.names import named_image_size
from tests.fuzzing import FUZZ, FUZZ_FEW, json_values

values = json_values | st.integers(-(10**400), 10**400) | st.sampled_from([1e308, -1e-308, "../x"])


@pytest.fixture(scope="module")
def recipe(project_root: Path) -> dict[str, Any]:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(version_base="1.3", config_dir=str(project_root / "configs")):
        return plain_values(compose("generate_simple"))


def keys_of(node: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, value in node.items():
        found.append((*path, key))
        if isinstance(value, dict):
            found += keys_of(value, (*path, key))
    return found


def test_a_recipe_takes_no_memory_for_what_it_claims(recipe: dict[str, Any]) -> None:
    for side in ("height", "width", "channels"):
        changed = plain_values(recipe)
        changed["image"][side] = 10**10
        with pytest.raises(
            VIMHError,
            match=rf"^image\.{side} is 10000000000; expected .* at least 1 and at most 65535$",
        ):
            Recipe.from_mapping(changed)


@given(data=st.data(), value=values)
@FUZZ
def test_any_value_in_a_recipe(data: st.DataObject, value: Any, recipe: dict[str, Any]) -> None:
    *parents, key = data.draw(st.sampled_from(keys_of(recipe)))
    changed = plain_values(recipe)
    node = changed
    for parent in parents:
        node = node[parent]
    node[key] = value
    try:
        name = Recipe.from_mapping(changed).dataset_name()
    except VIMHError:
        return
    assert Path(name).name == name  # no way out of the folder that it is made in


@given(
    key=st.sampled_from(
        [
            *("batch_size", "num_workers", "target_width", "train_val_test_split", "seed"),
            *("validate", "residency", "feature_types", "auxiliary_features", "augmentation"),
            *("channel_selection", "feature_config"),
        ]
    ),
    value=values,
)
@FUZZ_FEW
def test_any_value_in_the_data_config(key: str, value: Any) -> None:
    target = "src.data.vimh_datamodule.VIMHDataModule"
    cfg = OmegaConf.create({"_target_": target, "data_dir": "some/where", key: value})
    with contextlib.suppress(ConfigError):
        called(partial(hydra.utils.instantiate, cfg), "data")


@given(node=json_values | st.dictionaries(st.sampled_from(["_target_", "_args_", "x"]), values))
@FUZZ
def test_any_target_in_a_checkpoint(node: Any) -> None:
    with contextlib.suppress(ConfigError):
        check_plain(node, "a.ckpt: model.net")
        network_spec(node, listed(NETWORKS, "a checkpoint may name only networks"))


@given(name=st.text(max_size=40) | st.from_regex(r"vimh-\d{0,9}x\d{0,9}x\d{0,9}.{0,9}"))
@FUZZ
def test_any_name_of_a_data_set(name: str) -> None:
    with contextlib.suppress(VIMHError):
        named_image_size(name)
