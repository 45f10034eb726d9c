"""Lines as people type them: each composes, with and without ``+``, and trains."""

import inspect
import json
import shlex
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch import Trainer
from omegaconf import DictConfig, open_dict

from src.checkpoint import load_model, read_checkpoint
from src.config_check import TrainConfig, check_config
from src.evaluation.presentation.run_summary import report_start
from src.train import train
from src.training.instantiators import instantiate_trainer
from src.utils.errors import ConfigError
from tests.helpers import shrink
from tests.test_target_meanings import overrides_of

# What the trainer gets from elsewhere: callbacks and logger are groups; the others are no settings.
ELSEWHERE = {"self", "callbacks", "logger", "enable_autolog_hparams", "model_registry"}
TRAINER_LINES = (
    "gradient_clip_val=0.05",
    "val_check_interval=0.5",
    "accumulate_grad_batches=2",
    "max_time=00:00:01:00",
    "limit_train_batches=2",
    "limit_val_batches=1",
    "limit_test_batches=1",
    "limit_predict_batches=1",
    "max_steps=40",
    "fast_dev_run=true",
    "overfit_batches=2",
)


@pytest.fixture
def short(compose_config, data_root):
    """A composed line, made small: an epoch at most."""

    def composed(*overrides: str) -> DictConfig:
        cfg = shrink(compose_config("train", *overrides), data_root)
        with open_dict(cfg):
            cfg.trainer.max_epochs = 1
        return cfg

    return composed


def test_every_argument_of_the_trainer_is_a_key(compose_config) -> None:
    cfg = compose_config("train")
    arguments = inspect.signature(Trainer.__init__).parameters
    assert set(cfg.trainer) - {"_target_", "_convert_"} == set(arguments) - ELSEWHERE


def test_null_is_lightnings_default(compose_config) -> None:
    cfg = compose_config("train", "trainer=cpu", "trainer.max_epochs=null", "trainer.devices=null")
    ours = instantiate(cfg.trainer, logger=False, barebones=None)
    theirs = Trainer(accelerator="cpu", logger=False)
    for name in ("max_steps", "overfit_batches", "accumulate_grad_batches", "val_check_interval"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.max_epochs == theirs.max_epochs
    assert ours.num_devices == theirs.num_devices


@pytest.mark.parametrize("plus", ["", "+", "++"])
@pytest.mark.parametrize("line", TRAINER_LINES)
@pytest.mark.sampled(3)
def test_a_trainer_key_composes_with_and_without_plus(plus: str, line: str, compose_config) -> None:
    name, _, value = line.partition("=")
    cfg = compose_config("train", "trainer=cpu", f"{plus}trainer.{line}")
    assert str(cfg.trainer[name]).lower() == value
    assert isinstance(instantiate_trainer(cfg.trainer), Trainer)


@pytest.mark.parametrize("line", TRAINER_LINES)
@pytest.mark.sampled(4)
def test_a_run_with_a_trainer_key(line: str, short) -> None:
    metrics, objects = train(short(f"trainer.{line}"))
    assert objects["trainer"].global_step >= 1
    assert torch.isfinite(metrics["train/loss"])


@pytest.mark.parametrize("optimizer", ["RMSprop", "RAdam", "NAdam", "Adagrad", "SGD"])
@pytest.mark.sampled(3)
def test_a_run_with_another_optimizer(optimizer: str, short) -> None:
    cfg = short(
        f"model.optimizer._target_=torch.optim.{optimizer}", "trainer.limit_train_batches=1"
    )
    metrics, objects = train(cfg)
    assert type(objects["trainer"].optimizers[0]).__name__ == optimizer
    assert torch.isfinite(metrics["train/loss"])


def test_a_run_with_a_criterion(short) -> None:
    line = "model.criterion._target_=torch.nn.CrossEntropyLoss"
    label_smoothing = "+model.criterion.label_smoothing=0.1"
    cfg = short(line, label_smoothing, "loss=emd", "trainer.limit_train_batches=1")
    metrics, objects = train(cfg)
    assert torch.isfinite(metrics["train/loss"])
    loaded = load_model(read_checkpoint(objects["trainer"].checkpoint_callback.best_model_path))
    for model in (objects["model"], loaded):
        (head,) = model.heads.values()
        assert isinstance(head.loss.criterion, torch.nn.CrossEntropyLoss)
        assert head.loss.criterion.label_smoothing == 0.1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "experiment=vimh_cnn_16kdss model.criterion._target_=src.models.losses.HLGaussLoss",
            r"the loss of a single head, and the data set has 2: note_velocity, log10_decay_time",
        ),
        (
            "+model.criterion.label_smoothing=0.1",
            r"no loss: name one by model\.criterion\._target_=",
        ),
        ("model.criterion._target_=torch.nn.MSELoss", "MSELoss cannot be the loss of head 'digit'"),
        ("model.criterion._target_=torch.nn.Loss", r"criterion\._target_ is 'torch.nn.Loss': "),
    ],
)
def test_a_criterion_that_does_not_fit_is_one_sentence(line: str, message: str, short) -> None:
    with pytest.raises(ConfigError, match=message):
        train(short(*line.split()))


