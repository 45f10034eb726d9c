"""``ckpt_path=last``: the newest run goes on where it is, with its own config.

``ckpt_path=`` and a run's folder: that run does.

Hydra makes a run's folder and writes ``.hydra`` into it before any code of ours runs. So two
resolvers, used in ``configs/hydra/train.yaml``, name the folder and the subfolder; this module is
imported before Hydra composes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from src.checkpoints.resume_trust import check_config, check_overrides, load_yaml, trust_of_user
from src.checkpoints.shared_run import forget_name, shared_name
from src.schema.arguments import check_value, shown
from src.schema.bounds import Name, Texts, TrustedModules
from src.utils.errors import ConfigError
from src.utils.pylogger import RankedLogger, rank_of_process
from src.utils.trust import KEY, PROGRAMS
from src.vimh.atomic import whole_file

log = RankedLogger(__name__, rank_zero_only=True)

LAST = "last"
CHECKPOINT = Path("checkpoints", "last.ckpt")
LOCK = ".lock"
HYDRA_DIR = ".hydra"
# What is in a run's folder before anything is made or trained, and its log file.
BEGINNINGS = (HYDRA_DIR, LOCK, "config_tree.log", "tags.log")


def newest_run(runs_dir: str | Path) -> Path | None:
    """Find the newest run that has a last checkpoint; their names begin with their times."""
    return max((path.parents[1] for path in Path(runs_dir).glob(f"*/{CHECKPOINT}")), default=None)


def goes_on(ckpt_path: str | None) -> bool:
    """Tell whether a run goes on in its own folder: for ``last``, and for the folder of a run."""
    return ckpt_path == LAST or (ckpt_path is not None and Path(ckpt_path, CHECKPOINT).is_file())


def run_dir(ckpt_path: str | None, runs_dir: str, fresh: str) -> str:
    """Return the folder of a run: that of the run that goes on, otherwise a new one."""
    # Where there is none to go on with, run_folder says so: a resolver's error is no sentence.
    if ckpt_path is not None and ckpt_path != LAST and goes_on(ckpt_path):
        return os.path.abspath(ckpt_path)
    found = newest_run(runs_dir) if ckpt_path == LAST else None
    return str(found or Path(runs_dir, shared_name(Path(runs_dir), fresh)))


def task_dir(log_dir: str, task_name: str) -> str:
    """Return the folder of a task's runs, ``logs/<task_name>``, before Hydra makes any folder.

    Raises:
        ConfigError: If one names no folder: the runs would lie at the root of the file system, or
            elsewhere.
    """
    if not isinstance(log_dir, str) or not log_dir.strip():
        raise ConfigError(f"paths.log_dir is {shown(log_dir)}; expected the name of a folder")
    check_value(Name, task_name, "task_name")
    return str(Path(log_dir, task_name))


def run_name(experiment: str | None, task_name: str) -> str:
    """Return what the name of a run's folder says beside the time.

    Example:
        >>> run_name("mine/quick", "train"), run_name(None, "train")
        ('mine_quick', 'train')
    """
    return str(experiment or task_name).replace("/", "_")


def hydra_subdir(run: str) -> str | None:
    """Return the subfolder for Hydra's files: ``.hydra``, or ``.hydra_2`` ... for a resumed run.

    None in all processes of a run but the first, which write no such files.
    """
    if rank_of_process() != 0:
        return None
    number = len(list(Path(run).glob(f"{HYDRA_DIR}*")))
    return f"{HYDRA_DIR}_{number + 1}" if number else HYDRA_DIR


# Cached: what is resolved once stays, also when the folders are there.
OmegaConf.register_new_resolver("run_dir", run_dir, use_cache=True, replace=True)
OmegaConf.register_new_resolver("task_dir", task_dir, replace=True)
OmegaConf.register_new_resolver("run_name", run_name, replace=True)
OmegaConf.register_new_resolver("hydra_subdir", hydra_subdir, use_cache=True, replace=True)


@contextmanager
def run_folder(cfg: DictConfig) -> Iterator[DictConfig]:
    """Lock the run's folder against other processes; restore the config of a run that goes on.

    Yields:
        The config to run: that of the run that goes on, with what the command line changes on
        top, and ``ckpt_path`` the file.

    Raises:
        ConfigError: If there is no run to go on with, or its process still lives.
    """
    folder = Path(cfg.paths.output_dir)
    ckpt_path = cfg.get("ckpt_path")
    resuming = goes_on(ckpt_path)
    if resuming and HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN:
        raise ConfigError(
            f"ckpt_path={ckpt_path} goes on with one run, a multirun has many: name a checkpoint"
        )
    if resuming and ckpt_path != LAST and os.path.abspath(ckpt_path) != str(folder):
        raise ConfigError(
            f"ckpt_path={ckpt_path} goes on in that run's folder: leave hydra.run.dir alone"
        )
    runs_dir = Path(cfg.paths.log_dir, cfg.task_name, "runs")
    if ckpt_path == LAST and newest_run(runs_dir) != folder:
        raise ConfigError(
            f"ckpt_path=last: no run in {runs_dir} has a {CHECKPOINT} (it is written after the "
            "first epoch with a validation). Start anew, or name a checkpoint's file; leave "
            "hydra.run.dir alone."
        )
    with _locked(folder):
        yield _resumed(folder) if resuming else cfg


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock the folder in the run's first process; the others belong to it."""
    if rank_of_process() != 0:
        yield
        return
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(
            f"ckpt_path: the run {folder} is still at work; wait for it, or name "
            "the checkpoint of another: ckpt_path=FILE starts a run of its own"
        ) from error
    try:
        with lock:
            yield
    finally:
        forget_name(folder.parent)


