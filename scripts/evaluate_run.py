"""Run src/eval.py on a checkpoint and the data of its run, for `make evaluate`.

usage: CKPT=path python scripts/evaluate_run.py [overrides of src/eval.py]

Without CKPT it is the checkpoint of the newest run in logs/train/runs. A checkpoint names no path
of its data, since it may come from elsewhere; the metrics.json of a run does.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
METRICS = "metrics.json"
OWN_DATA = ("data=", "data.data_dir=", "data.source", "paths.vimh_dir=")


def metrics_of(run: Path) -> dict[str, Any]:
    """Read the `metrics.json` of a run's folder; empty where there is none."""
    path = run / METRICS
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        sys.exit(f"error: {path} is no JSON ({error}): name a checkpoint by CKPT=path")
    return found if isinstance(found, dict) else {}


def newest_run(runs: Path) -> tuple[Path, dict[str, Any]]:
    """Return the checkpoint and the metrics of the run that ended last."""
    ended = sorted(runs.glob(f"*/{METRICS}"), key=lambda path: path.stat().st_mtime)
    metrics = metrics_of(ended[-1].parent) if ended else {}
    if not metrics.get("checkpoint"):
        sys.exit("No run to report on yet: name a checkpoint by CKPT=path")
    checkpoint = Path(metrics["checkpoint"])
    if not checkpoint.exists():  # the run was moved, perhaps with all of the checkout
        checkpoint = ended[-1].parent / "checkpoints" / checkpoint.name
    return checkpoint, metrics


def run_of(checkpoint: Path) -> dict[str, Any]:
    """Read the metrics of a checkpoint's run, also for a model file beside it."""
    folder = checkpoint.absolute().parent
    return metrics_of(folder) or metrics_of(folder.parent)


def words(arguments: list[str], checkpoint: str = "") -> list[str]:
    """Return the arguments of src/eval.py.

    Args:
        arguments: the user's overrides; one that names data is kept.
        checkpoint: its path; empty: that of the newest run.
    """
    if checkpoint:
        path = Path(checkpoint)
        metrics = run_of(path)
    else:
        path, metrics = newest_run(ROOT / "logs" / "train" / "runs")
    said = [f"ckpt_path={path}"]
    data = metrics.get("data_dir")
    # src/eval.py looks by name for data that are no longer there.
    if data and Path(data).is_dir() and not any(word.startswith(OWN_DATA) for word in arguments):
        said.append(f"data.data_dir={data}")
    return [*said, *arguments]


def main() -> None:
    """Replace this process by src/eval.py."""
    given = words(sys.argv[1:], os.environ.get("CKPT", ""))
    os.execv(sys.executable, [sys.executable, str(ROOT / "src" / "eval.py"), *given])


if __name__ == "__main__":
    main()
