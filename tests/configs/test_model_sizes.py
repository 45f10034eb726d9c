"""Every model config composes and builds, and a size in its name is the measured one."""

import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import hydra
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from src.build import build_loss, build_network
from src.inputs.preparation import Preparation
from src.inputs.preparation_settings import PreparationSettings
from src.model_settings import loss_spec, network_spec
from src.models.components import MultiheadNetwork
from src.schema.plain import plain_node
from src.vimh.metadata import Metadata
from viz.networks import IMPORTED

CONFIGS = Path(__file__).parents[2] / "configs"
MODELS = CONFIGS / "model"
NAMES = sorted(path.stem for path in MODELS.glob("*.yaml") if not path.stem.startswith("_"))
SIZED = [name for name in NAMES if re.search(r"_\d+[km](_|$)", name)]

AVIX = {
    "note_velocity": {"min": 126.0, "max": 127.0, "step": 0.5},
    "log10_decay_time": {"min": -2.0, "max": 0.3, "step": 0.1},
}
# What the data configs that models are sized on give: (C, H, W) and the parameters.
DATA = {
    "avix_72dss": ((1, 32, 32), AVIX),
    "vimh": ((1, 32, 32), AVIX),
    **IMPORTED,
}


def data_of(name: str) -> str:
    """The data config that a model's first line says it is sized on."""
    first = (MODELS / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    match = re.search(r"data=(\w+)", first)
    assert match, f"{name}.yaml: the first line must name a data config, as in data=avix_72dss"
    return match[1]


def network_of(
    cfg: DictConfig, data: str, auxiliary_features: list[str] | None = None
) -> MultiheadNetwork:
    """The network that the build function makes of a config for a data set."""
    (channels, height, width), parameters = DATA[data]
    metadata = Metadata.from_json(
        {
            "channels": channels,
            "sample_rate": 8000,
            "height": height,
            "width": width,
            "parameter_names": list(parameters),
            "parameter_mappings": parameters,
        }
    )
    heads = list(metadata.parameters.values())
    loss = loss_spec(plain_node(cfg, "loss"))
    losses = {parameter.name: build_loss(loss, parameter) for parameter in heads}
    preparation = Preparation(metadata, PreparationSettings(auxiliary_features=auxiliary_features))
    return build_network(network_spec(plain_node(cfg.model, "net")), heads, losses, preparation)


def count(network: MultiheadNetwork) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def size_in(name: str) -> float:
    number, unit = re.search(r"_(\d+)([km])(?:_|$)", name).groups()
    return int(number) * {"k": 1e3, "m": 1e6}[unit]


@pytest.fixture(scope="module")
def composed(tmp_path_factory) -> Callable[..., DictConfig]:
    """Compose a model, its loss and the trainer; all of train.yaml takes three times as long."""
    folder = tmp_path_factory.mktemp("primary")
    (folder / "primary.yaml").write_text(
        f"hydra:\n  searchpath: ['file://{CONFIGS}']\n"
        "defaults:\n  - loss: ce\n  - model: avix_cnn_11k\n  - trainer: default\n  - _self_\n"
    )
    cache: dict[tuple[str, ...], DictConfig] = {}

    def compose_once(*overrides: str) -> DictConfig:
        if overrides not in cache:
            with initialize_config_dir(version_base="1.3", config_dir=str(folder)):
                cache[overrides] = compose("primary", list(overrides))
        return deepcopy(cache[overrides])

    return compose_once


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.sampled(3)
def test_every_model_builds_for_its_data_with_its_own_loss(name, composed):
    network = network_of(composed(f"model={name}"), data_of(name))
    assert network.image_shape == DATA[data_of(name)][0]
    assert list(network.heads_config) == list(DATA[data_of(name)][1])
    if name in SIZED:
        assert count(network) == pytest.approx(size_in(name), rel=0.1)


def test_a_size_is_found_in_a_name():
    assert size_in("avix_cnn_64k_jnd_dg_hybrid") == 64e3
    assert size_in("cifar100_convnext_10m") == 10e6
    assert len(SIZED) > 50


@pytest.mark.parametrize("name", [n for n in SIZED if n.startswith("avix_")])
@pytest.mark.parametrize("loss", ["ce", "dg"])
def test_avix_sizes_are_true_with_classes_and_with_regression(name, loss, composed):
    cfg = composed(f"model={name}")
    cfg.loss = OmegaConf.load(CONFIGS / "loss" / f"{loss}.yaml")
    assert count(network_of(cfg, "avix_72dss")) == pytest.approx(size_in(name), rel=0.1)


def test_the_hybrid_keeps_its_size_with_auxiliary_features(composed):
    cfg = composed("model=avix_cnn_64k_jnd_dg_hybrid")
    plain = count(network_of(cfg, "avix_72dss"))
    hybrid = count(network_of(cfg, "avix_72dss", ["level"]))
    assert plain < hybrid
    assert hybrid == pytest.approx(64e3, rel=0.1)


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith(("avix_", "direct_gradient"))])
def test_avix_models_list_weights_to_derive(name, composed):
    weights = composed(f"model={name}").model.loss_weights
    assert weights == {"note_velocity": None, "log10_decay_time": None}


def test_a_weight_can_be_set_on_the_command_line(composed):
    cfg = composed("model=avix_cnn_64k_jnd", "model.loss_weights.log10_decay_time=3.0")
    assert cfg.model.loss_weights.log10_decay_time == 3.0


@pytest.mark.parametrize("name", NAMES)
def test_dg_in_a_name_is_the_direct_gradient_and_its_margin(name, composed):
    cfg = composed(f"model={name}")
    uses_dg = cfg.loss._target_.endswith("DirectParameterGradientLoss")
    assert uses_dg == ("_dg" in name or name.startswith("direct_gradient"))
    assert not uses_dg or cfg.model.head_margin == 0.05


def test_a_cosine_ends_with_the_run(composed):
    cfg = composed("model=avix_cnn_64k", "trainer.max_epochs=17")
    assert cfg.model.scheduler.T_max == 17


@pytest.mark.parametrize(
    ("optimizer", "scheduler"),
    [("adam", "plateau"), ("adamw", "cosine"), ("rmsprop", "constant"), ("sgd", "cosine")],
)
def test_optimizers_and_schedulers_can_be_chosen(optimizer, scheduler, composed):
    cfg = composed(f"model/optimizer={optimizer}", f"model/scheduler={scheduler}")
    made = hydra.utils.instantiate(cfg.model.optimizer)([torch.nn.Parameter(torch.zeros(2))])
    assert type(made).__name__.lower() == optimizer
    hydra.utils.instantiate(cfg.model.scheduler)(made)


def test_the_table_in_the_docs_is_true(composed):
    text = (CONFIGS.parent / "docs" / "architectures.md").read_text(encoding="utf-8")
    table = [line for line in text.splitlines() if re.match(r"\| `\w+` \| \w+ \| `\w+` \|", line)]
    measured = []
    for name in NAMES:
        network = network_of(composed(f"model={name}"), data_of(name))
        kind = type(network).__name__
        measured.append(f"| `{name}` | {kind} | `{data_of(name)}` | {count(network):,} |")
    assert table == measured, "\n".join(measured)
