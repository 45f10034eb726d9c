"""What tests of whole runs share."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from omegaconf import DictConfig, open_dict

from tests.fakes import image_root, sound_root

SMALL = 96  # samples; enough for two batches of 32 in a 70/20/10 split


# Synthesisers that others wrote, and the package that each needs.
ENGINES = {"faust": "cyfaust", "vital": "vita", "dexed": "dexed", "plugin": "minihost"}


def load_example(name: str) -> ModuleType:
    """Imports a script of examples/ by its path there."""
    path = Path(__file__).parents[1] / "examples" / name
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def needs_engine(experiment: str) -> list[pytest.MarkDecorator]:
    """Marks of an experiment: left out where its synthesiser's package is not installed."""
    package = ENGINES.get(experiment.partition("_")[0])
    is_missing = package is not None and importlib.util.find_spec(package) is None
    return [pytest.mark.skipif(is_missing, reason=f"needs {package}")]


def shrink(cfg: DictConfig, data_root: Path) -> DictConfig:
    """Makes a composed training config small and quiet: few samples, one CPU, no bars.

    The data set is the config's own recipe with fewer samples (a grid stays as it is), or is
    imported from small files of the true format, or from a few sounds; the bundled digits are small
    as they are.
    """
    with open_dict(cfg):
        source = cfg.data.source
        if "recipe" in source:
            source.root = str(data_root)
            if not source.recipe.avix:
                source.recipe.dataset.size = SMALL
        elif "labels" in source:
            source.folder = str(sound_root(data_root))
            source.labels = f"{source.folder}/labels.csv"
            source.output_dir = str(data_root)
        else:
            source.vimh_dir = str(data_root)
            if "root" in source:
                source.root = str(image_root(data_root))
        cfg.data.batch_size = 32
        cfg.trainer.accelerator = "cpu"
        cfg.trainer.devices = 1
        cfg.trainer.check_val_every_n_epoch = 1
        cfg.trainer.enable_progress_bar = False
        cfg.trainer.enable_model_summary = False
        cfg.extras.print_config = False
        cfg.extras.enforce_tags = False
        cfg.calibrate = False  # tests of its own do
        cfg.export = False  # what checks shapes in tests would be traced into the program
        if cfg.callbacks is not None:  # a debug mode has none
            cfg.callbacks.pop("progress_bar", None)
            cfg.callbacks.pop("model_summary", None)
            if "prediction_plots" in cfg.callbacks:
                cfg.callbacks.prediction_plots.at_end = False
    return cfg
