"""Every config of ours passes the check; a wrong value is one sentence that names its key."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf, open_dict

from src.checkpoints.resume import CHECKPOINT
from src.command_line import add_or_override
from src.config_check import TrainConfig, check_config
from src.evaluation.export.model_files import missing_packages
from src.utils.errors import ConfigError
from tests.helpers import needs_engine
from tests.test_wrong_overrides import COMMANDS, MODEL, SOUND

ROOT = Path(__file__).parents[1]
EXPERIMENTS = sorted(path.stem for path in (ROOT / "configs" / "experiment").glob("*.yaml"))


@pytest.mark.parametrize(
    "experiment", [pytest.param(name, marks=needs_engine(name)) for name in EXPERIMENTS]
)
@pytest.mark.sampled(2)
def test_every_experiment_passes(experiment: str, compose_config) -> None:
    own = [f"data.source.{key}=x" for key in ("folder", "labels") if "recordings" in experiment]
    check_config(compose_config("train", f"experiment={experiment}", *own), TrainConfig)


@pytest.mark.parametrize(
    ("group", "names"),
    [
        # Many of them; the experiments have most.
        pytest.param("loss", None, marks=pytest.mark.slow),
        pytest.param("model", None, marks=pytest.mark.slow),
        pytest.param("callbacks", None, marks=pytest.mark.slow),
        ("trainer", None),
        ("debug", None),
        ("logger", ["csv", "tensorboard"]),
        ("model/optimizer", None),
        ("model/scheduler", None),
    ],
)
def test_every_choice_of_a_group_passes(
    group: str, names: list[str] | None, compose_config
) -> None:
    files = (ROOT / "configs" / group).glob("[!_]*.yaml")
    for name in names or sorted(path.stem for path in files):
        cfg = compose_config("train", f"{group}={name}")
        check_config(cfg, TrainConfig, devices=group != "trainer")  # GPUs, which are not here


def test_the_configs_of_the_other_commands_pass(compose_config) -> None:
    for name, (schema, given) in COMMANDS.items():
        check_config(compose_config(name, *given), schema)


@pytest.mark.parametrize(
    ("command", "key", "value", "message"),
    [
        ("eval", "data.train_val_test_split", [0, 0, 0], "data.train_val_test_split is [0, 0, 0]"),
        ("eval", "report", None, "report is null; expected a mapping"),
        ("eval", "report.resamples", 2**31 - 1, "report.resamples is 2147483647; expected a whole"),
        ("export", "output", "/", "output is '/'; expected the path of a file such as model.onnx"),
        ("export", "output", "a.safetensors", "output is 'a.safetensors'; expected the path of a"),
        ("export", "tolerance", 7, "tolerance is 7; expected a number of at least 0 and at most 1"),
        ("export", "task_name", "a" * 201, "task_name is 'aaa"),
        ("train", "ckpt_path", "last", "ckpt_path is 'last', and no run in "),
        *(
            (name, "ckpt_path", path, f"ckpt_path is '{path}'; expected the file of a checkpoint")
            for name in ("train", "eval", "predict", "export")
            for path in ("/", "nope.ckpt")
        ),
    ],
)
def test_what_needs_no_data_is_refused_by_the_check(
    command: str, key: str, value, message: str, compose_config
) -> None:
    schema, given = COMMANDS.get(command, (TrainConfig, []))
    cfg = compose_config(command, *given)
    with open_dict(cfg):
        OmegaConf.update(cfg, key, value, merge=False)
    with pytest.raises(ConfigError) as caught:
        check_config(cfg, schema)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["callbacks.model_checkpoint.every_n_train_steps=5"],
            "callbacks.model_checkpoint.every_n_train_steps is 5, but ",
        ),
        (
            ["trainer.limit_val_batches=0", "optimized_metric=val/acc"],
            "optimized_metric is val/acc",
        ),
        (
            ["trainer.limit_val_batches=0", "model/scheduler=plateau"],
            "model.scheduler_monitor is val/loss, but this training has no validation",
        ),
        (["trainer.limit_val_batches=0", "model/scheduler=plateau", "train=false"], ""),
        (["callbacks.last_checkpoint.every_n_train_steps=5"], ""),
        (["trainer.limit_val_batches=0"], ""),
    ],
)
def test_what_waits_for_a_validation_is_refused_where_there_is_none(
    overrides: list[str], message: str, compose_config
) -> None:
    cfg = compose_config("train", *overrides)
    if not message:
        cfg.ckpt_path = str(MODEL)
        check_config(cfg, TrainConfig)
        return
    with pytest.raises(ConfigError) as caught:
        check_config(cfg, TrainConfig)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("test", "message"), [(True, "train=false leaves nothing to test"), (False, "train and test")]
)
def test_a_run_that_would_do_nothing_is_refused(test: bool, message: str, compose_config) -> None:
    cfg = compose_config("train")
    cfg.train, cfg.test = False, test
    with pytest.raises(ConfigError, match=f"^{message}"):
        check_config(cfg, TrainConfig)
    cfg.ckpt_path = str(MODEL)
    if test:
        check_config(cfg, TrainConfig)
    else:
        with pytest.raises(ConfigError, match="nothing would be done"):
            check_config(cfg, TrainConfig)


def test_the_folder_of_a_run_may_be_gone_on_with(compose_config, tmp_path: Path) -> None:
    cfg = compose_config("train")
    checkpoint = tmp_path / "train" / "runs" / "first" / CHECKPOINT
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    for cfg.ckpt_path in ("last", str(checkpoint.parents[1])):
        check_config(cfg, TrainConfig)


WRONG = [
    ("model.optimizer.lr", float("inf"), "model.optimizer.lr is inf"),
    ("model.scheduler.T_max", -3, "model.scheduler.T_max is -3"),
    ("loss.label_smoothing", -1, "loss.label_smoothing is -1"),
    ("train", "abc", "train is 'abc'; expected true or false"),
    ("task_name", "", "task_name is ''"),
    ("paths.log_dir", "", "paths.log_dir is ''"),
    ("trainer.log_every_n_steps", 0, "trainer.log_every_n_steps is 0"),
    ("callbacks.last_checkpoint.min_interval_s", float("nan"), "min_interval_s is nan"),
    ("monitor.mode", "abc", "monitor.mode is 'abc'"),
    ("data.avix_training_mode", float("nan"), "data.avix_training_mode is nan"),
    ("data.seed", 10**23, "data.seed is 1"),
    ("trainer.max_epochs", 0, "trainer.max_epochs is 0"),
    ("trainer.max_epochs", None, "max"),
    ("model.optimizer.weight_decay", -5, "weight_decay is -5"),
    ("seed", 2**32, "seed is 4294967296"),
    ("trainer.check_val_every_n_epoch", 0, "check_val_every_n_epoch is 0"),
    ("trainer.gradient_clip_val", float("nan"), "gradient_clip_val is nan"),
    ("model.net.conv1_channels", 0, "model.net.conv1_channels is 0"),
    ("model.head_margin", 2, "model.head_margin is 2"),
    ("data.channel_selection", 5, "data.channel_selection is 5"),
    ("data.augmentation", "abc", "data.augmentation is 'abc'"),
    ("callbacks.early_stopping.patience", "abc", "early_stopping.patience is 'abc'"),
    ("data.test_transform", [1, 2], "data.test_transform is [1, 2]"),
    ("callbacks.model_checkpoint.filename", {"a": 1}, "model_checkpoint.filename is {'a': 1}"),
    ("tags", "${nope}", "nope"),
    ("data.num_workers", 10000, "data.num_workers is 10000"),
    ("data.batch_size", None, "data.batch_size is null"),
    ("model.netz", 1, "model.netz is unknown; did you mean net"),
    ("model.net.conv1_chanels", 1, "did you mean conv1_channels"),
    ("foo", 1, "foo is unknown"),
    ("extras.print_configs", True, "did you mean print_config"),
    ("model.loss_weights", "abc", "model.loss_weights is 'abc'"),
    ("callbacks.mine", 5, "callbacks.mine is 5"),
    ("callbacks.mine", {"a": 5}, "callbacks.mine has no _target_"),
    ("callbacks.mine", {"_target_": "no.such.Class"}, "callbacks.mine._target_ is 'no.such.Class'"),
    ("model.optimizer.betas", [0.9, 2], "model.optimizer.betas is [0.9, 2]"),
    ("model.optimizer", None, "model.optimizer is null"),
    ("model.optimizer._partial_", "abc", "model.optimizer._partial_ is 'abc'"),
    ("model.optimizer._partial_", False, "model.optimizer._partial_ is False; expected true"),
    ("model._target_", "torch.nn.ReLU", "model._target_ is 'torch.nn.ReLU'"),
    ("model.loss", {"_target_": "torch.nn.L1Loss"}, "the loss is read from the key loss"),
    ("model.auto_configure_from_dataset", False, "auto_configure_from_dataset is False"),
    ("model.loss_weights", {"note_velocity": "abc"}, "model.loss_weights.note_velocity is 'abc'"),
    ("model.criterion.reduction", "sum", "model.criterion._target_ names no loss"),
    ("data._convert_", "abc", "data._convert_ is 'abc'; expected one of none, partial"),
    ("data._target_", "torch.nn.ReLU", "data._target_ is 'torch.nn.ReLU'; expected a class"),
    ("data.source", None, "data.data_dir and data.source are both null"),
    ("data.source.recipe.generate", "abc", "data.source.recipe.generate is 'abc'"),
    (
        "data.source.recipe.sample_rate",
        "abc",
        "data.source.recipe.sample_rate is 'abc'; expected a whole number",
    ),
    ("data.auxiliary_features", ["abc"], "data.auxiliary_features is ['abc']"),
    ("monitor", None, "monitor is null"),
    ("paths", None, "paths is null"),
    ("ckpt_path", "abc.ckpt", "ckpt_path is 'abc.ckpt'; expected the file of a checkpoint"),
    ("callbacks.model_summary.depth", 1, "callbacks.model_summary.depth is unknown"),
    ("callbacks.progress_bar.refresh_rate", 0, "callbacks.progress_bar.refresh_rate is 0"),
    ("callbacks.progress_bar.value_format", "q", "callbacks.progress_bar.value_format is 'q'"),
    ("callbacks.gradient_stats.layer_depth", -3, "callbacks.gradient_stats.layer_depth is -3"),
    ("callbacks.last_checkpoint.dirpath", None, "callbacks.last_checkpoint.dirpath is null"),
    ("callbacks.model_checkpoint.save_top_k", 7, "callbacks.model_checkpoint.save_top_k is 7"),
    ("callbacks.early_stopping._target_", "torch.nn.ReLU", "derived from lightning.pytorch"),
    ("logger.tensorboard.flush_sec", 1, "did you mean flush_secs"),
    ("logger.tensorboard.version", -3, "logger.tensorboard.version is -3"),
    ("trainer.accelerator", "abc", "trainer.accelerator is 'abc'"),
    ("trainer.devices", [1, 2], "trainer.devices is [1, 2]"),
    ("trainer.max_time", "abc", "trainer.max_time is 'abc'"),
    ("trainer.limit_train_batches", 0, "trainer.limit_train_batches is 0"),
    ("trainer.callbacks", [1], "trainer.callbacks is not read"),
    ("trainer._target_", "abc", "trainer._target_ is 'abc'"),
]


@pytest.mark.parametrize(("key", "value", "message"), WRONG)
@pytest.mark.sampled(3)
def test_a_wrong_value_is_one_sentence(key: str, value, message: str, compose_config) -> None:
    cfg = compose_config("train", "experiment=avix_cnn_16kdss")
    with open_dict(cfg):
        OmegaConf.update(cfg, key, value, merge=False)
    with pytest.raises(ConfigError) as caught:
        check_config(cfg, TrainConfig)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        ["extras=null"],
        ["logger=null"],
        ["callbacks=null"],
        ["experiment=null"],
        ["debug=null"],
        ["tags=first"],
        ["callbacks=[default,prediction_plots]"],
    ],
)
def test_groups_may_be_left_out(overrides: list[str], compose_config) -> None:
    """As a command line says it: Hydra itself takes no null for a group."""
    check_config(compose_config("train", *add_or_override(overrides)), TrainConfig)


def test_a_trial_leaves_no_trace(compose_config, capfd: pytest.CaptureFixture) -> None:
    cfg = compose_config("train")
    before = dict(os.environ), logging.root.manager.disable
    check_config(cfg, TrainConfig)
    assert (dict(os.environ), logging.root.manager.disable) == before
    assert capfd.readouterr() == ("", "")


def test_devices_of_another_machine_are_not_asked_for(compose_config) -> None:
    cfg = compose_config("train", "trainer.accelerator=cpu")
    cfg.trainer.devices = "abc"
    check_config(cfg, TrainConfig, devices=False)
    with pytest.raises(ConfigError, match=r"^trainer\.devices is 'abc': "):
        check_config(cfg, TrainConfig)


def test_a_check_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from src import command_line

    monkeypatch.setattr(command_line, "_check_folders", [])
    assert command_line.take_check(["experiment=a"]) == ["experiment=a"]
    assert not command_line.is_check()
    arguments = command_line.take_check(["experiment=a", "--check-config"])
    assert command_line.is_check()
    assert arguments[0] == "experiment=a"
    assert arguments[1].startswith("hydra.run.dir=")
    assert arguments[2] == "hydra.output_subdir=null"


# As the config says, or as the machine does.
EXPORTS = ("error: Export needs", 1) if missing_packages() else ("The config is right", 0)


@pytest.mark.parametrize(
    ("command", "said", "code"),
    [
        (["src/train.py", "experiment=digits_cnn"], "The config is right", 0),
        (["src/train.py", "model.optimizer.lr=inf"], "error: model.optimizer.lr is inf", 1),
        (["src/train.py", 'paths.log_dir=""'], "error: paths.log_dir is ''", 1),
        (["src/train.py", "task_name='${nope}'"], "error: task_name is '${nope}': Inter", 1),
        (["src/train.py", "foo=1"], "error: Could not override 'foo'. Key 'foo' is not", 1),
        (["src/export.py", f"ckpt_path={MODEL}"], *EXPORTS),
        (["src/export.py", "ckpt_path=nope.ckpt"], "error: ckpt_path is 'nope.ckpt'; expected", 1),
        (["src/predict.py", str(MODEL), str(SOUND)], "The config is right", 0),
        (["src/train.py", "train=false"], "error: train=false leaves nothing to test", 1),
        (["src/train.py", "task_name=a/b"], "error: task_name is 'a/b'; expected the name", 1),
        (["src/train.py", "trainer=5"], "error: trainer is 5; expected the name of a file", 1),
        (
            ["src/predict.py", str(MODEL), str(SOUND), "paths=null"],
            "error: paths is missing; exp",
            1,
        ),
        (["generate_vimh.py", "synth=null"], "synth is missing; expected a mapping", 2),
        (["generate_vimh.py", "synth=5"], "generate_vimh.py: synth is 5; expected the name", 2),
        (["generate_vimh.py", "hydra/launcher=5"], "a string or a list. Got int: expected the", 2),
        (["generate_vimh.py", "generate.output_dir=${nope}"], "output_dir: Interpolation key", 2),
        (["generate_vimh.py", "hydra.run.dir=/proc/x"], "/proc/x cannot be written", 1),
        (["generate_vimh.py", "--config-name", "nope"], "Cannot find primary config 'nope'", 2),
        (["src/train.py", "--config-name", "nope"], "error: Cannot find primary config 'nope'", 1),
        (["generate_vimh.py", "--avix"], "it makes avix-vimh-32x32x1", 0),
    ],
)
@pytest.mark.slow
def test_the_commands_check_and_start_nothing(
    command: list[str], said: str, code: int, tmp_path: Path
) -> None:
    logs = [] if command[0] == "generate_vimh.py" else [f"paths.vimh_dir={tmp_path}"]
    left_alone = any("log_dir" in word or "paths=" in word for word in command)
    logs = [] if "paths=null" in command else logs
    places = [f"paths.log_dir={tmp_path}"] if logs and not left_alone else []
    done = subprocess.run(
        [sys.executable, *command, *logs, *places, "--check-config"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said in done.stdout + done.stderr
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    if code:
        assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
