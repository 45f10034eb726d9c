"""The natural images' configs: the heads that the models are sized on, whole runs, the default."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import open_dict

from src.build import build
from src.eval import evaluate
from src.train import train
from src.utils.errors import ConfigError
from tests.helpers import shrink

HEADS = {
    "digits": {"digit": 10},
    "mnist": {"digit": 10},
    "mnist_vit_995": {"digit": 10},
    "multihead_mnist": {"digit": 10, "thickness": 5, "smoothness": 3},
    "cifar10": {"label": 10},
    "multihead_cifar10": {"label": 10, "domain": 2, "mobility": 3, "size": 3},
    "cifar100": {"fine": 100},
    "cifar100_coarse": {"coarse": 20},
    "cifar100mh": {"fine": 100, "coarse": 20},
}
SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "cifar": (3, 32, 32)}


@pytest.fixture
def config(compose_config, data_root: Path):
    def composed(*overrides: str):
        return shrink(compose_config("train", *overrides), data_root)

    return composed


@pytest.mark.parametrize("name", HEADS)
def test_data_configs_name_their_set_heads_and_splits(name: str, config, data_root: Path) -> None:
    data = instantiate(config(f"data={name}").data)
    data.prepare_data()
    assert data.data_dir.parent == data_root
    assert data.num_classes == HEADS[name]
    assert data.image_shape == next(s for key, s in SHAPES.items() if key in name)
    sizes = data.splits.sizes
    own = name != "digits"
    assert data.use_random_split != own
    assert sizes["test"] == (31 if own else 359)
    assert sizes["val"] > 0
    train, val, test = (set(data.splits[stage].tolist()) for stage in ("train", "val", "test"))
    assert len(train | val | test) == len(train) + len(val) + len(test)
    assert data.count_shared_images() == 0


def test_augmentation_is_off_unless_a_config_turns_it_on(config) -> None:
    for name in HEADS:
        wanted = config(f"data={name}").data.augmentation
        assert wanted is None or name == "mnist_vit_995"


def test_augmentation_is_refused_for_sounds(config) -> None:
    cfg = config("experiment=avix_cnn_72dss", "data.augmentation={flip: true}")
    with pytest.raises(ConfigError, match="is another sound"):
        build(cfg)


def test_the_default_run_needs_no_download(config, compose_config) -> None:
    assert "digits" in compose_config("train").data.source._target_
    cfg = config("trainer.max_epochs=2")
    metrics, objects = train(cfg)
    assert objects["datamodule"].data_dir.name == "vimh-8x8x1_digits"
    assert metrics["test/acc"] > 0.2  # chance is 0.1


def test_normalised_run_evaluates_to_the_same_from_its_checkpoint(
    config, compose_config, data_root: Path
) -> None:
    """The set's mean and deviation travel in the checkpoint; evaluation does not augment."""
    cfg = config("experiment=cifar10_benchmark_cnn", "trainer.max_epochs=1")
    metrics, objects = train(cfg)
    ours = compose_config(
        "eval", f"ckpt_path='{objects['trainer'].checkpoint_callback.best_model_path}'"
    )
    with open_dict(ours):
        ours.trainer.accelerator = "cpu"
        ours.trainer.enable_progress_bar = False
    found, evaluated = evaluate(ours)
    assert evaluated["model"].preparation.normalises
    mean = evaluated["model"].preparation.channel_mean
    assert torch.equal(mean, objects["model"].preparation.channel_mean)
    assert mean.abs().min() > 0
    assert found["test/loss"] == pytest.approx(float(metrics["test/loss"]), rel=1e-5)


@pytest.mark.parametrize("name", ["multihead_mnist", "cifar100mh"])
def test_losses_that_need_an_order_are_refused(name: str, config) -> None:
    with pytest.raises(ConfigError, match="loss: "):
        build(config(f"data={name}", "loss=ordinal"))


@pytest.mark.slow
def test_an_augmented_run_that_goes_on_ends_with_the_same_weights(config, tmp_path: Path) -> None:
    """Crops are drawn as an uninterrupted run would draw them."""
    weights = []
    for run, epochs in (("whole", [2]), ("parts", [1, 2])):
        for max_epochs in epochs:
            cfg = config("experiment=digits_cnn", "model/scheduler=constant")
            with open_dict(cfg):
                cfg.test = False
                cfg.trainer.max_epochs = max_epochs
                cfg.trainer.limit_train_batches = 4
                cfg.paths.output_dir = str(tmp_path / run)
                last = tmp_path / run / "checkpoints" / "last.ckpt"
                cfg.ckpt_path = str(last) if last.exists() else None
            _, objects = train(cfg)
            assert objects["trainer"].global_step == 4 * max_epochs
        names = sorted(path.name for path in last.parent.iterdir())
        assert "last.ckpt" in names
        assert len(names) == 2  # and the best one
        weights.append(torch.cat([p.flatten() for p in objects["model"].net.parameters()]))
    assert torch.equal(*weights)
