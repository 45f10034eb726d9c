"""The task that the tests sweep, in their own process or as a command line."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import hydra
import rootutils
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)


def task(cfg: DictConfig) -> Any:
    job = HydraConfig.get()
    number, folder = job.job.num, Path(job.sweep.dir)
    started = folder / "started.txt"
    with started.open("a") as file:
        file.write(f"{number} {os.getpid()}\n")
    while len({line.split()[1] for line in started.read_text().splitlines()}) < cfg.workers:
        time.sleep(0.05)
    time.sleep(3600 if cfg.hang_at == number else cfg.seconds)
    outcome = dict(item.split("-") for item in cfg.outcomes).get(str(number))
    if outcome == "raise":
        raise RuntimeError(f"job {number} raised\nwith a second line")
    if outcome == "prune":
        import optuna

        raise optuna.TrialPruned
    values = {"nan": float("nan"), "none": None, "text": "high", "two": (1.0, 2.0)}
    return cfg.x**2 if outcome is None else values[outcome]


main = hydra.main(
    version_base="1.3", config_path=str(Path(__file__).parent / "toy"), config_name="toy"
)(task)

if __name__ == "__main__":
    # Tests that run in a shell's background would hand down that Ctrl-C is to be ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
