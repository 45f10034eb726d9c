"""The groups callbacks, logger, trainer, debug, extras, hydra and paths compose and build."""

import importlib.util
import inspect
import re
from pathlib import Path
from typing import Any

import hydra
import lightning.pytorch.loggers
import pytest
from hydra import compose, initialize_config_dir
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy
from omegaconf import OmegaConf

import src.checkpoints.resume  # noqa: F401 - the resolvers of configs/hydra/train.yaml
from src.callbacks.gradient_stats import GradientStats
from src.callbacks.grouped_progress_bar import GroupedProgressBar
from src.callbacks.last_checkpoint import LastCheckpoint
from src.checkpoints.checkpoint_io import AtomicCheckpointIO
from src.training.instantiators import instantiate_callbacks, instantiate_loggers

MONITOR = ("monitor.metric=val/loss", "monitor.mode=min")  # as the model resolves them


def names(project_root: Path, group: str) -> list[str]:
    found = sorted(path.stem for path in (project_root / "configs" / group).glob("*.yaml"))
    assert found
    return found


def test_the_names_that_users_type_are_there(project_root: Path) -> None:
    expected = {
        "callbacks": "default none model_checkpoint last_checkpoint early_stopping model_summary "
        "rich_progress_bar grouped_progress_bar grouped_progress_bar_with_gradients gradient_stats",
        "logger": "csv tensorboard wandb mlflow neptune comet aim many_loggers",
        "trainer": "default cpu gpu mps ddp ddp_sim fsdp",
        "debug": "default fdr limit overfit profiler",
    }
    for group, wanted in expected.items():
        assert set(wanted.split()) <= set(names(project_root, group))


def test_every_key_has_a_comment(project_root: Path) -> None:
    for group in ("callbacks", "logger", "trainer", "debug", "extras", "paths"):
        for path in (project_root / "configs" / group).glob("*.yaml"):
            previous = ""
            for line in path.read_text().splitlines():
                is_value = re.match(r" *[a-z_]+: \S", line) and "_target_" not in line
                assert not is_value or "#" in line or "#" in previous, f"{path}: {line}"
                previous = line


def test_every_callback_builds(project_root: Path, compose_config: Any) -> None:
    for name in names(project_root, "callbacks"):
        cfg = compose_config("train", f"callbacks={name}", *MONITOR)
        callbacks = instantiate_callbacks(cfg.get("callbacks"))
        assert all(isinstance(callback, Callback) for callback in callbacks)
        assert callbacks or name == "none"


@pytest.mark.parametrize(
    ("choice", "stops"),
    [
        ("grouped_progress_bar", True),
        ("grouped_progress_bar_with_gradients", False),
        ("[grouped_progress_bar,grouped_progress_bar_with_gradients]", True),
        ("[default,grouped_progress_bar]", True),
    ],
)
def test_a_bar_alone_brings_checkpoints(compose_config: Any, choice: str, stops: bool) -> None:
    cfg = compose_config("train", f"callbacks={choice}", *MONITOR)
    callbacks = instantiate_callbacks(cfg.callbacks)
    for kind in (ModelCheckpoint, LastCheckpoint, GroupedProgressBar):
        assert sum(isinstance(callback, kind) for callback in callbacks) == 1
    assert any(isinstance(callback, EarlyStopping) for callback in callbacks) == stops
    (bar,) = (callback for callback in callbacks if isinstance(callback, GroupedProgressBar))
    tracked = any(isinstance(callback, GradientStats) for callback in callbacks)
    assert tracked == (bar.with_gradients or "default" in choice)


@pytest.mark.parametrize(
    "extra", ["grouped_progress_bar_with_gradients", "rich_progress_bar", "learning_rate_monitor"]
)
def test_default_callbacks_and_one_more(compose_config: Any, extra: str) -> None:
    cfg = compose_config("train", f"callbacks=[default,{extra}]", *MONITOR)
    callbacks = instantiate_callbacks(cfg.callbacks)
    bars = [callback for callback in callbacks if isinstance(callback, GroupedProgressBar)]
    assert len(bars) == 1
    assert bars[0].with_gradients == ("gradients" in extra)
    assert bars[0].by_head == (extra != "rich_progress_bar")
    assert sum(isinstance(callback, GradientStats) for callback in callbacks) == 1


def test_checkpoints_need_no_quotes_on_the_command_line(compose_config: Any) -> None:
    cfg = compose_config("train", *MONITOR)
    (keep,) = (c for c in instantiate_callbacks(cfg.callbacks) if isinstance(c, ModelCheckpoint))
    assert keep.monitor == "val/loss"
    assert Path(keep.format_checkpoint_name({"epoch": 7, "step": 3})).name == "epoch_007.ckpt"


def test_tensorboard_and_csv_log(compose_config: Any, tmp_path: Path) -> None:
    loggers = instantiate_loggers(compose_config("train", "logger=many_loggers").logger)
    for logger in loggers:
        logger.log_metrics({"val/loss": 0.5}, step=0)
        logger.save()
        logger.finalize("success")
    assert list(tmp_path.glob("events.out.tfevents.*"))
    assert (tmp_path / "csv" / "version_0" / "metrics.csv").is_file()


