"""Every data config composes, names the data set it means, and its module takes a batch."""

import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from src.data.vimh_datamodule import VIMHDataModule

GRID = "avix-vimh-32x32x1_8000Hz_1p0s_72dss_simple_2p_shuffled"
GRID_3 = "avix-vimh-32x32x3_8000Hz_1p0s_72dss_simple_2p_normalized_shuffled"
RANDOM = "vimh-32x32x1_8000Hz_1p0s_16384dss_simple_2p"
NAMES = {
    "vimh": GRID,
    "avix_72dss": GRID,
    "vimh_avix_72dss": GRID,
    "vimh_avix_72dss_64k_jnd_unnormalized": GRID,
    "vimh_avix_72dss_64k_jnd_features_normalized": GRID,
    "vimh_avix_72dss_64k_jnd_normalized": GRID_3,
    "avix_72dss_features": GRID_3,
    "vimh_16kdss": RANDOM,
    "avix_16kdss": RANDOM,
    "vimh_simple_wide": "vimh-32x32x1_8000Hz_1p0s_16384dss_simple_wide_2p",
    "vimh_simple_3p": "vimh-64x64x1_8000Hz_1p0s_32768dss_simple_3p_3p",
    "vimh_simple_noisy": "vimh-64x64x1_8000Hz_1p0s_32768dss_simple_noisy_3p",
}


@pytest.fixture(scope="module")
def vimh_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared, so that each grid is made once."""
    return tmp_path_factory.mktemp("data-vimh")


@pytest.fixture
def config_dir(project_root: Path) -> Iterator[None]:
    with initialize_config_dir(version_base="1.3", config_dir=str(project_root / "configs")):
        yield


def data_config(name: str, vimh_dir: Path, *overrides: str) -> DictConfig:
    group = [f"+data={name}", "+paths=default", f"paths.vimh_dir={vimh_dir}"]
    return compose(config_name=None, overrides=[*group, *overrides]).data


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("config_dir")
def test_each_names_its_data_set_and_plain_arguments(name: str, vimh_dir: Path) -> None:
    cfg = data_config(name, vimh_dir)
    data = instantiate(cfg)
    assert data.data_dir == vimh_dir / NAMES[name]
    assert OmegaConf.missing_keys(cfg) == set()
    for value in vars(data.preparation_settings).values():
        assert type(value) in (type(None), list, dict)


@pytest.mark.usefixtures("config_dir")
def test_the_base_lists_every_argument_with_its_default(vimh_dir: Path) -> None:
    cfg = data_config("default", vimh_dir)
    arguments = inspect.signature(VIMHDataModule).parameters
    assert {key for key in cfg if not key.startswith("_")} == set(arguments)
    plain = OmegaConf.to_container(cfg)
    for key, parameter in arguments.items():
        default = parameter.default
        assert plain[key] == (list(default) if isinstance(default, tuple) else default)


@pytest.mark.parametrize(
    ("name", "shape", "auxiliary"),
    [
        ("avix_72dss", (1, 32, 32), 0),
        ("vimh_avix_72dss_64k_jnd_normalized", (3, 32, 32), 0),
        ("vimh_avix_72dss_64k_jnd_features_normalized", (3, 32, 32), 0),
        ("avix_72dss_features", (3, 32, 32), 5),
    ],
)
@pytest.mark.usefixtures("config_dir")
def test_the_grids_are_made_and_give_batches(
    name: str, shape: tuple[int, int, int], auxiliary: int, vimh_dir: Path
) -> None:
    data = instantiate(data_config(name, vimh_dir))
    preparation = data.build_preparation()
    assert data.image_shape == preparation.image_shape == shape
    assert preparation.auxiliary_size == auxiliary
    (raw,) = data.train_dataloader()
    batch = preparation.prepare_batch(raw)
    assert batch.images.shape == (50, *shape)
    assert torch.isfinite(batch.images).all()
    assert data.heads_config == {"note_velocity": 3, "log10_decay_time": 24}


@pytest.mark.usefixtures("config_dir")
def test_on_the_fly_channels_are_those_of_generating(vimh_dir: Path) -> None:
    """From rounded pixels, so within a few of 255 steps; both sets have the same order."""
    made, derived = (
        instantiate(data_config(f"vimh_avix_72dss_64k_jnd_{kind}", vimh_dir))
        for kind in ("normalized", "features_normalized")
    )
    (ours,), (theirs,) = (list(data.raw_batches("train")) for data in (derived, made))
    assert torch.equal(ours.values, theirs.values)
    assert torch.equal(ours.scale_factors, theirs.scale_factors)
    ours_BCHW = derived.build_preparation().prepare_batch(ours).images
    theirs_BCHW = made.build_preparation().prepare_batch(theirs).images
    envelopes = (ours_BCHW - theirs_BCHW)[:, 1:].abs()
    assert envelopes.max() <= 1 / 255
    assert (ours_BCHW - theirs_BCHW)[:, 0].abs().mean() < 2 / 255


@pytest.mark.usefixtures("config_dir")
def test_both_grids_give_the_decay_time_within_a_tenth_of_a_step(vimh_dir: Path) -> None:
    for name in ("avix_72dss", "avix_72dss_features"):
        data = instantiate(
            data_config(name, vimh_dir, "data.auxiliary_features=[decay_time,level]")
        )
        preparation = data.build_preparation()
        decay = data.metadata.parameters["log10_decay_time"]
        for raw in data.raw_batches("train"):
            true = decay.min + decay.range * raw.values[:, 1]
            found = preparation.auxiliary(raw.images, raw.scale_factors)[:, 0]
            assert (found - true).abs().max() < 0.1 * decay.step
            loud = preparation.auxiliary(raw.images, raw.scale_factors)[:, 4]
            assert torch.equal(loud, raw.scale_factors[:, 1])


@pytest.mark.usefixtures("config_dir")
def test_another_recipe_under_the_same_name_is_refused(vimh_dir: Path) -> None:
    instantiate(data_config("avix_72dss", vimh_dir)).prepare_data()
    other = instantiate(data_config("avix_72dss", vimh_dir, "data.source.recipe.seed=7"))
    with pytest.raises(ValueError, match="another recipe"):
        other.prepare_data()


@pytest.mark.usefixtures("config_dir")
def test_the_grid_has_equal_images_and_says_so(
    vimh_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = instantiate(data_config("avix_72dss", vimh_dir))
    with caplog.at_level("INFO"):
        data.setup()
    assert data.count_shared_images() > 0
    assert "test images also occur in training" in caplog.text
