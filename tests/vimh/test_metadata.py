"""The JSON: what is read, what is refused and which key is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from src.vimh.errors import VIMHError
from src.vimh.metadata import (
    Metadata,
    default_channel_labels,
)
from tests.vimh.conftest import MAPPINGS, make_json

REMOVE = object()


def test_needed_keys_are_enough() -> None:
    metadata = Metadata.from_json(make_json(3))
    assert metadata.image_shape == (3, 4, 5)
    assert metadata.image_size == "4x5x3"
    assert metadata.channel_labels == ("R", "G", "B")
    assert metadata.parameters.names == ("note_velocity", "log10_decay_time")
    assert metadata.parameter_ids == (0, 1)
    assert metadata.has_scale_factors is None
    assert (metadata.train_samples, metadata.sample_rate, metadata.recipe) == (None, None, None)


def test_all_keys() -> None:
    info = make_json(
        format="VIMH",
        version="2.1",
        dataset_name="x",
        channel_labels=["a"],
        train_samples=3,
        test_samples=1,
        sample_rate=8000,
        duration=1,
        synth_type="simple",
        spectrogram_config={"hop_length": 80},
        mel_config={"freq_min": 20},
        label_encoding={"metadata_bytes": 14},
        checksums={"train": "00"},
        recipe={"seed": 1},
        favourite_colour="blue",
    )
    metadata = Metadata.from_json(info)
    assert metadata.hop_s == pytest.approx(0.01)
    assert metadata.has_scale_factors is True
    assert metadata.raw["favourite_colour"] == "blue"
    assert metadata.to_json() == info | {"sample_rate": 8000.0, "duration": 1.0}
    assert Metadata.from_json(metadata.to_json()) == Metadata.from_json(info)


@pytest.mark.parametrize(
    ("value", "expected"), [(14, True), (6, False), (15, None), (None, None), ("14", None)]
)
def test_metadata_bytes(value: Any, expected: bool | None) -> None:
    info = make_json(version="2.1", label_encoding={"metadata_bytes": value})
    assert Metadata.from_json(info).has_scale_factors is expected


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("height", REMOVE, "key 'height' is missing"),
        ("width", REMOVE, "key 'width' is missing"),
        ("channels", REMOVE, "key 'channels' is missing"),
        ("parameter_names", REMOVE, "key 'parameter_names' is missing"),
        ("parameter_mappings", REMOVE, "key 'parameter_mappings' is missing"),
        ("height", 0, "key 'height' must be a whole number from 1 to 65535, found 0"),
        ("width", 65536, "key 'width'"),
        ("channels", "3", "key 'channels'"),
        ("height", 4.0, "key 'height'"),
        ("height", True, "key 'height'"),
        ("format", "CIFAR", "key 'format' must be 'VIMH', found 'CIFAR'"),
        ("parameter_names", ["a", "a"], "key 'parameter_names'"),
        ("parameter_names", "ab", "key 'parameter_names'"),
        ("parameter_names", ["unknown"], "no entry for parameter 'unknown'"),
        ("parameter_names", [f"p{i}" for i in range(256)], "at most 255"),
        ("parameter_mappings", [], "key 'parameter_mappings' must be an object"),
        ("channel_labels", ["a", "b"], "key 'channel_labels' must hold 1 labels"),
        ("channel_labels", [1], "key 'channel_labels'"),
        ("train_samples", -1, "key 'train_samples'"),
        ("test_samples", 1.5, "key 'test_samples'"),
        ("sample_rate", float("nan"), "key 'sample_rate'"),
        ("sample_rate", 0, "key 'sample_rate'"),
        ("duration", 10**400, "key 'duration'"),
        ("synth_type", 3, "key 'synth_type'"),
        ("spectrogram_config", [], "key 'spectrogram_config'"),
        ("label_encoding", 14, "key 'label_encoding'"),
        ("checksums", "ab", "key 'checksums'"),
        ("image_size", "5x4x1", "Dimension mismatch.*'image_size' says 5x4x1.* say 4x5x1"),
    ],
)
def test_wrong_keys_are_named(key: str, value: Any, message: str) -> None:
    info = make_json(**{key: value})
    if value is REMOVE:
        del info[key]
    with pytest.raises(VIMHError, match=f"the file.*{message}"):
        Metadata.from_json(info, "the file")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min": 5.0}, "'min' must not exceed 'max'"),
        ({"min": float("nan")}, "'min' must be finite"),
        ({"step": -0.1}, "'step' must not be negative"),
        ({"max": None}, "'max' must be a number"),
    ],
)
def test_wrong_mappings_are_named(change: dict, message: str, tmp_path: Path) -> None:
    info = make_json()
    info["parameter_mappings"]["log10_decay_time"].update(change)
    (tmp_path / "vimh_dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(VIMHError, match=f"info.json.*'log10_decay_time'.*{message}"):
        Metadata.load(tmp_path)


def test_file_that_is_missing_or_no_json(tmp_path: Path) -> None:
    with pytest.raises(VIMHError, match=r"vimh_dataset_info.json: the metadata file is missing"):
        Metadata.load(tmp_path)
    file = tmp_path / "vimh_dataset_info.json"
    for content in (b"", b"{", b"\xff\xfe", b"[" * 200_000, b'{"height": ' + b"1" * 5000 + b"}"):
        file.write_bytes(content)
        with pytest.raises(VIMHError, match="not valid JSON"):
            Metadata.load(tmp_path)
    file.write_text("[]")
    with pytest.raises(VIMHError, match="expected a JSON object"):
        Metadata.load(tmp_path)
    with file.open("wb") as sparse:
        sparse.truncate(2**40)
    with pytest.raises(VIMHError, match="expected at most 16777216 bytes, found 1099511627776"):
        Metadata.load(tmp_path)


def test_size_in_the_directory_name(tmp_path: Path) -> None:
    folder = tmp_path / "vimh-32x32x1_8000Hz_1p0s_72dss_simple_2p"
    folder.mkdir()
    (folder / "vimh_dataset_info.json").write_text(json.dumps(make_json()))
    with pytest.raises(VIMHError, match=r"Dimension mismatch.*name says 32x32x1.*says 4x5x1"):
        Metadata.load(folder)


def test_fixed_parameters_are_no_heads() -> None:
    info = make_json(fixed_parameters={"note_number": 43.35, "other": {"value": 1}})
    info["parameter_names"] = ["note_velocity", "still", "log10_decay_time"]
    info["parameter_mappings"]["still"] = {"min": 2.0, "max": 2.0}
    metadata = Metadata.from_json(info)
    assert metadata.parameters.names == ("note_velocity", "log10_decay_time")
    assert metadata.parameter_ids == (0, 2)
    assert metadata.fixed_parameters == {"note_number": 43.35, "other": 1.0, "still": 2.0}
    info["fixed_parameters"] = ["still"]
    assert Metadata.from_json(info).fixed_parameters == {"still": 2.0}
    info["fixed_parameters"] = {"note_number": "high"}
    with pytest.raises(VIMHError, match=r"fixed_parameters.note_number"):
        _ = Metadata.from_json(info).fixed_parameters


def test_ids_beyond_the_names() -> None:
    info = make_json(parameter_names=["note_velocity"])
    info["parameter_mappings"]["param_7"] = {"min": 0.0, "max": 1.0}
    metadata = Metadata.from_json(info)
    assert metadata.parameters.names == ("note_velocity", "param_7")
    assert metadata.parameter_ids == (0, 7)


def test_hop_needs_its_keys() -> None:
    with pytest.raises(VIMHError, match="'sample_rate' is needed"):
        _ = Metadata.from_json(make_json()).hop_s
    with pytest.raises(VIMHError, match=r"spectrogram_config.hop_length"):
        _ = Metadata.from_json(make_json(sample_rate=8000)).hop_s


def test_channel_labels() -> None:
    assert default_channel_labels(1) == ("Gray",)
    assert default_channel_labels(4) == ("R", "G", "B", "A")
    assert default_channel_labels(5) == ("Ch0", "Ch1", "Ch2", "Ch3", "Ch4")


def test_reading_does_not_share_the_json() -> None:
    info = make_json()
    metadata = Metadata.from_json(info)
    info["parameter_mappings"]["note_velocity"]["min"] = 0.0
    metadata.to_json()["parameter_mappings"]["note_velocity"]["min"] = 0.0
    assert metadata.raw["parameter_mappings"] == MAPPINGS
