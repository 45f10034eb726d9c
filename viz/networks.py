"""The network of a model config, built for the shapes of the data set it is meant for."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from src.build import build_loss, build_network, with_all_losses
from src.inputs.preparation import Preparation
from src.inputs.preparation_settings import PreparationSettings
from src.model_settings import ModelSettings
from src.models.components import MultiheadNetwork
from src.schema.plain import plain_node
from src.synth.generate import metadata_json
from src.synth.recipe import Recipe
from src.synth.samples import SampleMaker
from src.utils.errors import ConfigError
from src.vimh.metadata import Metadata

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "configs" / "model"


def _classes(**sizes: int) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "min": 0,
            "max": 255,
            "kind": "categorical",
            "class_names": [str(i) for i in range(size)],
        }
        for name, size in sizes.items()
    }


# Sets that are downloaded or imported: (C, H, W) and the heads. A picture needs no more of them.
IMPORTED: dict[str, tuple[tuple[int, int, int], dict[str, dict[str, Any]]]] = {
    "mnist": ((1, 28, 28), _classes(digit=10)),
    "mnist_vit_995": ((1, 28, 28), _classes(digit=10)),
    "multihead_mnist": ((1, 28, 28), _classes(digit=10, thickness=5, smoothness=3)),
    "cifar10": ((3, 32, 32), _classes(label=10)),
    "multihead_cifar10": ((3, 32, 32), _classes(label=10, domain=2, mobility=3, size=3)),
    "cifar100": ((3, 32, 32), _classes(fine=100)),
    "cifar100_coarse": ((3, 32, 32), _classes(coarse=20)),
    "cifar100mh": ((3, 32, 32), _classes(fine=100, coarse=20)),
}


class ConfiguredNetwork(NamedTuple):
    """A network, and what it was built for."""

    name: str
    data: str
    network: MultiheadNetwork


def model_names() -> list[str]:
    """The model configs; files that start with an underscore are parts."""
    return sorted(path.stem for path in MODELS.glob("*.yaml") if not path.stem.startswith("_"))


def data_of(name: str) -> str:
    """The data config that a model's first line says it is sized on.

    Raises:
        ConfigError: If there is no such model.
    """
    path = MODELS / f"{name}.yaml"
    if name not in model_names():
        raise ConfigError(f"There is no model config {name!r}; --list-configs names them.")
    match = re.search(r"data=(\w+)", path.read_text(encoding="utf-8").splitlines()[0])
    assert match, f"{path.name}: the first line names no data config"
    return match[1]


def build_configured(name: str, data: str | None = None) -> ConfiguredNetwork:
    """Build a model config's network, with the heads that its loss gives it.

    No data set is made or read: what a recipe makes is known beforehand.

    Args:
        name: The model config.
        data: The data config; None: the one that the model is sized on.

    Raises:
        ConfigError: If there is no such config, or the two do not fit each other.
    """
    data = data or data_of(name)
    overrides = [f"model={name}"] + [f"data={data}"] * (data not in IMPORTED)
    with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "configs")):
        cfg = compose("train", overrides)
    metadata = _metadata(cfg, data)
    preparation = Preparation(
        metadata,
        None if data in IMPORTED else PreparationSettings.of(plain_node(cfg, "data")),
    )
    heads = list(metadata.parameters.values())
    settings = with_all_losses(ModelSettings.of(cfg), cfg, metadata)
    losses = {head.name: build_loss(settings.loss_of(head), head) for head in heads}
    network = build_network(settings.net, heads, losses, preparation)
    return ConfiguredNetwork(name, data, network)


def _metadata(cfg: DictConfig, data: str) -> Metadata:
    if data in IMPORTED:
        (channels, height, width), parameters = IMPORTED[data]
        described = {
            "channels": channels,
            "height": height,
            "width": width,
            "parameter_names": list(parameters),
            "parameter_mappings": parameters,
        }
        return Metadata.from_json(described)
    recipe = Recipe.from_mapping(cfg.data.source.recipe)
    return Metadata.from_json(metadata_json(SampleMaker(recipe)))
