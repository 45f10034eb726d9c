"""The commands that the lightning-hydra-template's README lists, with `src/` before the script.

Left out is what names things that are not here: `model.lr`, `model=mnist`, `model.new_param` and
`trainer.tpu_cores`. What needs a GPU, a server or several machines is composed and not run.
"""

import csv
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from lightning.pytorch.profilers import SimpleProfiler
from omegaconf import OmegaConf, open_dict

from src.eval import evaluate
from src.train import train
from src.utils import extras
from src.utils.errors import ConfigError
from tests.fakes import image_root
from tests.helpers import shrink

ROOT = Path(__file__).parents[1]


@pytest.fixture
def run(compose_config, data_root: Path):
    """Composes a command line as it is written, and trains."""

    def trained(command: str, **changes):
        cfg = shrink(compose_config("train", *shlex.split(command)), data_root)
        with open_dict(cfg):
            for key, value in {"trainer.max_epochs": 1, **changes}.items():
                OmegaConf.update(cfg, key, value)
        return train(cfg)

    return trained


@pytest.mark.parametrize(
    "command",
    [
        "trainer.max_epochs=20 model.optimizer.lr=1e-4",
        "trainer=cpu",
        "callbacks=default",
        "+trainer.gradient_clip_val=0.5",
        "+trainer.val_check_interval=0.25",
        "+trainer.accumulate_grad_batches=10",
        '+trainer.max_time="00:12:00:00"',
        "+trainer.precision=bf16-mixed",
        "+trainer.detect_anomaly=true",
        "+trainer.limit_train_batches=0.2 +trainer.limit_val_batches=0.2 "
        "+trainer.limit_test_batches=0.2",
        "+trainer.profiler=simple",
        "trainer.deterministic=True",
        'tags=["mnist","experiment_X"]',
        "logger=csv",
        "logger=many_loggers",
        "logger=[csv,tensorboard]",
        "~logger",
        "callbacks=none",
        "callbacks=early_stopping callbacks.early_stopping.patience=1",
        "data.num_workers=1",
        "extras.ignore_warnings=true",
    ],
)
@pytest.mark.sampled(4)
def test_a_run_with(command: str, run) -> None:
    metrics, objects = run(command)
    assert torch.isfinite(metrics["test/loss"])
    assert objects["trainer"].global_step > 0


def test_the_values_of_the_command_line_arrive(run) -> None:
    _, objects = run(
        "model.optimizer.lr=1e-4 +trainer.gradient_clip_val=0.5 +trainer.accumulate_grad_batches=10"
    )
    trainer = objects["trainer"]
    assert trainer.optimizers[0].defaults["lr"] == 1e-4
    assert trainer.gradient_clip_val == 0.5
    assert trainer.global_step == 4  # 40 batches, ten of which are a step
    _, objects = run("+trainer.val_check_interval=0.25 +trainer.precision=bf16-mixed")
    assert objects["trainer"].val_check_batch == 9  # of 39: the last small batch is left out
    assert objects["trainer"].precision == "bf16-mixed"


def test_max_time_ends_a_run(run) -> None:
    _, objects = run('+trainer.max_time="00:00:00:01"', **{"trainer.max_epochs": 10000})
    assert 0 < objects["trainer"].current_epoch < 9999


@pytest.mark.parametrize("mode", ["default", "fdr", "limit", "overfit", "profiler"])
@pytest.mark.sampled(2)
def test_debug_modes(mode: str, run, tmp_path: Path) -> None:
    cfg_changes = {} if mode in ("limit", "overfit") else {"trainer.max_epochs": 1}
    metrics, objects = run(f"debug={mode}", **cfg_changes)
    trainer = objects["trainer"]
    assert objects["callbacks"] == []
    assert list(tmp_path.rglob("events.out*")) == []
    assert "train/loss" in metrics
    if mode == "fdr":
        assert (trainer.global_step, trainer.fast_dev_run) == (1, 1)
    elif mode == "overfit":
        assert (trainer.num_training_batches, trainer.overfit_batches) == (3, 3)
    elif mode == "profiler":
        assert isinstance(trainer.profiler, SimpleProfiler)
    elif mode == "limit":
        assert trainer.num_training_batches == 3


@pytest.mark.slow
def test_overfitting_learns_three_batches_by_heart(run) -> None:
    metrics, objects = run("debug=overfit", **{"trainer.max_epochs": 40, "model.net.dropout": 0.0})
    assert objects["trainer"].current_epoch == 40
    assert metrics["train/acc"] > 0.95