@pytest.mark.parametrize(
    ("callbacks", "saved"),
    [
        ("grouped_progress_bar", True),
        ("grouped_progress_bar_with_gradients", True),
        ("none", False),
        ("gradient_stats", False),
    ],
)
@pytest.mark.sampled(2)
def test_a_run_says_which_weights_were_tested(
    callbacks: str, saved: bool, short, capsys: pytest.CaptureFixture[str]
) -> None:
    _, objects = train(short(f"callbacks={callbacks}", "trainer.limit_train_batches=1"))
    printed = capsys.readouterr().out
    assert ("the weights of the last step were tested" in printed) != saved
    assert ("evaluate:    python src/eval.py ckpt_path=" in printed) == saved
    assert bool(objects["trainer"].checkpoint_callback) == saved


@pytest.mark.parametrize(
    "line", ["trainer.limit_val_batches=0", "callbacks.model_checkpoint.save_top_k=0"]
)
def test_without_a_best_checkpoint_the_last_one_is_named(line: str, short, capsys) -> None:
    cfg = short(line, "trainer.limit_train_batches=1")
    train(cfg)
    printed = capsys.readouterr().out
    last = Path(cfg.callbacks.last_checkpoint.dirpath) / "last.ckpt"
    assert last.is_file()
    assert "There is no best checkpoint, so the weights of the last step were tested" in printed
    assert "No checkpoint was saved" not in printed
    words = shlex.split(printed.partition("evaluate:    ")[2].partition("\n")[0])
    assert Path(words[2].removeprefix("ckpt_path=").strip("'")).resolve() == last.resolve()
    written = json.loads((Path(cfg.paths.output_dir) / "metrics.json").read_text())
    assert written["checkpoint"] == str(last)


def test_a_trial_run_names_no_checkpoint_of_another(short, capsys) -> None:
    cfg = short("trainer.fast_dev_run=true")
    last = Path(cfg.callbacks.last_checkpoint.dirpath) / "last.ckpt"
    last.parent.mkdir(parents=True)
    last.touch()
    train(cfg)
    assert "No checkpoint was saved" in capsys.readouterr().out


def test_nothing_is_said_of_weights_where_nothing_was_tested(short, capsys, caplog) -> None:
    caplog.set_level("INFO")
    cfg = short("callbacks=none", "test=false", "trainer.limit_train_batches=1")
    _, objects = train(cfg)
    assert "were tested" not in capsys.readouterr().out
    sizes = objects["datamodule"].splits.sizes
    weights = sum(weight.numel() for weight in objects["model"].net.parameters())
    said = [record for record in caplog.records if record.name == report_start.__module__]
    assert [" ".join(record.getMessage().split()) for record in said] == [
        f"data set vimh-8x8x1_digits: {sizes['train']} train, {sizes['val']} validation, "
        f"{sizes['test']} test, 8x8x1",
        f"network SimpleCNN, {weights:,} weights",
        "loss CrossEntropyLoss",
        "device cpu, threads: 1",
        f"run {cfg.paths.output_dir}",
    ]


@pytest.mark.parametrize(
    "line",
    [
        *(f"trainer.{line}" for line in TRAINER_LINES),
        *(f"model.optimizer._target_=torch.optim.{name}" for name in ("RMSprop", "RAdam", "SGD")),
        "model.criterion._target_=torch.nn.CrossEntropyLoss",
        "callbacks=grouped_progress_bar",
        "callbacks=grouped_progress_bar_with_gradients",
        "experiment=vit_mnist_995",
        "experiment=vimh_cnn_stk",
        "data=vimh_stk model=vimh_cnn_64k",
        "data=cifar100 model=cifar100_cnn_1m_original",
        "experiment=avix_densenet_72dss_64k_jnd_avix",
        *(" ".join(overrides_of(target)) for target in ("dglw", "dgro", "dgt", "dgnx", "dgbx")),
    ],
)
@pytest.mark.sampled(3)
def test_the_check_before_a_run_takes_the_line(line: str, compose_config) -> None:
    cfg = compose_config("train", *line.split())
    check_config(cfg, TrainConfig)
