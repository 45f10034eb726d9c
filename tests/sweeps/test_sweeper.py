"""The sweeper's course: outcomes, resuming, errors before the first trial, and its report."""

import shlex

import optuna
import pytest
from optuna.trial import TrialState

COMPLETE, FAIL, PRUNED = TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED


def test_a_sweep_runs_its_trials_and_reports_the_best(sweep, sweeps) -> None:
    code, printed = sweep()
    assert code == 0, printed
    trials = sweeps.trials()
    assert [trial.state for trial in trials] == [COMPLETE] * 4
    assert [number for number, _ in sweeps.started()] == [0, 1, 2, 3]
    best = min(trials, key=lambda trial: trial.value)
    assert best.value == best.params["x"] ** 2
    results = sweeps.results()
    assert results["best_value"] == best.value
    assert results["best_params"] == best.params
    assert results["best_trial"] == best.number
    assert "4 completed, 0 pruned, 0 failed" in printed
    words = shlex.split(results["command"])
    assert f"x={best.params['x']!r}" in words
    assert "hydra.mode=RUN" in words  # the config says MULTIRUN
    assert results["command"] in printed


def test_trials_that_fail_or_are_pruned_do_not_end_the_sweep(sweep, sweeps) -> None:
    code, printed = sweep(
        "outcomes=[1-raise,2-nan,3-prune,5-none,6-text]",
        "hydra.sweeper.n_trials=9",
    )
    assert code == 0
    expected = [COMPLETE, FAIL, FAIL, PRUNED, COMPLETE, FAIL, FAIL, COMPLETE, COMPLETE]
    assert sweeps.states() == expected
    assert "9 trials finished: 4 completed, 1 pruned, 4 failed" in printed
    failures = [t.user_attrs["failure"] for t in sweeps.trials() if t.state is FAIL]
    assert failures[0].startswith("RuntimeError: job 1 raised (trace in ")
    assert failures[1:] == ["returned nan", "returned None", "returned 'high'"]
    assert "with a second line" in (sweeps.folder / "1" / "error.txt").read_text()
    assert sweeps.results()["trials"] == {
        "completed": 4,
        "pruned": 1,
        "failed": 4,
        "killed": 0,
        "running": 0,
    }


def test_all_trials_failing_is_one_clear_error(sweep, sweeps) -> None:
    code, printed = sweep(
        "outcomes=[0-nan,1-raise]",
        "hydra.sweeper.n_trials=2",
        "hydra.sweeper.max_failure_rate=1",
    )
    assert code == 1
    assert "All 2 trials failed. The last, trial 1: RuntimeError: job 1 raised" in printed
    assert "Traceback" not in printed
    assert sweeps.states() == [FAIL, FAIL]


def test_too_many_failures_stop_the_sweep(sweep, sweeps) -> None:
    arguments = ("outcomes=[0-nan,1-nan,3-nan]", "hydra.sweeper.max_failure_rate=0.5")
    code, printed = sweep(*arguments)
    assert code == 0  # the limit was not known to be passed before the last trial
    code, printed = sweep(*arguments, "hydra.sweeper.n_trials=5")
    assert code == 1
    assert "3 of 5 trials failed, more than hydra.sweeper.max_failure_rate=0.5 allows" in printed
    assert len(sweeps.trials()) == 4  # counted over resumes, before another trial is made


def test_the_same_command_goes_on_and_a_finished_study_only_reports(sweep, sweeps) -> None:
    sweep("hydra.sweeper.n_trials=3")
    code, printed = sweep("hydra.sweeper.n_trials=5")
    assert code == 0
    assert [number for number, _ in sweeps.started()] == [0, 1, 2, 3, 4]
    code, printed = sweep("hydra.sweeper.n_trials=5")
    assert code == 0
    assert len(sweeps.trials()) == 5
    assert "5 trials finished: 5 completed" in printed


def test_a_resumed_sweep_does_not_repeat_the_first_suggestions(sweep, sweeps) -> None:
    for n_trials in (3, 6):
        sweep(f"hydra.sweeper.n_trials={n_trials}")
    values = [trial.params["x"] for trial in sweeps.trials()]
    assert len(set(values)) == 6