@pytest.mark.parametrize(
    ("command", "key", "value"),
    [
        ("trainer=gpu", "trainer.accelerator", "gpu"),
        ("trainer=gpu +trainer.precision=16", "trainer.precision", 16),
        ("trainer=ddp trainer.devices=4", "trainer.strategy", "ddp"),
        ("trainer=ddp trainer.devices=4 trainer.num_nodes=2", "trainer.num_nodes", 2),
        ("trainer=ddp_sim trainer.devices=2", "trainer.strategy", "ddp_spawn"),
        ("trainer=mps", "trainer.accelerator", "mps"),
        ("logger=wandb", "logger.wandb.project", "avix"),
        ("experiment=example", "data.batch_size", 64),
        ("experiment=example.yaml", "data.batch_size", 64),
        (r"tags=\[\"mnist\",\"experiment_X\"\]", "tags", ["mnist", "experiment_X"]),
        ("ckpt_path=/path/to/ckpt/name.ckpt", "ckpt_path", "/path/to/ckpt/name.ckpt"),
    ],
)
@pytest.mark.sampled(3)
def test_commands_that_need_another_machine_compose(command, key, value, compose_config) -> None:
    cfg = compose_config("train", *shlex.split(command))
    assert OmegaConf.select(cfg, key) == value


