"""Log the hyperparameters of a run."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from src.utils.errors import ConfigError
from src.utils.pylogger import rank_zero_only

# The keys of the config to log. Not paths and hydra: they say where a run is, not what it is.
CONFIG_KEYS = (
    "task_name", "tags", "seed", "ckpt_path", "monitor",
    "data", "model", "loss", "trainer", "callbacks", "extras",
)  # fmt: skip


# What people vary; those of the command line come on top. A class is shown by its name alone.
SHOWN_KEYS = (
    "seed", "loss/_target_", "model/net/_target_", "model/optimizer/_target_", "model/optimizer/lr",
    "model/optimizer/weight_decay", "model/scheduler/_target_", "model/net/dropout",
    "data/batch_size", "data/auxiliary_features", "data/target_width", "trainer/max_epochs",
    "trainer/precision", "trainer/gradient_clip_val", "num_parameters/total",
)  # fmt: skip


@rank_zero_only
def log_hyperparameters(objects: Mapping[str, Any], metric_names: Sequence[str] = ()) -> None:
    """Log the config and the number of the network's parameters with every logger of the trainer.

    TensorBoard needs the names of all later metrics from the start: its HParams tab shows those of
    the test beside the hyperparameters, its Custom Scalars tab groups all of them by head.

    Raises:
        ConfigError: If ``objects`` lacks one of the three.
    """
    if missing := {"cfg", "model", "trainer"} - objects.keys():
        raise ConfigError(f"log_hyperparameters: objects lacks {', '.join(sorted(missing))}")
    trainer = objects["trainer"]
    if not trainer.loggers:
        return
    params = plain_hyperparameters(objects["cfg"])
    sizes = [(p.numel(), p.requires_grad) for p in objects["model"].parameters()]
    params["num_parameters"] = {
        "total": sum(size for size, _ in sizes),
        "trainable": sum(size for size, trainable in sizes if trainable),
        "frozen": sum(size for size, trainable in sizes if not trainable),
    }
    # Not at the top: it imports Lightning, which --help need not wait for.
    from src.loggers.tensorboard_logger import TensorBoardLogger

    tested = [name for name in metric_names if name.startswith("test/")]
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.declare_hyperparameters(params, tested, shown_hyperparameters(params))
            logger.group_scalars(metric_names)
        else:
            logger.log_hyperparams(params)


def plain_hyperparameters(cfg: DictConfig) -> dict[str, object]:
    """Return the part of a composed config that says what a run is, as resolved containers.

    Example:
        >>> plain_hyperparameters(OmegaConf.create({"seed": 1, "data": {"n": "${seed}"}}))
        {'seed': 1, 'data': {'n': 1}}
    """
    return {
        key: OmegaConf.to_container(cfg[key], resolve=True)
        if OmegaConf.is_config(cfg[key])
        else cfg[key]
        for key in CONFIG_KEYS
        if key in cfg
    }


def shown_hyperparameters(params: Mapping[str, object]) -> dict[str, bool | int | float | str]:
    """Return the hyperparameters that people vary, those that the command line sets among them.

    Example:
        >>> shown_hyperparameters({"seed": 1, "loss": {"_target_": "a.b.MyLoss", "other": 2}})
        {'seed': 1, 'loss': 'MyLoss'}
    """
    said = []
    if HydraConfig.initialized():
        overrides = HydraConfig.get().overrides.task
        said = [word.partition("=")[0].lstrip("+").replace(".", "/") for word in overrides]
    found = flat(params)
    return {
        key.removesuffix("/_target_"): str(found[key]).rpartition(".")[2]
        if key.endswith("_target_")
        else found[key]
        for key in dict.fromkeys((*SHOWN_KEYS, *said))
        if key in found
    }


def flat(params: Mapping[str, object], prefix: str = "") -> dict[str, bool | int | float | str]:
    """Flatten containers to ``{"model/net/dropout": 0.1}``; write other values as text."""
    found: dict[str, bool | int | float | str] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}/")
        else:
            name = f"{prefix}{key}"
            found[name] = value if isinstance(value, bool | int | float | str) else str(value)
    return found