def test_a_seeded_sweep_is_reproducible(sweep, sweeps) -> None:
    for name in ("one", "two"):
        sweep(f"hydra.sweeper.study_name={name}")
    one, two = ([t.params for t in sweeps.trials(name)] for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["width=interval(0,1)"], "Could not override 'width'"),
        (["model=choice(small,none)"], "In 'toy': Could not find 'model/none'"),
        (["layers=int(interval(1,3))", "model.depth=choice(1,2)"], "model.depth"),
        (["x=tag(log,interval(-1.0,1.0))"], "start > 0 for log"),
        (["x=interval(1.0,1.0)"], "start < end"),
        (["x=tag(twice,interval(0.0,1.0))"], "the tag twice is unknown here"),
        (["layers=range(3,3)"], "this range is empty"),
        (["x=3"], "There is nothing to search"),
        (["optimized_metric=null"], "optimized_metric is null"),
        (["hydra.sweeper.n_trials=0"], "at least 1"),
        (["hydra.sweeper.max_failure_rate=2"], "0 to 1"),
        (["hydra.sweeper.direction=up"], "minimize or maximize"),
        (["hydra.sweeper.storage=nonesuch://host/db"], "Expected the path of a journal file"),
        (
            [
                "hydra.sweeper.direction=[minimize,maximize]",
                "hydra.sweeper.pruner._target_=optuna.pruners.MedianPruner",
            ],
            "one objective only",
        ),
    ],
)
def test_mistakes_are_told_before_the_first_trial(sweep, sweeps, overrides, sentence) -> None:
    code, printed = sweep(*overrides)
    assert code == 1
    assert sentence in printed
    assert "Traceback" not in printed
    assert not (sweeps.folder / "started.txt").exists()


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ("name=b", "fixed overrides"),
        ("layers=choice(1,2)", "search space"),
        ("hydra.sweeper.direction=maximize", "direction"),
    ],
)
def test_another_command_does_not_mix_into_a_study(sweep, sweeps, changed, what) -> None:
    sweep("hydra.sweeper.n_trials=1")
    code, printed = sweep("hydra.sweeper.n_trials=2", changed)
    assert code == 1
    assert f"was made with another {what}" in printed
    assert len(sweeps.trials()) == 1


def test_a_batch_is_numbered_by_its_trials(sweep, sweeps) -> None:
    sweep("hydra.sweeper.n_jobs=3", "hydra.sweeper.n_trials=5", "outcomes=[3-raise]")
    assert [number for number, _ in sweeps.started()] == [0, 1, 2, 3, 4]
    assert sweeps.states() == [COMPLETE] * 3 + [FAIL, COMPLETE]
    for trial in sweeps.trials():
        config = (sweeps.folder / str(trial.number) / ".hydra" / "overrides.yaml").read_text()
        assert f"x={trial.params['x']!r}" in config


def test_several_objectives_have_several_solutions(sweep, sweeps) -> None:
    code, _ = sweep(
        "outcomes=[0-two,1-two]",
        "hydra.sweeper.n_trials=2",
        "hydra.sweeper.direction=[minimize,maximize]",
    )
    assert code == 0
    assert [s["values"] for s in sweeps.results()["solutions"]] == [[1.0, 2.0]] * 2


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_sampler_that_is_through_ends_the_sweep(sweep, sweeps) -> None:
    code, _ = sweep(
        "x=0.5",
        "layers=range(1,4)",
        "hydra.sweeper.sampler._target_=optuna.samplers.BruteForceSampler",
        "hydra.sweeper.n_trials=10",
    )
    assert code == 0
    assert sorted(trial.params["layers"] for trial in sweeps.trials()) == [1, 2, 3]


def test_a_database_keeps_a_study_too(sweep, sweeps) -> None:
    url = f"sqlite:///{sweeps.logs}/sweeps.db"
    for n_trials in (2, 3):
        code, _ = sweep(f"hydra.sweeper.storage={url}", f"hydra.sweeper.n_trials={n_trials}")
        assert code == 0
    study = optuna.load_study(study_name="toy", storage=url)
    assert [trial.state for trial in study.trials] == [COMPLETE] * 3


def test_a_folder_that_the_command_line_names_is_used(sweep, sweeps) -> None:
    folder = sweeps.logs / "it's here"
    quoted = str(folder).replace("'", "\\'")
    code, _ = sweep(f"hydra.sweep.dir='{quoted}'", "hydra.sweeper.n_trials=1")
    assert code == 0
    assert (folder / "0" / ".hydra" / "config.yaml").is_file()
    assert (folder / "journal.log").is_file()


def test_changed_config_files_are_named(sweep, sweeps, caplog, monkeypatch) -> None:
    from hydra_plugins.avix_optuna_sweeper import sweeper

    sweep("hydra.sweeper.n_trials=1")
    assert "config files differ" not in caplog.text
    original = sweeper.AvixOptunaSweeper._compose_samples

    def changed(self, space):
        return original(self, space) | {"seconds": 0.5, "new": {"key": 1}}

    monkeypatch.setattr(sweeper.AvixOptunaSweeper, "_compose_samples", changed)
    code, _ = sweep("hydra.sweeper.n_trials=2")
    assert code == 0
    assert "new.key: None -> 1, seconds: 0.0 -> 0.5" in caplog.text
