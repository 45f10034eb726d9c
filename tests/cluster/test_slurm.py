"""Trainings, data sets and searches as jobs of a SLURM with two nodes (docs/cluster.md)."""

import filecmp
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from optuna.trial import FrozenTrial, TrialState

from src.sweeps.storage import open_storage
from tests.cluster.runs import DDP, ROOT, SMALL, WHOLE, assert_close, only, train, weights
from tests.cluster.slurm import Slurm

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

PYTHON = shlex.quote(sys.executable)


def test_the_processes_of_a_job_share_one_folder_and_train_as_one_process(
    cluster: Slurm, logs: Path, data_root: Path
) -> None:
    same = [*SMALL.split(), *WHOLE, f"paths.vimh_dir={data_root}"]
    cluster.run(
        *("srun", "--nodes=2", "--ntasks-per-node=2"),
        *train(
            *same, DDP, "trainer.devices=2", "trainer.num_nodes=2", f"paths.log_dir={logs}/four"
        ),
    )
    subprocess.run(train(*same, f"paths.log_dir={logs}/one"), cwd=ROOT, check=True)
    four, one = (only((logs / name / "train" / "runs").iterdir()) for name in ("four", "one"))
    assert {path.name for path in four.glob(".hydra*")} == {".hydra"}
    assert_close(weights(four), weights(one))


def test_a_job_that_is_told_to_stop_is_requeued_and_ends_as_one_that_was_not(
    cluster: Slurm, logs: Path, data_root: Path
) -> None:
    command = f"{PYTHON} src/train.py {SMALL} {DDP} trainer.num_nodes=2 trainer.devices=1"
    command += f" trainer.max_epochs=40 paths.log_dir={logs} paths.vimh_dir={data_root}"
    script = f"""
run={logs}/job_$SLURM_JOB_ID
if [ -f $run/checkpoints/last.ckpt ]; then place=ckpt_path=$run; else place=hydra.run.dir=$run; fi
srun {command} $place
status=$?
if [ $status = 143 ]; then scontrol requeue $SLURM_JOB_ID; fi
exit $status
"""
    nodes = ("--nodes=2", "--ntasks-per-node=1")
    logs.mkdir()
    stopped = cluster.submit(script, *nodes, "--requeue", "--open-mode=append", outputs=logs)
    last = logs / f"job_{stopped}" / "checkpoints" / "last.ckpt"
    until = time.monotonic() + 600
    while not last.exists():
        assert time.monotonic() < until, (logs / f"job_{stopped}_4294967294.out").read_text()
        time.sleep(0.2)
    cluster.cancel(stopped, "TERM")
    assert set(cluster.wait(stopped).values()) == {"COMPLETED"}
    assert (logs / f"job_{stopped}" / ".hydra_2").is_dir()
    whole = cluster.submit(script, *nodes, outputs=logs)
    assert set(cluster.wait(whole).values()) == {"COMPLETED"}
    expected = weights(logs / f"job_{whole}")
    for name, tensor in weights(logs / f"job_{stopped}").items():
        assert torch.equal(tensor, expected[name]), name


def test_an_array_job_makes_the_parts_of_a_data_set_and_another_joins_them(
    cluster: Slurm, tmp_path: Path
) -> None:
    command = f"{PYTHON} generate_vimh.py --config-name generate_simple_3p --shuffle"
    command += " dataset.size=500 generate.chunk_size=64"
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    array = cluster.submit(
        f"{command} generate.output_dir={parts} generate.part=$SLURM_ARRAY_TASK_ID/4",
        "--array=1-4",
        outputs=tmp_path,
    )
    join = cluster.submit(
        f"{command} generate.output_dir={parts} generate.part=join",
        f"--dependency=afterok:{array}",
        outputs=tmp_path,
    )
    assert set(cluster.wait(join).values()) == {"COMPLETED"}
    words = shlex.split(f"{command} generate.output_dir={whole}")
    subprocess.run(words, cwd=ROOT, check=True)
    ours, expected = only(parts.iterdir()), only(whole.iterdir())
    names = [path.name for path in expected.iterdir()]
    same, _, _ = filecmp.cmpfiles(ours, expected, names, shallow=False)
    assert sorted(same) == sorted(names)


def test_a_grid_by_submitit_has_a_job_and_a_row_for_each_setting(
    cluster: Slurm, logs: Path, data_root: Path
) -> None:
    pytest.importorskip("submitit", reason='pip install -e ".[cluster]"')
    printed = cluster.run(
        *train("-m", *SMALL.split(), "trainer.max_epochs=2", "seed=1,2,3"),
        *("hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=20"),
        *(f"paths.log_dir={logs}", f"paths.vimh_dir={data_root}"),
    )
    multirun = only((logs / "train" / "multiruns").iterdir())
    assert {path.name for path in multirun.iterdir()} >= {"0", "1", "2", ".submitit"}
    assert all((multirun / job / "metrics.json").is_file() for job in "012")
    assert printed.count("│ done ") == 3, printed


def of(storage, study) -> list[FrozenTrial]:
    found: list[FrozenTrial] = storage.get_all_trials(study._study_id)
    return found


def test_a_search_by_an_array_job_loses_no_trial_and_doubles_none(
    cluster: Slurm, database: str, logs: Path, data_root: Path
) -> None:
    trials = 24
    search = f"{PYTHON} src/train.py hparams_search=avix_optuna {SMALL} trainer.max_epochs=2"
    search += f" hydra.sweeper.n_trials={trials} hydra.sweeper.study_name=array"
    search += f" hydra.sweeper.storage={database} paths.log_dir={logs} paths.vimh_dir={data_root}"
    logs.mkdir()
    workers = cluster.submit(search, "--array=1-16%6", outputs=logs)

    storage = open_storage(database)
    until = time.monotonic() + 900
    while len(studies := storage.get_all_studies()) < 1 or len(of(storage, studies[0])) < 3:
        assert time.monotonic() < until
        time.sleep(0.5)
    running = [task for task, state in cluster.states(workers).items() if state == "RUNNING"]
    for task in running[:4]:
        cluster.cancel(f"{workers}_{task}", "KILL")
    cluster.wait(workers)
    again = cluster.submit(search, "--array=1-2", outputs=logs)
    assert set(cluster.wait(again).values()) == {"COMPLETED"}
    found = of(storage, studies[0])
    storage.remove_session()
    storage.engine.dispose()
    done = (TrialState.COMPLETE, TrialState.PRUNED)
    assert sum(trial.state in done for trial in found) == trials
    assert sorted(trial.number for trial in found) == list(range(len(found)))
