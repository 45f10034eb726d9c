"""What every test shares: threads, seeds, the project's root, and configs composed once."""

import os

# Before torch is imported. Two xdist workers with one thread each beat two with a pool each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import rootutils
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, open_dict

# Sets PROJECT_ROOT, which configs/paths reads.
ROOT: Path = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

Compose = Callable[..., DictConfig]


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(1)
    # A shell starts what runs in the background with Ctrl-C ignored, and children inherit that.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before pytest takes out what -m does not want
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow all cases of a `sampled(n)` test but every n-th."""
    seen: Counter[str] = Counter()
    for item in items:
        mark = item.get_closest_marker("sampled")
        if mark is not None:
            test = item.nodeid.partition("[")[0]
            if seen[test] % mark.args[0]:
                item.add_marker(pytest.mark.slow)
            seen[test] += 1


@pytest.fixture(scope="session")
def project_root() -> Path:
    return ROOT


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from the same random states, so that its order does not matter."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - libraries may draw from the old global state
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _clean_hydra() -> Iterator[None]:
    """A test that leaves Hydra initialised would break the next one that composes."""
    yield
    GlobalHydra.instance().clear()


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for data sets that all tests of a session share; made under a lock, read only."""
    base = tmp_path_factory.getbasetemp()
    # An xdist worker has a folder of its own in the session's.
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "data-vimh"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def _composed() -> dict[tuple[str, ...], DictConfig]:
    return {}


@pytest.fixture
def compose_config(
    _composed: dict[tuple[str, ...], DictConfig], tmp_path: Path, data_root: Path
) -> Compose:
    """`compose_config("train", "experiment=…", …)`: composed once a session, a copy for each test.

    What a run writes goes to the test's tmp_path, and data sets to `data_root`: nothing of a test
    lands in the checkout.
    """

    def composed(name: str, *overrides: str) -> DictConfig:
        key = (name, *overrides)
        if key not in _composed:
            with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "configs")):
                _composed[key] = compose(name, list(overrides), return_hydra_config=False)
        cfg = deepcopy(_composed[key])
        if "paths" in cfg:
            with open_dict(cfg):
                cfg.paths.root_dir = str(ROOT)
                cfg.paths.work_dir = str(ROOT)
                cfg.paths.vimh_dir = str(data_root)
                cfg.paths.output_dir = str(tmp_path)
                cfg.paths.log_dir = str(tmp_path)
        return cfg

    return composed
