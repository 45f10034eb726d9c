"""Runs as their folders hold them: what was asked for, what was measured, the curves."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev

from omegaconf import OmegaConf

from src.evaluation.scoring.intervals import CONFIDENCE, Estimate
from src.utils.errors import ConfigError

METRICS = "metrics.json"
CONFIG = Path(".hydra", "config.yaml")
OVERRIDES = Path(".hydra", "overrides.yaml")
SEED = "seed"
# Where a run lies, not what it is.
PLACES = ("paths", "hydra", "task_name", "tags", "extras", "logger")
# Of metrics.json: what can differ though the configs are the same.
FACTS = ("dataset", "num_weights", "commit", "versions")
OTHER_SAMPLES = ("(dataset)", "(test samples)", "data.seed", "data.train_val_test_split")
Curve = list[tuple[int, float]]


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        folder: Where it lies.
        settings: Its config, flat: values as text by their keys.
        result: Its ``metrics.json``; empty where it has not ended.
        experiment: The experiment's name; "" where there was none.
    """

    folder: Path
    settings: dict[str, str]
    result: dict[str, object]
    experiment: str

    @property
    def metrics(self) -> dict[str, float]:
        """Final values by logged name; NaN where one is not finite."""
        found = self.result.get("metrics")
        if not isinstance(found, Mapping):
            return {}
        return {name: math.nan if value is None else value for name, value in found.items()}

    @property
    def facts(self) -> dict[str, str]:
        """What the result says of data, network and code, as text."""
        ended, measured = self.result.get("ended"), self.result.get("num_measured")
        said = {f"({key})": self.result.get(key) for key in FACTS}
        if isinstance(measured, Mapping):
            said["(test samples)"] = measured.get("test")
        if isinstance(ended, Mapping):
            said |= {"(epochs)": ended.get("epochs"), "(ended by)": ended.get("reason")}
        return {key: _text(value) for key, value in said.items() if value is not None}

    @property
    def group(self) -> tuple[tuple[str, str], ...]:
        """The settings without the seed: runs that share them differ by chance alone."""
        return tuple(sorted((k, v) for k, v in self.settings.items() if k != SEED))

    @cached_property
    def curves(self) -> dict[str, Curve]:
        """Values over the optimiser's steps by logged name, of TensorBoard's files or the CSV."""
        return _event_curves(self.folder) or _csv_curves(self.folder)


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Read runs; the folder of a multirun stands for its jobs.

    Args:
        folders: ``logs/<task>/runs/<name>``, ``logs/<task>/multiruns/<time>`` and the like.

    Raises:
        ConfigError: If a folder holds no run, is named twice, or there are fewer than two runs.
    """
    runs = []
    for folder in folders:
        inside = [p.parents[1] for p in folder.glob(f"*/{OVERRIDES}")]
        inside.sort(key=lambda p: (p.name.zfill(12) if p.name.isdigit() else "", p.name))
        found = [folder] if (folder / CONFIG).is_file() else inside
        if not found:
            raise ConfigError(
                f"{folder}: expected the folder of a run, found no {CONFIG} in it; runs lie in "
                "logs/<task>/runs/<name>/, those of a multirun in logs/<task>/multiruns/<time>/"
            )
        runs += [read_run(path) for path in found]
    places = [run.folder.resolve() for run in runs]
    if twice := [place for place in places if places.count(place) > 1]:
        raise ConfigError(f"{twice[0]} is named twice; expected different runs")
    if len(runs) < 2:
        raise ConfigError(f"expected two runs or more to compare, found {len(runs)}")
    return runs


def newest_runs(runs: Path, count: int) -> list[Path]:
    """Return the runs in a folder that ended last, the oldest of them first.

    Raises:
        ConfigError: If there are fewer.
    """
    ended = sorted(runs.glob(f"*/{METRICS}"), key=lambda path: path.stat().st_mtime)
    if len(ended) < count:
        raise ConfigError(f"{runs}: expected {count} runs that have ended, found {len(ended)}")
    return [path.parent for path in ended[-count:]]


def differences(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Return the settings and facts that are not the same in all runs.

    Returns:
        By key the value of each run, "" where it has none. Facts of the results are in brackets.
    """
    ended = [run for run in runs if run.result]
    found = {}
    for told, said in ((runs, [r.settings for r in runs]), (ended, [r.facts for r in ended])):
        for key in dict.fromkeys(key for own in said for key in own):
            by_run = {run.folder: own.get(key, "") for run, own in zip(told, said, strict=True)}
            if len(set(by_run.values())) > 1:
                found[key] = [by_run.get(run.folder, "") for run in runs]
    return found


def groups_of(runs: Sequence[Run]) -> list[list[int]]:
    """Return the places of the runs that differ in their seed only, group by group."""
    found: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for place, run in enumerate(runs):
        found.setdefault(run.group, []).append(place)
    return list(found.values())


def mean_interval(values: Sequence[float]) -> Estimate:
    """Return the mean of independent runs with Student's interval of 95 %.

    ``m ± t(n − 1) · s / √n``; Student, "The probable error of a mean", Biometrika 6 (1908). A
    single value has no interval: NaN.

    Example:
        >>> mean, low, high = mean_interval([1.0, 2.0, 3.0])
        >>> round(mean, 3), round(low, 3), round(high, 3)
        (2.0, -0.484, 4.484)
    """
    from scipy.stats import t

    mean, count = fmean(values), len(values)
    if count < 2 or not all(map(math.isfinite, values)):
        return Estimate(mean, math.nan, math.nan)
    reach = float(t.ppf(0.5 + CONFIDENCE / 2, count - 1)) * stdev(values) / math.sqrt(count)
    return Estimate(mean, mean - reach, mean + reach)


def read_run(folder: Path) -> Run:
    """Read one run's folder, in which Hydra's files are.

    Raises:
        ConfigError: If its ``metrics.json`` is no JSON.
    """
    # Not resolved: nothing of another's config is looked up here.
    config = OmegaConf.to_container(OmegaConf.load(folder / CONFIG), resolve=False)
    assert isinstance(config, dict)
    overrides = [str(word) for word in OmegaConf.load(folder / OVERRIDES)]
    chosen = [word.partition("=")[2] for word in overrides if word.startswith("experiment=")]
    path = folder / METRICS
    try:
        result = json.loads(path.read_bytes()) if path.is_file() else {}
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON: {error}") from error
    own = {str(key): value for key, value in config.items() if key not in PLACES}
    experiment = chosen[-1] if chosen else ""
    return Run(folder, {"experiment": experiment, **_flat(own)}, result, experiment)


def _flat(config: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = _text(value)
    return found


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {own}" for key, own in value.items())
    return "null" if value is None else str(value)


def _event_curves(folder: Path) -> dict[str, Curve]:
    if not any(folder.glob("events.out.tfevents.*")):
        return {}
    from tensorboard.backend.event_processing import event_accumulator as events

    least = dict.fromkeys(events.DEFAULT_SIZE_GUIDANCE, 1)
    read = events.EventAccumulator(str(folder), {**least, events.SCALARS: 0}).Reload()
    return {
        tag: [(event.step, event.value) for event in read.Scalars(tag)]
        for tag in read.Tags()[events.SCALARS]
    }


def _csv_curves(folder: Path) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    for path in sorted(folder.glob("csv/version_*/metrics.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                step = int(row.pop("step"))
                for name, value in row.items():
                    if value:
                        curves.setdefault(name, []).append((step, float(value)))
    return curves
