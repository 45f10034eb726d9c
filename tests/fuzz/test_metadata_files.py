"""Data sets whose metadata says anything: opened, checked, drawn and shuffled, or one VIMHError."""

import copy
import json
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuffle_vimh_dataset import shuffle_dataset
from src.evaluation.presentation.dataset_picture import dataset_figure, dataset_table
from src.synth.images import ImageMaker
from src.synth.resynthesis import synthesizer_of
from src.vimh.errors import VIMHError
from src.vimh.metadata import METADATA_FILE
from src.vimh.records import DatasetWriter, check_dataset, open_dataset
from tests.fuzzing import FUZZ, FUZZ_FEW, json_values
from tests.vimh.conftest import make_json, make_samples

SOUND = make_json(
    format="VIMH",
    dataset_name="small",
    channel_labels=["Gray"],
    sample_rate=8000,
    duration=1.0,
    synth_type="simple",
    spectrogram_config={
        "sample_rate": 8000, "type": "mel", "n_fft": 64, "n_window": 64, "hop_length": 80,
        "window_type": "hann", "bins_per_harmonic": 1.0, "floor_db": -200.0, "floor_db_rel": None,
    },
    mel_config={"freq_min": 40.0, "freq_max_ratio": 0.9},
    pre_emphasis_coefficient=0.0,
    scale_range_db=[-80.0, 0.0],
    fixed_parameters={"note_number": {"value": 57.0, "min": 57.0}},
    recipe={"seed": 1, "synth": {"_target_": "src.synth.synthesizers.SimpleSawSynth"}},
    seed=1,
    image_size="4x5x1",
    label_encoding={"metadata_bytes": 14},
)  # fmt: skip


def places(node: Any, at: tuple = ()) -> list[tuple]:
    """The path to every value in a JSON, itself included."""
    found = [at]
    items = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for key, value in items:
        found += places(value, (*at, key))
    return found


def changed(info: Any, at: tuple, value: Any) -> Any:
    """The JSON with another value, or without it, at a path."""
    if not at:
        return value
    info = copy.deepcopy(info)
    node = info
    for key in at[:-1]:
        node = node[key]
    if value is REMOVED:
        del node[at[-1]]
    else:
        node[at[-1]] = value
    return info


def deep(depth: int) -> Any:
    node: Any = 0
    for _ in range(depth):
        node = [node]
    return node


REMOVED = object()
EXTREMES = [
    REMOVED, None, True, False, 0, -1, 1, 2, 5, 255, 65535, 65536, 2**31, 2**63, 10**400,
    -(10**400), 0.5, -0.0, 5e-324, 1e-300, 1e300, 1.7e308, math.nan, math.inf, -math.inf,
    "", "a", "$x", "$\\frac{", "\ud800", "\x00", "\x1b[2J", "\u202e", "a\nb", "n" * 255,
    "é" * 120, "../../x", "1" * 5000, "4x5x1", "1x1", [], {}, [[]], [1, 2], ["a", "a"], [None],
    {"": 0}, {"a": {"a": {}}}, {"\ud800": 1}, {"n" * 300: 1}, deep(40), deep(400),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("metadata") / "small"
    with DatasetWriter(folder, SOUND, output_format="both") as writer:
        writer.write("train", *make_samples(3))
        writer.write("test", *make_samples(2))
    return folder


def written(folder: Path) -> dict[str, Any]:
    """What the writer wrote, once."""
    kept = folder.parent / "original.json"
    if not kept.exists():
        kept.write_bytes((folder / METADATA_FILE).read_bytes())
    found: dict[str, Any] = json.loads(kept.read_bytes())
    return found


def use(folder: Path, *, draw: bool) -> None:
    """What reads a data set of somebody else's; with `draw` all of it."""
    opened = open_dataset(folder)
    metadata = opened.metadata
    _ = metadata.fixed_parameters, metadata.image_size, metadata.to_json(), str(metadata)
    for read in (ImageMaker.from_metadata, synthesizer_of):
        try:
            read(metadata)
        except VIMHError:
            continue
    dataset_table(opened, folder)
    if draw:
        check_dataset(folder)
        shuffle_dataset(folder, folder.parent / "shuffled", overwrite=True)
        figure = dataset_figure(opened)
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # a glyph is missing
            figure.savefig(folder.parent / "picture.png", dpi=20)


def attempt(folder: Path, info: Any, *, draw: bool = False) -> None:
    (folder / METADATA_FILE).write_text(json.dumps(info))
    said = ""
    try:
        use(folder, draw=draw)
    except VIMHError as error:
        said = str(error)
    assert len(said) < 3000


@pytest.mark.parametrize("value", EXTREMES, ids=range(len(EXTREMES)))
@pytest.mark.sampled(6)
def test_every_key_with_an_extreme(value: Any, folder: Path) -> None:
    original = written(folder)
    for at in places(original):
        if at or value is not REMOVED:
            attempt(folder, changed(original, at, value))


@pytest.mark.slow
@pytest.mark.parametrize("value", EXTREMES, ids=range(len(EXTREMES)))
def test_every_key_with_an_extreme_is_drawn(value: Any, folder: Path) -> None:
    original = written(folder)
    for at in places(original):
        if at or value is not REMOVED:
            attempt(folder, changed(original, at, value), draw=True)


@given(data=st.data())
@FUZZ
def test_any_change_of_the_json(data: st.DataObject, folder: Path) -> None:
    info = written(folder)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(places(info)[1:]))
        info = changed(info, at, data.draw(json_values | st.sampled_from(EXTREMES)))
        if not isinstance(info, dict) or not info:
            return
    attempt(folder, info)


@pytest.mark.slow
@given(data=st.data())
@FUZZ_FEW
def test_any_change_of_the_json_is_drawn(data: st.DataObject, folder: Path) -> None:
    info = written(folder)
    at = data.draw(st.sampled_from(places(info)[1:]))
    attempt(
        folder, changed(info, at, data.draw(json_values | st.sampled_from(EXTREMES))), draw=True
    )
