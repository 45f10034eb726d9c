"""The searches and comparisons as they are typed, with real trainings."""

import json
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch import Trainer
from omegaconf import DictConfig, OmegaConf
from optuna.trial import TrialState

from src.sweeps.storage import open_storage
from src.training.instantiators import refuse_subprocesses
from src.utils.errors import ConfigError

SEARCHES = ["avix_optuna", "mnist_optuna"]
COMPARISONS = [
    "avix_architecture_comparison",
    "avix_architecture_comparison_64k",
    "avix_densenet_size_comparison",
]


@pytest.fixture
def compose_with_hydra(project_root: Path):
    from hydra import compose, initialize_config_dir

    def composed(*overrides: str) -> DictConfig:
        with initialize_config_dir(version_base="1.3", config_dir=str(project_root / "configs")):
            return compose("train", list(overrides), return_hydra_config=True)

    return composed


@pytest.mark.parametrize("search", SEARCHES)
def test_searches_use_our_sweeper_and_the_pruning_callback(compose_with_hydra, search) -> None:
    cfg = compose_with_hydra(f"hparams_search={search}", "experiment=avix_quick")
    assert cfg.hydra.sweeper._target_.endswith("AvixOptunaSweeper")
    assert cfg.callbacks.pruning._target_ == "src.callbacks.pruning.TrialPruning"
    assert cfg.callbacks.model_checkpoint is not None  # the default ones are still there
    assert cfg.optimized_metric.endswith("_best")
    assert len(cfg.hydra.sweeper.params) >= 3


@pytest.mark.parametrize(("max_epochs", "first"), [(800, 200), (6, 2), (1, 1)])
def test_the_pruner_follows_the_length_of_the_training(
    compose_with_hydra, max_epochs: int, first: int
) -> None:
    cfg = compose_with_hydra("hparams_search=avix_optuna", f"trainer.max_epochs={max_epochs}")
    assert cfg.hydra.sweeper.pruner.min_resource == first


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_comparisons_name_models_that_are_there(
    compose_with_hydra, project_root: Path, comparison
) -> None:
    cfg = compose_with_hydra(f"hparams_search={comparison}")
    assert cfg.hydra.sweeper._target_.endswith("BasicSweeper")
    assert cfg.hydra.runtime.choices.data == "avix_72dss"  # not train.yaml's own
    models = [name.strip() for name in cfg.hydra.sweeper.params.model.split(",")]
    assert len(models) >= 3
    for model in models:
        assert (project_root / "configs" / "model" / f"{model}.yaml").is_file()


def test_strategies_with_subprocesses_are_refused_in_a_multirun(compose_with_hydra) -> None:
    arguments = {"accelerator": "cpu", "devices": 2, "logger": False}
    subprocesses = Trainer(strategy="ddp", **arguments)
    refuse_subprocesses(subprocesses)  # a single run
    HydraConfig.instance().set_config(compose_with_hydra("hydra.mode=MULTIRUN"))
    try:
        refuse_subprocesses(Trainer(strategy="ddp_spawn", **arguments))
        with pytest.raises(ConfigError, match="ddp_spawn does"):
            refuse_subprocesses(subprocesses)
    finally:
        HydraConfig.instance().cfg = None


@pytest.fixture
def train(project_root: Path, tmp_path: Path, data_root: Path):
    def run(*overrides: str) -> str:
        command = [
            sys.executable,
            str(project_root / "src" / "train.py"),
            *overrides,
            "experiment=avix_quick",
            f"paths.log_dir={tmp_path}",
            f"paths.vimh_dir={data_root}",
            "trainer.accelerator=cpu",
            "extras.print_config=false",
        ]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.slow
def test_a_search_prunes_and_its_best_command_repeats_it(train, tmp_path: Path) -> None:
    printed = train(
        "hparams_search=avix_optuna",
        "trainer.max_epochs=6",
        "hydra.sweeper.n_trials=6",
        "hydra.sweeper.pruner.min_resource=1",
    )
    folder = tmp_path / "train" / "sweeps" / "avix_optuna-avix_quick"
    storage = open_storage(str(folder / "journal.log"))
    trials = optuna.load_study(study_name=folder.name, storage=storage).trials
    states = [trial.state for trial in trials]
    assert states[0] is TrialState.COMPLETE
    assert TrialState.PRUNED in states
    assert TrialState.FAIL not in states
    for trial in trials:
        steps = sorted(trial.intermediate_values)
        assert steps == list(range(len(steps)))
        assert len(steps) == 6 or trial.state is TrialState.PRUNED
    results = OmegaConf.load(folder / "optimization_results.yaml")
    assert "Best: " in printed
    # The command of the best trial, in a folder of its own, comes to the same value.
    words = [word for word in results.command.split()[2:] if not word.startswith("experiment")]
    train(*words)
    (again,) = (tmp_path / "train" / "runs").glob("*/metrics.json")
    value = json.loads(again.read_text())["metrics"]["val/mae_best"]
    assert value == pytest.approx(results.best_value, abs=1e-6)


@pytest.mark.slow
def test_a_diverged_trial_has_failed(train, tmp_path: Path) -> None:
    """Though its metric is finite: the class that is read from NaN is one."""
    printed = train(
        *("-m", "hydra/sweeper=avix_optuna", "model.optimizer.lr=0.001,1e6"),
        *("optimized_metric=val/mae_best", "trainer.max_epochs=4"),
        *("hydra.sweeper.n_trials=2", "hydra.sweeper.max_failure_rate=1"),
        "+hydra.sweeper.sampler._target_=optuna.samplers.BruteForceSampler",
    )
    folder = tmp_path / "train" / "sweeps" / "avix_quick"
    storage = open_storage(str(folder / "journal.log"))
    trials = optuna.load_study(study_name=folder.name, storage=storage).trials
    expected = {"0.001": TrialState.COMPLETE, "1000000.0": TrialState.FAIL}
    found = {(str(trial.params["model.optimizer.lr"]), trial.state) for trial in trials}
    assert found <= set(expected.items())
    assert "training has diverged" in printed
    metrics = [json.loads((folder / str(t.number) / "metrics.json").read_text()) for t in trials]
    reasons = {"diverged": TrialState.FAIL, "max_epochs": TrialState.COMPLETE}
    assert [reasons[m["ended"]["reason"]] for m in metrics] == [t.state for t in trials]


@pytest.mark.slow
def test_a_comparison_prints_its_table(train) -> None:
    printed = train("-m", "model=avix_cnn_11k,avix_mlp_11k_jnd", "seed=1,2", "trainer.max_epochs=1")
    table = printed[printed.rindex("weights") :]
    for cell in ("avix_cnn_11k", "avix_mlp_11k_jnd", "11,157", "±"):
        assert cell in printed, table
