"""Data module, network, heads and module of a composed config and its data set.

This is the one place where a config meets a data set. The data set decides the heads, their
ranges and the shapes; the loss decides what each head puts out; the network is built to fit both.
What does not fit is an error here, before anything is trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import hydra
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from src.data.vimh_datamodule import VIMHDataModule
from src.inputs.preparation import Preparation
from src.model_settings import NETWORKS, ModelSettings
from src.models.components import MultiheadNetwork
from src.models.losses import HeadLoss, head_loss
from src.models.multihead_module import MultiheadLitModule
from src.models.parameter_head import ParameterHead, loss_weights, make_heads
from src.schema.arguments import unknown_key
from src.schema.specs import TARGET, Spec
from src.utils.errors import ConfigError
from src.utils.foreign_errors import called
from src.utils.pylogger import RankedLogger
from src.vimh.metadata import Metadata
from src.vimh.parameters import Kind, Parameter

log = RankedLogger(__name__, rank_zero_only=True)

# What categorical heads learn by where the others' loss needs an order.
CROSS_ENTROPY = {TARGET: "torch.nn.CrossEntropyLoss"}
MAX_WEIGHTS = 10**9  # of a network; the largest of the configs has 10 million
# Plain settings of the data that an evaluation takes from the checkpoint unless it is told others.
CHECKPOINT_DATA_KEYS = (
    "batch_size",
    "target_width",
    "train_val_test_split",
    "use_random_split",
    "avix_training_mode",
    "seed",
)


@dataclass(frozen=True)
class Built:
    """A data module and the module that was built for its data."""

    datamodule: VIMHDataModule
    model: MultiheadLitModule


def build(cfg: DictConfig) -> Built:
    """Build data module, network, heads and module from a composed config.

    Generate the data set first where it is missing and the config says how (one process, under a
    file lock; the others wait). Where ``model.criterion`` gives the loss, it takes the place of
    ``loss`` in the config.

    Raises:
        ConfigError: If the config does not fit the data set; names the key to change.
        VIMHError: If the data set is not what it should be.
    """
    settings = ModelSettings.of(cfg)
    if settings.for_one_head:
        cfg.loss = cfg.model.criterion
    datamodule = called(partial(hydra.utils.instantiate, cfg.data), "data")
    datamodule.prepare_data()
    preparation = datamodule.build_preparation()
    settings = with_all_losses(settings, cfg, datamodule.metadata)
    model = build_from(settings, datamodule.metadata, preparation)
    fit_data_to_model(datamodule, model)
    return Built(datamodule, model)


def build_model(
    cfg: DictConfig, metadata: Metadata, preparation: Preparation
) -> MultiheadLitModule:
    """Build the module for a described data set; the data themselves are not needed."""
    settings = with_all_losses(ModelSettings.of(cfg), cfg, metadata)
    return build_from(settings, metadata, preparation)


def with_all_losses(settings: ModelSettings, cfg: DictConfig, metadata: Metadata) -> ModelSettings:
    """Choose cross-entropy for categorical heads where ``loss`` needs the order that others have.

    The config says so then (``model.losses.categorical``), so that it is seen. Where no head has an
    order, nothing is chosen, and building refuses ``loss``.
    """
    heads = metadata.parameters.values()
    others = [p.name for p in heads if p.is_categorical and settings.loss_of(p) is settings.loss]
    loss = settings.loss.cls
    is_ordered = issubclass(loss, HeadLoss) and loss.needs_order
    if not (others and is_ordered) or all(p.is_categorical for p in heads):
        return settings
    log.info(
        "%s needs an order, and %s has none: cross-entropy is chosen there. "
        "loss@model.losses.categorical=NAME chooses another loss.",
        loss.__name__,
        ", ".join(others),
    )
    OmegaConf.update(cfg, "model.losses.categorical", CROSS_ENTROPY, force_add=True)
    return ModelSettings.of(cfg)


def build_from(
    settings: ModelSettings,
    metadata: Metadata,
    preparation: Preparation,
    weights: Mapping[str, Tensor] | None = None,
) -> MultiheadLitModule:
    """Build the module that checked settings describe, a user's or out of a checkpoint.

    A network of other shapes than the ``weights`` that will be loaded is refused before it takes
    memory.
    """
    parameters = list(metadata.parameters.values())
    if not parameters:
        raise ConfigError(
            f"The data set {metadata.dataset_name} has no varying parameter, so there is nothing "
            "to learn; make one whose parameters have max > min."
        )
    if settings.for_one_head and len(parameters) > 1:
        raise ConfigError(
            f"model.criterion is the loss of a single head, and the data set has {len(parameters)}"
            f": {', '.join(p.name for p in parameters)}. loss=NAME or loss._target_=CLASS gives "
            "each of them its own."
        )
    known = {*(p.name for p in parameters), *get_args(Kind)}
    for name in settings.losses.keys() - known:
        raise ConfigError(unknown_key(f"model.losses.{name}", name, sorted(known)))
    losses = {p.name: build_loss(settings.loss_of(p), p) for p in parameters}
    net = build_network(settings.net, parameters, losses, preparation, weights)
    return settings.module.make(
        net=net,
        heads=_build_heads(settings, parameters, losses, net),
        optimizer=settings.optimizer,
        scheduler=settings.scheduler,
        preparation=preparation,
        # Plain containers only: checkpoints are loaded with `weights_only=True`.
        provenance={"format": 1, "config": dict(settings.config), "metadata": metadata.to_json()},
    )


def _build_heads(
    settings: ModelSettings,
    parameters: list[Parameter],
    losses: Mapping[str, HeadLoss],
    net: MultiheadNetwork,
) -> list[ParameterHead]:
    weights = loss_weights(parameters, settings.loss_weights, "model.loss_weights")
    width = settings.target_width
    take_soft = any(loss.accepts_soft_targets for loss in losses.values())
    for p, (name, loss) in zip(parameters, losses.items(), strict=True):
        target = settings.loss_of(p).target
        if width > 0 and not take_soft:
            raise ConfigError(
                f"data.target_width is {width}, but the loss of head {name!r} "
                f"({target}) takes no soft targets: set data.target_width=0 or "
                "choose loss=soft_target or loss=ce."
            )
        if width == 0 and loss.target == "distribution":
            raise ConfigError(
                f"The loss of head {name!r} ({target}) needs soft targets: set "
                "data.target_width to their width in classes, for example 1.0."
            )
        if settings.output_mode not in (None, "mixed", loss.output_mode):
            raise ConfigError(
                f"model.output_mode is {settings.output_mode!r}, but loss={target} is for "
                f"{loss.output_mode!r}: leave model.output_mode null or choose another loss."
            )
    return make_heads(net, parameters, losses, weights, settings.head_margin, width)


def build_loss(loss: Spec, parameter: Parameter) -> HeadLoss:
    """Build one head's loss of the config's arguments, and of what the data set decides."""
    try:
        derived = loss.cls.arguments_from(parameter) if issubclass(loss.cls, HeadLoss) else {}
        # The config's own come before what the data set decides.
        return head_loss(loss.make(**{**derived, **loss.arguments}), parameter)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{loss.where}: {loss.cls.__name__}: {error}") from error


def build_network(
    network: Spec,
    parameters: Sequence[Parameter],
    losses: Mapping[str, HeadLoss],
    preparation: Preparation,
    weights: Mapping[str, Tensor] | None = None,
) -> MultiheadNetwork:
    """Build the network, with its input sized by the data and its heads by their losses.

    What the data set decides is left out in the config or agrees with it. For ``weights`` see
    :func:`build_from`.
    """
    assert issubclass(network.cls, MultiheadNetwork)
    biases = {p.name: losses[p.name].initial_bias(p) for p in parameters}
    modes = {loss.output_mode for loss in losses.values()}
    derived = {
        **network.cls.image_arguments(preparation.image_shape),
        "heads_config": {p.name: losses[p.name].outputs(p) for p in parameters},
        "output_mode": modes.pop() if len(modes) == 1 else "mixed",
        "activations": {p.name: losses[p.name].activation for p in parameters},
        "output_bias": {name: bias for name, bias in biases.items() if bias is not None},
        "parameter_names": [p.name for p in parameters],
        "auxiliary_input_size": preparation.auxiliary_size,
    }
    # An empty list of heads is what null is: the data set decides.
    given = {key: value for key, value in network.arguments.items() if value not in ({}, [], ())}
    for key in derived.keys() & given.keys():
        if _plain(given[key]) != _plain(derived[key]):
            raise ConfigError(
                f"model.net.{key} is {_plain(given[key])}, but the data set and the loss make it "
                f"{_plain(derived[key])}: leave model.net.{key} null, or change data or loss."
            )
    if network.target in NETWORKS:
        _check_size(network, derived, weights)
    return network.make(**derived)


def _check_size(
    network: Spec, derived: Mapping[str, Any], weights: Mapping[str, Tensor] | None
) -> None:
    """Count the weights before any is made: on the meta device layers have shapes, no memory."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        state = network.make(**derived).state_dict()
    count = sum(tensor.numel() for tensor in state.values())
    if count > MAX_WEIGHTS:
        raise ConfigError(
            f"model.net ({network.target}) would have {count:,} weights; at most {MAX_WEIGHTS:,} "
            "are built: make it smaller"
        )
    if weights is None:
        return
    for name, tensor in state.items():
        found = weights.get(f"net.{name}")
        if found is None or found.shape != tensor.shape:
            shape = "missing" if found is None else f"of shape {tuple(found.shape)}"
            raise ConfigError(
                f"its weights do not fit the network it describes: net.{name} is {shape}, and the "
                f"network's is of shape {tuple(tensor.shape)}"
            )