def remove_if_nothing_began(folder: Path, log_file: str) -> None:
    """Remove the folder of a run that ended before it made or trained anything.

    One with any other file than Hydra's and the log's is kept, and one that another process works
    in.
    """
    if not (folder / HYDRA_DIR).is_dir():
        return
    if {path.name for path in folder.iterdir()} - {*BEGINNINGS, log_file}:
        return
    try:
        with FileLock(folder / LOCK, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
    except Timeout:
        return


def _resumed(folder: Path) -> DictConfig:
    """Apply the command line's changes to the config of the folder's run, and save it there."""
    hydra = HydraConfig.get()
    cfg, overrides = resumed_config(
        str(hydra.job.config_name), _newest_hydra_dir(folder), list(hydra.overrides.task)
    )
    OmegaConf.set_struct(cfg, True)
    with open_dict(cfg):
        cfg.ckpt_path = str(folder / CHECKPOINT)
    log.info("Going on with %s", folder)
    if hydra.output_subdir is None:  # the run's first process writes
        return cfg
    new_dir = folder / hydra.output_subdir
    # The overrides last: their being ours says that the config is.
    for content, file_name in ((cfg, "config.yaml"), (overrides, "overrides.yaml")):
        with whole_file(new_dir / file_name) as temporary:
            OmegaConf.save(content, temporary)
    return cfg


def resumed_config(name: str, saved_dir: Path, said_now: list[str]) -> tuple[DictConfig, list[str]]:
    """Apply what the present command line changes to the config of an earlier run.

    Returns:
        The config, and the overrides of both command lines.

    Raises:
        ConfigError: If the files are not as Hydra wrote them, or name a class or a value from
            elsewhere that neither the user's configs nor the present command line name or trust.
    """
    said = _overrides_in(saved_dir)
    check_overrides(said, saved_dir)
    now = [line for line in said_now if not line.startswith("ckpt_path=")]
    both = merge_overrides(said, now)
    # What the command line changes is the difference between composing without and with it. So
    # the run keeps its config even where the files of the groups have been edited since.
    mine = compose(name, now)
    without, with_it, own = (
        OmegaConf.to_container(cfg) for cfg in (compose(name, said), compose(name, both), mine)
    )
    assert isinstance(without, dict)
    assert isinstance(with_it, dict)
    saved = load_yaml(saved_dir / "config.yaml")
    if not isinstance(saved, dict):
        raise ConfigError(f"{saved_dir}/config.yaml is {shown(saved)}; expected a mapping")
    changed = apply_changes(saved, without, with_it)
    modules = check_value(TrustedModules, _plain_list(OmegaConf.select(mine, KEY)), KEY)
    programs = check_value(Texts, _plain_list(OmegaConf.select(mine, PROGRAMS)), PROGRAMS)
    check_config(changed, with_it, trust_of_user(own, modules, programs), saved_dir)
    # What the run's folder trusts does not count.
    extras = changed.get("extras")
    trusted = {"trusted_modules": modules, "trusted_programs": programs}
    changed["extras"] = {**(extras if isinstance(extras, dict) else {}), **trusted}
    return OmegaConf.create(changed), both


def _plain_list(node: object) -> object:
    return OmegaConf.to_container(node) if isinstance(node, ListConfig) else node or []


def _newest_hydra_dir(folder: Path) -> Path:
    """Find the last of ``.hydra``, ``.hydra_2`` ... with the config of a process that ran.

    Hydra writes the command line alone there before it is known whether the run can go on.
    """
    found = [
        path.parent
        for path in folder.glob(f"{HYDRA_DIR}*/overrides.yaml")
        if path.stat().st_size  # another process of this run may be writing it
        and not any(_names_the_run(line, folder) for line in _overrides_in(path.parent))
    ]
    if not found:
        raise ConfigError(
            f"ckpt_path=last: {folder} has no {HYDRA_DIR} that says its config; name the "
            "checkpoint's file and give the config anew"
        )
    return max(found, key=lambda path: (len(path.name), path.name))


def _names_the_run(override: str, folder: Path) -> bool:
    """Tell whether an override is the ``ckpt_path`` that resumes the run in the folder."""
    key, _, value = override.lstrip("+").partition("=")
    name = Path(value.strip("'\"")).name
    return key == "ckpt_path" and name in (LAST, folder.name)


def _overrides_in(hydra_dir: Path) -> list[str]:
    lines = load_yaml(hydra_dir / "overrides.yaml")
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise ConfigError(f"{hydra_dir}/overrides.yaml is {shown(lines)}; expected a list of texts")
    return lines


def merge_overrides(said: list[str], now: list[str]) -> list[str]:
    """Join an earlier command line's overrides and new ones, which replace those of their keys.

    A new ``ckpt_path`` is left out: it says where to go on, not how.

    Example:
        >>> merge_overrides(["experiment=a", "+trainer.x=1"], ["++trainer.x=2", "ckpt_path=last"])
        ['experiment=a', '++trainer.x=2']
    """
    parser = OverridesParser.create()
    keys = {override.key_or_group for override in parser.parse_overrides(now)}
    earlier = zip(said, parser.parse_overrides(said), strict=True)
    kept = [line for line, override in earlier if override.key_or_group not in keys]
    return [*kept, *(line for line in now if not line.startswith("ckpt_path="))]


def apply_changes(
    saved: Mapping[Any, Any], without: Mapping[Any, Any], with_it: Mapping[Any, Any]
) -> dict[Any, Any]:
    """Apply the changes that lead from ``without`` to ``with_it`` to ``saved``.

    Example:
        >>> apply_changes({"a": 1, "b": 5, "c": 6}, {"a": 1, "b": 2, "c": 6}, {"a": 7, "b": 2})
        {'a': 7, 'b': 5}
    """
    result = {key: value for key, value in saved.items() if key in with_it or key not in without}
    for key, value in with_it.items():
        before = without.get(key)
        if key in without and before == value:
            continue
        nested = (saved.get(key), before, value)
        if all(isinstance(part, Mapping) for part in nested):
            value = apply_changes(*nested)  # type: ignore[arg-type]
        result[key] = value
    return result
