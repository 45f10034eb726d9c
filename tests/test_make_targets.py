"""What the make targets run: the names that people type, and commands that compose.

`make -n` prints the commands; each training and data set among them is composed by Hydra, as its
command line would.
"""

import os
import re
import shlex
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import open_dict

from benchmarks import cifar_suite
from generate_vimh import translate
from src.train import train
from tests.fakes import image_root
from tests.helpers import shrink

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import makefile_docs  # noqa: E402 - a script, not a package

# Short names that habits hang on.
NAMES = re.findall(
    r"\w+",
    """
h venv c cd cl f s a d t ta tb tbr tbmr lc check b suite
ss sl sa san sw s3 sn sr sm dd
tr trc trcnn trvs trvm trvl trvp trcns trcnm trcnl tmps tq tqc tqv tqcn tqa ca
td tda tdl tds tdsc tdsl tdss tdsm tdsc10 amlp64d asdn64d
e esdn evit ev995 ecm emhcm emhcc10 evimh evimho evimhr excn ecnb
cb10c cb10cn cb10cn64 cb10cn128 cb10v cb10e cb100c cb100cn cb100v cb100e cb100sdn cb100cnn1m
cb100cn1m cb100cn10m cb100cc cb100ccn
cbq10c cbq10cn cbq10cn64 cbq10cn128 cbq100c cbq100sdn cbq100cnn1m cbq100cn1m cbq100cn10m cbq100cc
cbqa cbs cbs10 cbs100 cbsa allqt
av aj aac amlp adn avit amlp64 asdn64 dgb dgn dgbx dgnx dgx dgt dgct dgch dglw dgro dge dgw dgwr
dgnf avixo asdn128 acnn64 avit64 aac64 dgt1m asdnsc
""",
)
# What a make that runs these tests hands on to the next.
OWN_ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in {"ARGS", "MAKEFLAGS", "MFLAGS", "MAKELEVEL"}
}
TARGETS = [target.names[0] for target in makefile_docs.targets()]


@cache
def dry_run(target: str) -> tuple[tuple[str, ...], ...]:
    """The Python commands of a target, each as its arguments, without the interpreter."""
    printed = subprocess.run(
        ["make", "--no-print-directory", "-n", "PYTHON=python", target],
        cwd=ROOT,
        env=OWN_ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.replace("\\\n", " ")
    commands = re.findall(r"^ *python ([\w/]+\.py.*)$", printed, re.MULTILINE)
    return tuple(tuple(shlex.split(command)) for command in commands)


def jobs_of(overrides: list[str]) -> list[list[str]]:
    """The overrides of each job of a multirun with Hydra's basic sweeper."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    return jobs


def test_the_names_that_people_type_are_there() -> None:
    there = {name for target in makefile_docs.targets() for name in target.names}
    assert set(NAMES) - there == set()


def composed(config: str, overrides: list[str]) -> None:
    with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "configs")):
        compose(config, overrides, return_hydra_config=True)


@cache
def check(arguments: tuple[str, ...]) -> None:
    """Composes what a command line would; a wrong key, group or flag is an error."""
    script, *rest = arguments
    assert (ROOT / script).is_file()
    if script == "src/train.py":
        jobs = jobs_of(rest[1:]) if rest[:1] == ["-m"] else [rest]
        for overrides in jobs:
            composed("train", overrides)
    elif script == "generate_vimh.py":
        rest = translate(rest)
        name = "generate_simple"
        if rest[:1] == ["--config-name"]:
            name, rest = rest[1], rest[2:]
        composed(name, rest)
    elif script == "benchmarks/cifar_suite.py":
        options = cifar_suite.arguments(rest)
        assert cifar_suite.chosen(options.set, options.only)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.sampled(4)
def test_every_command_composes(target: str) -> None:
    for arguments in dry_run(target):
        check(arguments)


def test_commands_are_found_and_mistakes_in_them_too() -> None:
    (command,) = dry_run("cb100v")
    assert command[:3] == (
        "src/train.py",
        "experiment=cifar100_benchmark_cnn",
        "model=cifar100_vit_210k",
    )
    assert len(dry_run("dge")) > 10
    assert len(dry_run("allqt")) == 5  # four trainings and the suite
    found = {command[0] for target in TARGETS for command in dry_run(target)}
    assert {"src/train.py", "generate_vimh.py", "benchmarks/cifar_suite.py"} <= found
    assert sum(bool(dry_run(target)) for target in TARGETS) > 100
    for wrong in ("model=nonsense", "trainer.max_epohcs=1", "experiment=none", "-m model=a,b"):
        with pytest.raises(HydraException):
            check(("src/train.py", *wrong.split()))


IMAGE_TARGETS = [
    target.names[0]
    for target in makefile_docs.targets()
    if target.group.startswith(("MNIST", "CIFAR")) and "ecnb" not in target.names
    # ecnb has 28 million weights, and tests/test_experiments.py runs its experiment
]


@pytest.mark.slow
@pytest.mark.parametrize("target", IMAGE_TARGETS)
def test_every_training_on_images_takes_two_steps(
    target: str, compose_config, data_root: Path
) -> None:
    for script, *overrides in dry_run(target):
        if script != "src/train.py" or overrides == ["trainer=mps"]:
            continue
        cfg = shrink(compose_config("train", *overrides), data_root)
        with open_dict(cfg):
            cfg.trainer.max_epochs = cfg.trainer.min_epochs = 1
            cfg.trainer.limit_train_batches = 2
            cfg.trainer.limit_val_batches = 1
            cfg.trainer.limit_test_batches = 1
        metrics, objects = train(cfg)
        assert objects["trainer"].global_step == 2
        assert torch.isfinite(metrics["test/loss"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "overrides"),
    [
        ("tq", ""),  # no argument of its own
        ("tqv", ""),  # a model and another data set
        ("trcns", "{root}"),
        ("emhcm", "{root}"),  # an experiment
        ("cb100v", "{root}"),  # an experiment with another model, and tags with a comma
        ("cbq100cc", "{root}"),  # a quick one
        ("dgt1m", ""),
        ("dgbx", ""),  # in AVIX mode, like those below
        ("dgnx", ""),
        ("dgx", ""),
        ("dgt", ""),
        ("dgct", ""),
        ("avixo", ""),
        ("dgwr", ""),  # dglw and dgro: keys deep down
        ("ca", "{root}"),  # a multirun
        ("caa", ""),
    ],
)
def test_targets_run(target: str, overrides: str, data_root: Path, tmp_path: Path) -> None:
    small = [
        overrides.format(root=f"data.source.root={image_root(data_root)}"),
        f"paths.vimh_dir={data_root}",
        "trainer.max_epochs=1",
        "++trainer.limit_train_batches=2",
        "++trainer.limit_val_batches=1",
        "data.batch_size=32",
        "extras.print_config=false",
        f"paths.log_dir={tmp_path}",
    ]
    done = subprocess.run(
        ["make", f"PYTHON={sys.executable}", f"ARGS={' '.join(small)}", target],
        cwd=ROOT,
        env=OWN_ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    jobs = {"ca": 4, "caa": 4, "dgwr": 2}.get(target, 1)
    assert len(list(tmp_path.rglob("metrics.json"))) == jobs


def test_the_page_is_not_served_at_a_port_that_answers_already() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = subprocess.run(
            ["make", f"PYTHON={sys.executable}", f"WEB_PORT={port}", "web"],
            cwd=ROOT,
            env=OWN_ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stdout.startswith(f"error: something answers at port {port} already")
    assert "Traceback" not in done.stderr
