"""Additions that may be overrides; tests/test_typed_lines.py runs the lines."""

import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir

from src.command_line import FORMER, add_or_override, choices
from src.utils.errors import ConfigError
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("typed", "taken"),
    [
        ("+trainer.gradient_clip_val=0.5", "++trainer.gradient_clip_val=0.5"),
        ("+trainer.limit_val_batches=1,2", "++trainer.limit_val_batches=1,2"),  # a sweep
        ("+model.optimizer.momentum=0.9", "++model.optimizer.momentum=0.9"),
        ("+trainer.max_time='00:00:01:00'", "++trainer.max_time='00:00:01:00'"),
        *(
            (word, word)
            for word in ("++trainer.max_steps=3", "trainer.max_steps=3", "-m", "--help")
        ),
        *((word, word) for word in ("+experiment=example", "+model/optimizer=sgd", "~logger.csv")),
        ("+recipe@data.source.recipe=simple", "+recipe@data.source.recipe=simple"),
        ("input=+a.b=c.wav", "input=+a.b=c.wav"),
        ("model.loss_weights={}", "model.loss_weights={}"),
    ],
)
def test_words(typed: str, taken: str) -> None:
    assert add_or_override([typed]) == [taken]


@pytest.mark.parametrize(
    ("typed", "taken"),
    [
        ("paths=null", "~paths"),
        ("model/optimizer=null", "~model/optimizer"),
        ("recipe@data.source.recipe=null", "~recipe@data.source.recipe"),
        ("loss@model.losses.waveform=ce", "+loss@model.losses.waveform=ce"),
        ("+loss@model.losses.waveform=ce", "+loss@model.losses.waveform=ce"),
        ("loss@model.losses.continuous=dg", "loss@model.losses.continuous=dg"),
        ("loss@model.losses.categorical=null", "~loss@model.losses.categorical"),
        ("trainer=cpu", "trainer=cpu"),
        ("tags=null", "tags=null"),
        ("hydra.run.dir=a", "hydra.run.dir=a"),
    ],
)
def test_choices_of_groups(typed: str, taken: str) -> None:
    assert choices([typed]) == [taken]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("trainer=5", "trainer is 5; expected the name of a file in configs/trainer, or null"),
        ("+experiment=true", "experiment is true; expected the name"),
        ("model/optimizer=0.5", "model/optimizer is 0.5; expected the name"),
        ("=1", "=1 has no key; expected key=value"),
        ("hydra.run.dir=", "hydra.run.dir is ''; expected the path of a folder"),
        ('hydra.sweep.dir=""', 'hydra.sweep.dir is ""; expected the path of a folder'),
        ("hydra.run.dir=null", "hydra.run.dir is null; expected the path of a folder"),
        ("model.loss=dg", f"model.loss is not read, since {FORMER['model.loss']}"),
        ("+model.loss._target_=torch.nn.L1Loss", "model.loss._target_ is not read, since"),
        ("~model.loss", "model.loss is not read, since"),
        (
            "model.auto_configure_from_dataset=false",
            "model.auto_configure_from_dataset is not read, since the heads of a config always",
        ),
    ],
)
def test_choices_that_no_group_has(typed: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        choices([typed])
    assert str(caught.value).startswith(message)


def test_an_added_key_may_be_there() -> None:
    said = ["experiment=mnist_vit_995", "+trainer.gradient_clip_val=0.5", "+trainer.new_key=1"]
    with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "configs")):
        cfg = compose("train", add_or_override(said))
    assert (cfg.trainer.gradient_clip_val, cfg.trainer.new_key) == (0.5, 1)


@pytest.mark.parametrize("script", ["src/train.py", "src/eval.py"])
def test_the_commands_take_additions_of_keys_that_are_there(script: str) -> None:
    words = ["+trainer.max_epochs=7", "--cfg", "job", "--package", "trainer"]
    done = subprocess.run(
        [sys.executable, script, *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "max_epochs: 7" in done.stdout
