"""SIGKILL while generating, importing, shuffling, saving: the old thing or the new one, whole."""

import hashlib
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shuffle_vimh_dataset import shuffle_dataset
from src.checkpoints.checkpoint_io import AtomicCheckpointIO, load_checkpoint
from src.data.sources.digits import DigitsSource
from src.synth.generate import generate_dataset
from src.synth.recipe import Recipe
from src.vimh.atomic import clean_stale
from src.vimh.records import DatasetWriter, check_dataset
from tests.faults.driver import NUM_KILLS, SEED, draw_ending, faults, measure, run
from tests.vimh.conftest import make_json
from tests.vimh.test_value_files import exact_samples

pytestmark = faults


def content(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
    }


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".vimh-writing-")]


def try_kills(
    make: Callable[[], Any], target: Path, make_old: Callable[[], Any] | None = None
) -> None:
    """Kills `make` again and again; after each, `target` is absent, old or new, and whole.

    Args:
        make: makes the data set in `target`.
        target: the directory.
        make_old: makes the data set that is to be replaced; None: there is none.
    """

    def begin_anew() -> None:
        shutil.rmtree(target.parent, ignore_errors=True)
        target.parent.mkdir()
        if make_old is not None:
            make_old()

    begin_anew()
    states = [content(target) if target.exists() else None]
    duration_s, num_calls = measure(make)
    states.append(content(target))
    chance, killed = random.Random(SEED), 0
    while killed < NUM_KILLS:
        begin_anew()
        killed += not run(make, draw_ending(chance, duration_s, num_calls))
        found = content(target) if target.exists() else None
        assert found in states
        if found is not None:
            check_dataset(target)
        if found is None or make_old is not None:
            assert run(make)
        clean_stale(target.parent)  # as the next writer in this folder does
        assert content(target) == states[1]
        assert leftovers(target.parent) == []


@pytest.mark.parametrize("replacing", [False, True])
def test_generating(tmp_path: Path, compose_config: Any, replacing: bool) -> None:
    recipe = compose_config("generate_simple", "dataset.size=256", "generate.chunk_size=32")
    recipe.generate.output_dir = str(tmp_path / "data")
    old = recipe.copy()
    old.seed = 7
    try_kills(
        lambda: generate_dataset(recipe, progress=False, overwrite=replacing),
        Recipe.from_mapping(recipe).directory("."),
        (lambda: generate_dataset(old, progress=False)) if replacing else None,
    )


def test_importing(tmp_path: Path) -> None:
    source = DigitsSource(tmp_path / "data")
    source.read()  # imports scikit-learn before the forks
    try_kills(source.make, source.dataset_dir)


@pytest.mark.parametrize("replacing", [False, True])
def test_shuffling(tmp_path: Path, replacing: bool) -> None:
    def write(target: Path, count: int) -> None:
        groups = np.arange(count, dtype=np.uint32)
        options = {"output_format": "both", "values": True, "groups": True}
        with DatasetWriter(target, make_json(), **options) as writer:
            writer.write("train", **exact_samples(count), groups=groups)

    source, target = tmp_path / "source", tmp_path / "data" / "shuffled"
    write(source, 500)
    try_kills(
        lambda: shuffle_dataset(source, target, overwrite=replacing),
        target,
        (lambda: write(target, 5)) if replacing else None,
    )


def test_saving_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"

    def save() -> None:
        for number in range(20):
            content = {"number": number, "weights": torch.full((50_000,), float(number))}
            AtomicCheckpointIO().save_checkpoint(content, path)

    duration_s, num_calls = measure(save)
    chance, killed = random.Random(SEED), 0
    while killed < NUM_KILLS:
        shutil.rmtree(path.parent)
        killed += not run(save, draw_ending(chance, duration_s, num_calls))
        if path.exists():
            loaded = load_checkpoint(path)
            np.testing.assert_array_equal(loaded["weights"], loaded["number"])
        AtomicCheckpointIO().save_checkpoint({"number": -1}, path)
        assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]
