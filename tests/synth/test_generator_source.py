from pathlib import Path

import pytest
from omegaconf import OmegaConf

from src.data.sources import Source
from src.data.sources.generator import GeneratorSource
from src.vimh.errors import VIMHError
from src.vimh.records import open_dataset
from tests.synth.conftest import MakeRecipe


def test_a_source_makes_its_recipe_once(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = OmegaConf.create(make_recipe("simple", "dataset.size=20"))
    source = GeneratorSource(recipe, tmp_path / "sets")
    assert isinstance(source, Source)
    expected = tmp_path / "sets" / "vimh-32x32x1_8000Hz_1p0s_20dss_simple_2p"
    assert source.dataset_dir == expected
    assert not expected.exists()
    source.make()
    before = (expected / "train").stat().st_mtime_ns
    source.make()
    assert (expected / "train").stat().st_mtime_ns == before
    assert len(open_dataset(expected).train) == 16


def test_a_source_does_not_take_another_recipes_data_set(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    GeneratorSource(make_recipe("simple", "dataset.size=20"), tmp_path).make()
    other = GeneratorSource(make_recipe("simple", "dataset.size=20", "seed=1"), tmp_path)
    with pytest.raises(VIMHError, match="from another recipe"):
        other.make()


def test_a_wrong_recipe_is_refused_before_anything_is_made(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    with pytest.raises(VIMHError, match=r"^data\.source\.recipe\.colour is unknown"):
        GeneratorSource({**make_recipe(), "colour": 1}, tmp_path)