def fit_data_to_model(datamodule: VIMHDataModule, model: MultiheadLitModule) -> None:
    """Check that the data have the model's heads.

    Raises:
        ConfigError: If the data set's parameters are not those the model was built for.
    """
    found, expected = datamodule.metadata.parameters, model.parameters_by_head
    but = f"but the data set {datamodule.data_dir} has"
    if found.keys() != expected.keys():
        raise ConfigError(
            f"The model reads {sorted(expected)}, {but} {sorted(found)}: name another data set "
            "with data=... or data.data_dir=..."
        )
    if list(found) != list(expected):
        raise ConfigError(
            f"The model reads {', '.join(expected)}, {but} them in another order, "
            f"{', '.join(found)}: generate it again with the parameters in the model's order, or "
            "name another one with data.data_dir=..."
        )
    for name, parameter in expected.items():
        ours, theirs = (
            (p.min, p.max, p.step, p.kind, *([p.spacing] if p.is_log else []))
            for p in (parameter, found[name])
        )
        if ours != theirs:
            raise ConfigError(
                f"The model reads {name} with (min, max, step, kind) = {ours}, {but} {theirs}: "
                "name another one with data.data_dir=..."
            )


def build_evaluation_data(
    cfg: DictConfig, trained_with: Mapping[str, Any], model: MultiheadLitModule
) -> VIMHDataModule:
    """Build the data module for a checkpoint: of its own data set, or as the command line says.

    The checkpoint's settings of the data are taken where ``cfg.data`` has null; none of them is a
    class, a file or a source.

    Raises:
        ConfigError: If the data set is not there or is not of the model's kind.
    """
    data = OmegaConf.create(cfg.data)
    for key in CHECKPOINT_DATA_KEYS:
        if data.get(key) is None:
            data[key] = trained_with.get(key)
    if data.get("data_dir") is None and data.get("source") is None:
        data["data_dir"] = str(own_data_dir(cfg, model))
    datamodule = called(partial(hydra.utils.instantiate, data), "data")
    datamodule.prepare_data()
    fit_data_to_model(datamodule, model)
    model.judge_as(datamodule.metadata.parameters)
    return datamodule


def training_data(
    cfg: DictConfig, trained_with: Mapping[str, Any], model: MultiheadLitModule
) -> VIMHDataModule | None:
    """Build the data module of a checkpoint's training data, split as then; None without them."""
    directory = own_data_dir(cfg, model)
    if not directory.is_dir():
        return None
    own: dict[str, Any] = {key: trained_with.get(key) for key in CHECKPOINT_DATA_KEYS}
    datamodule = VIMHDataModule(directory, **own)
    fit_data_to_model(datamodule, model)
    return datamodule


def own_data_dir(cfg: DictConfig, model: MultiheadLitModule) -> Path:
    """Return the folder of a loaded checkpoint's data set, by its name alone, never a path.

    Raises:
        ConfigError: The checkpoint names no data set.
    """
    name = Path(model.provenance["metadata"]["dataset_name"]).name
    if name in ("", ".."):
        raise ConfigError(
            f"The checkpoint's data set is called {name!r}, which names none: set data.data_dir=..."
        )
    return Path(cfg.paths.vimh_dir) / name


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        value = list(value)
    # One number for a square image is the usual spelling.
    if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:
        return value[0]
    return value