@pytest.mark.parametrize("name", ["csv", "wandb", "mlflow", "comet"])
def test_arguments_of_loggers_are_those_of_lightning(compose_config: Any, name: str) -> None:
    """Not built: most of their packages are extras, and some would call a server."""
    entry = compose_config("train", f"logger={name}").logger[name]
    logger = getattr(lightning.pytorch.loggers, entry._target_.rsplit(".", 1)[1])
    known = set(inspect.signature(logger.__init__).parameters)
    passed_on = {
        "wandb": {"group", "tags", "job_type"},
        "comet": {"name", "offline_directory"},
    }.get(name, set())
    assert set(entry) - {"_target_"} - passed_on <= known


def test_the_target_of_every_logger_exists(project_root: Path, compose_config: Any) -> None:
    for name in names(project_root, "logger"):
        for entry in compose_config("train", f"logger={name}").logger.values():
            module = entry._target_.rsplit(".", 1)[0]
            if module.startswith("lightning") or importlib.util.find_spec(module.split(".")[0]):
                assert importlib.util.find_spec(module) is not None


@pytest.mark.parametrize("name", ["default", "cpu", "ddp_sim"])
def test_trainers_that_need_no_gpu_build(compose_config: Any, name: str) -> None:
    cfg = compose_config("train", f"trainer={name}", "++trainer.accelerator=cpu")
    trainer = hydra.utils.instantiate(cfg.trainer, logger=False)
    assert isinstance(trainer, Trainer)
    assert isinstance(trainer.strategy.checkpoint_io, AtomicCheckpointIO)
    assert trainer.log_every_n_steps == 10
    assert isinstance(trainer.strategy, DDPStrategy) == (name == "ddp_sim")


def test_the_other_trainers(compose_config: Any) -> None:
    known = set(inspect.signature(Trainer.__init__).parameters) | {"_target_", "_convert_"}
    for name in ("gpu", "mps", "ddp", "fsdp"):
        cfg = compose_config("train", f"trainer={name}")
        assert set(cfg.trainer) <= known
    strategy = hydra.utils.instantiate(cfg.trainer.strategy)
    assert isinstance(strategy, FSDPStrategy)


@pytest.mark.parametrize(
    "override",
    [
        "gradient_clip_val=0.5",
        "val_check_interval=0.25",
        "accumulate_grad_batches=10",
        "precision=bf16-mixed",
        "max_time='00:12:00:00'",
        "limit_train_batches=3",
        "profiler=simple",
        "fast_dev_run=true",
    ],
)
def test_what_people_add_to_the_trainer(compose_config: Any, override: str) -> None:
    cfg = compose_config("train", "trainer=cpu", f"+trainer.{override}")
    assert isinstance(hydra.utils.instantiate(cfg.trainer, logger=False), Trainer)


def test_every_debug_mode_builds(project_root: Path, compose_config: Any) -> None:
    for name in names(project_root, "debug"):
        cfg = compose_config("train", f"debug={name}")
        assert cfg.task_name == "debug"
        assert not cfg.get("callbacks")
        assert not cfg.get("logger")
        assert isinstance(hydra.utils.instantiate(cfg.trainer, logger=False), Trainer)


def test_run_folders_carry_microseconds(project_root: Path) -> None:
    with initialize_config_dir(version_base="1.3", config_dir=str(project_root / "configs")):
        cfg = compose("train", return_hydra_config=True)
        cfg.hydra.job.num = 3
        run, sweep = cfg.hydra.run.dir, cfg.hydra.sweep
        time = r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-\d{6}"
        assert re.fullmatch(rf"{project_root}/logs/train/runs/{time}_train", run)
        named = compose("train", ["experiment=avix_quick"], return_hydra_config=True).hydra
        for kind, folder in (("runs", named.run.dir), ("multiruns", named.sweep.dir)):
            assert re.fullmatch(rf"{project_root}/logs/train/{kind}/{time}_avix_quick", folder)
        assert sweep.dir.startswith(f"{project_root}/logs/train/multiruns/")
        assert sweep.subdir == "3"


def test_paths(project_root: Path) -> None:
    paths = OmegaConf.load(project_root / "configs" / "paths" / "default.yaml")
    cfg = OmegaConf.create({"paths": paths})
    assert cfg.paths.vimh_dir == f"{project_root}/data-vimh"
    assert cfg.paths.log_dir == f"{project_root}/logs"


@pytest.mark.parametrize(
    ("former", "present"),
    [
        (
            "src.utils.tensorboard_logger.TensorBoardLogger",
            "src.loggers.tensorboard_logger.TensorBoardLogger",
        ),
        (
            "src.utils.multirun_table.MultirunTable",
            "src.sweeps.multirun_table.MultirunTable",
        ),
    ],
)
def test_former_targets_in_configs_of_users_are_the_same_classes(former: str, present: str) -> None:
    assert hydra.utils.get_class(former) is hydra.utils.get_class(present)