@pytest.mark.parametrize("logger", ["wandb", "mlflow", "comet", "aim"])
def test_a_logger_whose_package_is_missing_names_its_extra(
    logger: str, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    packages = {"wandb", "mlflow", "comet_ml", "aim"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name in packages else find_spec(name)
    )
    with pytest.raises(ConfigError, match=r"is not installed; pip install .*\[loggers\]"):
        run(f"logger={logger}")


def test_neptune_is_refused_with_a_reason(run) -> None:
    with pytest.raises(ConfigError, match="Neptune's service has ended"):
        run("logger=neptune")


def test_csv_holds_the_metrics(run, tmp_path: Path) -> None:
    run("logger=csv")
    with (tmp_path / "csv" / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert any(row["test/acc"] for row in rows)
    assert any(row["train/loss"] for row in rows)


@pytest.mark.filterwarnings("ignore")  # what MLflow imports warns in many ways
def test_mlflow_keeps_a_run_in_a_local_file(run, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra [loggers] is not installed")
    _, objects = run("logger=mlflow")
    assert (tmp_path / "mlflow.db").is_file()
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    found = client.get_run(objects["logger"][0].run_id)
    assert "test/acc" in found.data.metrics
    assert found.data.params["seed"] == "42"


def test_resuming_goes_on_and_evaluation_takes_the_checkpoint(
    run, compose_config, data_root: Path, tmp_path: Path
) -> None:
    _, first = run("experiment=digits_cnn", **{"trainer.max_epochs": 1})
    path = tmp_path / "checkpoints" / "last.ckpt"
    _, second = run(f"experiment=digits_cnn ckpt_path='{path}'", **{"trainer.max_epochs": 3})
    assert second["trainer"].global_step == 3 * first["trainer"].global_step
    cfg = compose_config("eval", f"ckpt_path='{path}'")
    with open_dict(cfg):
        cfg.paths.vimh_dir = str(data_root)
        cfg.trainer.accelerator = "cpu"
        cfg.trainer.enable_progress_bar = False
    assert "test/acc" in evaluate(cfg)[0]


def test_seeds_repeat_a_run(run) -> None:
    losses = [run(f"seed={seed}")[0]["test/loss"] for seed in (7, 7, 8)]
    assert losses[0] == losses[1] != losses[2]


def test_tags_are_asked_for_and_needed(
    compose_config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cfg = compose_config("train", "tags=[]", "extras.print_config=false")
    with pytest.raises(ConfigError, match="tags is empty and there is no terminal"):
        extras(cfg)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("src.utils.rich_utils.Prompt.ask", lambda *a, **k: "mnist, first try")
    extras(cfg)
    assert list(cfg.tags) == ["mnist", "first try"]
    assert (tmp_path / "tags.log").read_text().split("\n")[:2] == ["mnist", "first try"]
    extras(
        compose_config("train", "tags=[]", "extras.enforce_tags=false", "extras.print_config=false")
    )


def test_local_settings_are_taken_where_there_are_some(tmp_path: Path) -> None:
    """They beat train.yaml, and the command line beats them."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "configs" / "local" / "default.yaml").write_text(
        "# @package _global_\ntags: [this_machine]\ndata:\n  num_workers: 3\n"
    )
    with initialize_config_dir(version_base="1.3", config_dir=str(tmp_path / "configs")):
        cfg = compose("train", ["data.batch_size=7"])
        assert (cfg.tags, cfg.data.num_workers, cfg.data.batch_size) == (["this_machine"], 3, 7)
        assert compose("train", ["data.num_workers=1"]).data.num_workers == 1


def test_fsdp_builds(compose_config) -> None:
    cfg = compose_config("train", "trainer=fsdp")
    strategy = instantiate(cfg.trainer.strategy)
    assert type(strategy).__name__ == "FSDPStrategy"


# ------------------------------------------------------------------------------- command lines


def small_output(data_root: Path, folder: Path) -> list[str]:
    """Overrides that keep a run's files in the test's own folders."""
    return [f"paths.vimh_dir={data_root}", f"paths.log_dir={folder}", "extras.print_config=false"]


def command_line(command: str, data_root: Path, folder: Path, check: bool = True):
    """Runs `python src/train.py …` as it is typed, with small data and a folder of its own."""
    arguments = shlex.split(command)
    where = "hydra.sweep.dir" if "-m" in arguments else "hydra.run.dir"
    small = [*small_output(data_root, folder), f"{where}={folder}/run", "trainer.accelerator=cpu"]
    done = subprocess.run(
        [sys.executable, *arguments, *small],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not check or done.returncode == 0, done.stderr[-5000:]
    return done


QUICK = "trainer.max_epochs=1 +trainer.limit_train_batches=2 +trainer.limit_val_batches=1"


@pytest.mark.slow
def test_the_default_command(data_root: Path, tmp_path: Path) -> None:
    done = command_line(f"src/train.py {QUICK}", data_root, tmp_path)
    assert (tmp_path / "run" / "metrics.json").is_file(), done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "jobs"),
    [
        ("-m data.batch_size=32,64,128 model.optimizer.lr=0.001,0.0005", 6),
        ('-m logger=csv data.batch_size=16,32,64,128 tags=["batch_size_exp"]', 4),
        ('-m seed=1,2,3,4,5 trainer.deterministic=True logger=csv tags=["benchmark"]', 5),
    ],
)
def test_sweeps(command: str, jobs: int, data_root: Path, tmp_path: Path) -> None:
    command_line(f"src/train.py {command} {QUICK}", data_root, tmp_path)
    assert len(list((tmp_path / "run").glob("*/metrics.json"))) == jobs


@pytest.mark.slow
def test_a_sweep_with_optuna(data_root: Path, tmp_path: Path) -> None:
    command_line(
        "src/train.py -m hparams_search=mnist_optuna experiment=example "
        f"hydra.sweeper.n_trials=2 data.source.root={image_root(data_root)} {QUICK}",
        data_root,
        tmp_path,
    )
    assert len(list(tmp_path.rglob("optimization_results.yaml"))) == 1


@pytest.mark.slow
def test_all_experiments_of_a_pattern(data_root: Path, tmp_path: Path) -> None:
    command_line("src/train.py -m 'experiment=glob(avix_*)' debug=fdr", data_root, tmp_path)
    names = {path.stem for path in (ROOT / "configs/experiment").glob("avix_*.yaml")}
    ended = [path.parent for path in (tmp_path / "run").glob("*/metrics.json")]
    overrides = [(job / ".hydra" / "overrides.yaml").read_text() for job in ended]
    found = {name for name in names for text in overrides if f"experiment={name}\n" in text}
    assert found == names


@pytest.mark.slow
def test_resuming_and_evaluating(data_root: Path, tmp_path: Path) -> None:
    command_line(f"src/train.py {QUICK}", data_root, tmp_path)
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    more = QUICK.replace("max_epochs=1", "max_epochs=2")
    command_line(f'src/train.py ckpt_path="{checkpoint}" {more}', data_root, tmp_path / "more")
    resumed = torch.load(tmp_path / "more" / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert resumed["global_step"] == 4  # two of each epoch's
    command_line(f'src/eval.py ckpt_path="{checkpoint}"', data_root, tmp_path / "eval")
    assert (tmp_path / "eval" / "run" / "metrics.json").is_file()


@pytest.mark.slow
def test_subprocesses_are_refused_in_a_multirun_and_ddp_sim_is_not(
    data_root: Path, tmp_path: Path
) -> None:
    refused = command_line(
        f"src/train.py -m trainer=ddp trainer.devices=2 seed=1,2 {QUICK}",
        data_root,
        tmp_path,
        check=False,
    )
    assert refused.returncode != 0
    assert "ddp_sim" in refused.stderr
    assert "Traceback" not in refused.stderr
    command_line(
        f"src/train.py -m trainer=ddp_sim trainer.devices=2 seed=1,2 {QUICK}", data_root, tmp_path
    )
    assert len(list((tmp_path / "run").glob("*/metrics.json"))) == 2


@pytest.mark.slow
def test_ddp_with_a_process_started_for_each_device(data_root: Path, tmp_path: Path) -> None:
    """As with GPUs, whose processes are still joined when the first one writes the report."""
    done = command_line(
        f"src/train.py trainer=ddp trainer.devices=2 trainer.sync_batchnorm=false {QUICK}",
        data_root,
        tmp_path,
    )
    results = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert results["baselines"]
    assert results["num_samples"]["test"] == 359
    assert done.stdout.count("test samples of") == 1


@pytest.mark.slow
def test_tags_without_a_terminal_are_one_sentence(data_root: Path, tmp_path: Path) -> None:
    done = command_line("src/train.py 'tags=[]'", data_root, tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: tags is empty")
    done = command_line("src/train.py -m seed=1,2,3 tags=[]", data_root, tmp_path, check=False)
    assert done.returncode == 1
    assert "\nerror: tags is empty: give it before a multirun starts" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ["trainer=gpu", "-m trainer=gpu seed=1"])
def test_a_gpu_that_is_missing_is_one_sentence(
    arguments: str, data_root: Path, tmp_path: Path
) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = subprocess.run(
        [sys.executable, "src/train.py", *arguments.split(), *small_output(data_root, tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "\nerror: trainer.accelerator is 'gpu': " in f"\n{done.stderr}"
    assert "Traceback" not in done.stderr + done.stdout
