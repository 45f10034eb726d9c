"""One folder for the processes of a run that `srun` or `torchrun` starts together.

Each of them composes its config by itself, some microseconds apart, so the time in the folder's
name would give each a folder of its own.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

# What the processes of one start have in common and no other start has: SLURM draws the port anew,
# so a number that a cluster gives twice names two starts.
_SLURM = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT", "SLURM_SRUN_COMM_PORT")
_TORCHRUN = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_PORT")
_WITHOUT_ID = "none"  # torchrun's id of a run where nobody gives one


def start_of_run() -> str | None:
    """Return what names this start of a run in all its processes; None for a process alone."""
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        names: tuple[str, ...] = _SLURM
    elif os.environ.get(_TORCHRUN[0], _WITHOUT_ID) != _WITHOUT_ID:
        names = _TORCHRUN
    else:
        return None
    return "_".join(os.environ.get(name, "0") for name in names)


def shared_name(runs_dir: Path, fresh: str) -> str:
    """Return the name of a new run's folder, the same in all processes of a start.

    The first process leaves its name in a file, which the others read.

    Args:
        runs_dir: ``logs/<task_name>/runs``, on a disk that all processes see.
        fresh: The name that this process would take.
    """
    start = start_of_run()
    if start is None:
        return fresh
    mark, mine = _mark(runs_dir, start), _mark(runs_dir, uuid4().hex)
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        mine.write_text(fresh, "utf-8")
        try:
            mark.hardlink_to(mine)  # fails where another was faster; never seen half-written
        except FileExistsError:
            return mark.read_text("utf-8")
        finally:
            mine.unlink()
    except OSError:  # Hydra makes the folder next, and says it in a sentence
        return fresh
    return fresh


def forget_name(runs_dir: Path) -> None:
    """Remove the file that gave this start's processes their folder: all of them know it by now."""
    start = start_of_run()
    if start is not None:
        with suppress(OSError):
            _mark(runs_dir, start).unlink(missing_ok=True)


def _mark(runs_dir: Path, name: str) -> Path:
    return runs_dir / f".start_{name}"
