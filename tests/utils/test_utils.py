import logging
import os
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from omegaconf import DictConfig, OmegaConf

from src.utils import ConfigError, extras, get_metric_value, task_wrapper
from src.utils.errors import Interrupted


@pytest.fixture
def cfg(tmp_path: Path) -> DictConfig:
    return OmegaConf.create({"paths": {"output_dir": str(tmp_path)}, "tags": ["a"]})


def test_task_wrapper_returns_what_the_task_does(
    cfg: DictConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    wrapped = task_wrapper(lambda cfg: ({"a": 1}, {"cfg": cfg}))
    assert wrapped(cfg) == ({"a": 1}, {"cfg": cfg})
    assert caplog.messages == []


def test_task_wrapper_closes_and_raises(
    cfg: DictConfig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = []
    fake = SimpleNamespace(run=object(), finish=lambda: finished.append(True))
    monkeypatch.setitem(sys.modules, "wandb", fake)
    caplog.set_level(logging.INFO)

    def task(cfg: DictConfig) -> tuple[dict, dict]:
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        task_wrapper(task)(cfg)
    assert finished == [True]
    assert "The task failed." in caplog.messages
    assert caplog.records[0].exc_info is not None


@pytest.mark.parametrize("given", [None, "29500"])
def test_the_next_run_chooses_a_port_of_its_own(
    cfg: DictConfig, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    monkeypatch.delenv("MASTER_PORT", raising=False)
    if given is not None:
        monkeypatch.setenv("MASTER_PORT", given)

    def task(cfg: DictConfig) -> tuple[dict, dict]:
        os.environ.setdefault("MASTER_PORT", "43210")  # as Lightning does
        return {}, {}

    task_wrapper(task)(cfg)
    assert os.environ.get("MASTER_PORT") == given


def test_a_mistake_of_the_user_is_not_a_trace(
    cfg: DictConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def task(cfg: DictConfig) -> tuple[dict, dict]:
        raise ConfigError("wrong key")

    with pytest.raises(ConfigError):
        task_wrapper(task)(cfg)
    assert caplog.messages == []


def test_metric_value() -> None:
    metrics = {"val/loss": torch.tensor(0.5), "val/jnd": 1.0}
    assert get_metric_value(metrics, "val/loss") == 0.5
    assert get_metric_value(metrics, None) is None
    with pytest.raises(ConfigError, match=r"optimized_metric=val/acc.*val/jnd, val/loss"):
        get_metric_value(metrics, "val/acc")


def test_extras_do_nothing_unless_asked(cfg: DictConfig, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        extras(cfg)
    assert list(tmp_path.iterdir()) == []


def test_extras(cfg: DictConfig, tmp_path: Path) -> None:
    cfg.extras = {"enforce_tags": True, "print_config": False, "ignore_dataloader_warnings": True}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        extras(cfg)
        warnings.warn("The 'train_dataloader' does not have many workers which", stacklevel=1)
        with pytest.raises(UserWarning, match="another"):
            warnings.warn("another", stacklevel=1)
        cfg.extras.ignore_warnings = True
        extras(cfg)
        warnings.warn("another", stacklevel=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config_tree.log", "tags.log"]


def test_srun_on_the_path_is_no_warning(
    cfg: DictConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text("#!/bin/sh\n")
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{srun.parent}{os.pathsep}{os.environ['PATH']}")
    quiet = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        Trainer(**quiet)
        assert any("srun" in str(warning.message) for warning in said)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        extras(cfg)
        Trainer(**quiet)
        assert not any("srun" in str(warning.message) for warning in said)


def test_an_interruption_is_in_the_log(cfg: DictConfig, caplog: pytest.LogCaptureFixture) -> None:
    @task_wrapper
    def interrupted(cfg: DictConfig) -> tuple[dict, dict]:
        raise Interrupted(2)

    with pytest.raises(Interrupted):
        interrupted(cfg)
    assert "The task was ended by SIGINT." in caplog.messages


def test_what_a_config_has_caused_is_a_sentence_in_the_log_too(
    cfg: DictConfig, caplog: pytest.LogCaptureFixture
) -> None:
    @task_wrapper
    def failing(cfg: DictConfig) -> tuple[dict, dict]:
        raise RuntimeError("SyncBatchNorm layers only work with GPU modules")

    caplog.set_level(logging.INFO)
    with pytest.raises(ConfigError, match=r"trainer\.sync_batchnorm=true needs GPUs"):
        failing(cfg)
    assert "The task failed." not in caplog.text
