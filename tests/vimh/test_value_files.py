"""Version 2.2: exact values and groups beside the records."""

import hashlib
import json
import math
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuffle_vimh_dataset import shuffle_dataset
from src.vimh.convert import to_binary
from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata
from src.vimh.parameters import Parameter, ParameterSpace
from src.vimh.records import DatasetWriter, Records, check_dataset, open_dataset
from src.vimh.value_files import check_exact
from tests.fuzzing import FUZZ, FUZZ_FEW, damaged, damages
from tests.vimh.conftest import make_json, make_samples, pack_records

PARAMETERS = Metadata.from_json(make_json()).parameters
INFO = "vimh_dataset_info.json"


def exact_samples(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Samples of any values in their ranges, as the writer takes them."""
    u = np.random.default_rng(seed).random((count, len(PARAMETERS)))
    parameters = list(PARAMETERS.values())
    values = np.stack([p.denormalise(u[:, k]) for k, p in enumerate(parameters)], axis=1)
    labels = np.stack([p.quantise(values[:, k]) for k, p in enumerate(parameters)], axis=1)
    images, _, scale_factors = make_samples(count)
    return {"images": images, "labels": labels, "scale_factors": scale_factors, "values": values}


def write_exact(folder: Path, **options: Any) -> Path:
    """Write a set of 8 + 3 samples with values and groups."""
    with DatasetWriter(folder, make_json(), values=True, groups=True, **options) as writer:
        writer.write("train", **exact_samples(8), groups=np.arange(8, dtype=np.uint32) // 2)
        writer.write("test", **exact_samples(3, seed=1), groups=np.array([7, 7, 9], np.uint32))
    return folder


@pytest.fixture
def exact_dataset(tmp_path: Path) -> Path:
    """The set of `write_exact`, as binary and as pickle."""
    return write_exact(tmp_path / "exact", output_format="both")


def test_the_files_are_those_of_the_specification(exact_dataset: Path) -> None:
    samples, info = exact_samples(8), json.loads((exact_dataset / INFO).read_text())
    numbers = samples["values"].astype(np.float32).ravel().tolist()
    expected = struct.pack(f"<{len(numbers)}f", *numbers)
    assert (exact_dataset / "train_values").read_bytes() == expected
    assert (exact_dataset / "test_groups").read_bytes() == struct.pack("<3I", 7, 7, 9)
    assert info["version"] == "2.2"
    assert info["label_encoding"]["values"] == "float32"
    assert info["label_encoding"]["groups"] == "uint32"
    assert info["checksums"]["train_values"] == hashlib.sha256(expected).hexdigest()
    names = [path.name for path in exact_dataset.iterdir() if path.name != INFO]
    assert sorted(info["checksums"]) == sorted(names)
    assert len(names) == 8
    assert all("exact" not in mapping for mapping in info["parameter_mappings"].values())


def test_a_reader_of_older_versions_reads_the_records(exact_dataset: Path) -> None:
    """Parsed record by record, by the keys of version 2.1 alone."""
    samples, info = exact_samples(8), json.loads((exact_dataset / INFO).read_text())
    assert info["label_encoding"]["metadata_bytes"] == 14
    data, offset = (exact_dataset / "train").read_bytes(), 0
    for k in range(info["train_samples"]):
        height, width, channels, low, high, count = struct.unpack_from("<HHHffB", data, offset)
        assert (low, high) == tuple(samples["scale_factors"][k])
        offset += 15
        for place in range(count):
            parameter_id, q = data[offset + 2 * place : offset + 2 * place + 2]
            name = info["parameter_names"][parameter_id]
            low, high = (info["parameter_mappings"][name][key] for key in ("min", "max"))
            away = abs(low + q / 255 * (high - low) - samples["values"][k, place])
            assert away <= 0.5 * (high - low) / 255 * (1 + 1e-9)
        offset += 2 * count
        size = height * width * channels
        assert data[offset : offset + size] == samples["images"][k].tobytes()
        offset += size
    assert offset == len(data)


def test_values_are_read_in_units(exact_dataset: Path) -> None:
    samples = exact_samples(8)
    for records in (
        open_dataset(exact_dataset).train,
        check_dataset(exact_dataset).train,
        pickle.loads(pickle.dumps(open_dataset(exact_dataset).train)),
        Records.open(exact_dataset / "train_batch", Metadata.load(exact_dataset), check="full"),
    ):
        assert records.values is not None
        assert records.values.dtype == np.float32
        np.testing.assert_array_equal(records.values, samples["values"].astype(np.float32))
        np.testing.assert_array_equal(records.groups, [0, 0, 1, 1, 2, 2, 3, 3])
        some = np.array([5, 0, 5])
        np.testing.assert_array_equal(records.values_at(some), records.values[some])
        np.testing.assert_array_equal(records.gather(some)[1], samples["labels"][some])
        images, values, _ = records.gather_targets(some)
        assert values.dtype == np.float32
        np.testing.assert_array_equal(images, samples["images"][some])
        for k, p in enumerate(PARAMETERS.values()):
            x = p.normalise(samples["values"][some, k])
            np.testing.assert_allclose(values[:, k], x, rtol=0, atol=2**-22 * abs(p.max))
        assert all(p.exact for p in records.metadata.parameters.values())
        carried = Metadata.from_json(records.metadata.to_json())  # as a checkpoint has it
        assert all(p.exact for p in carried.parameters.values())


def test_without_values_there_are_bytes(small_dataset: Path) -> None:
    records = open_dataset(small_dataset).train
    assert (records.values, records.groups) == (None, None)
    some = np.array([1, 3])
    labels = records.gather(some)[1]
    np.testing.assert_array_equal(records.gather_targets(some)[1], labels)
    for k, p in enumerate(records.metadata.parameters.values()):
        np.testing.assert_array_equal(records.values_at(some)[:, k], p.dequantise(labels[:, k]))
        assert not p.exact


def test_ids_in_another_order_and_fixed_parameters(write_by_hand: Callable[..., Path]) -> None:
    """A column for each parameter of a record, in the order of the ids, whatever the records'."""
    info = make_json(label_encoding={"metadata_bytes": 14, "values": "float32"})
    info["parameter_names"] = ["note_velocity", "pan", "log10_decay_time"]
    info["parameter_mappings"]["pan"] = {"min": 0.25, "max": 0.25}
    samples = exact_samples(4)
    velocity, decay = samples["labels"].T
    stored = np.stack([decay, np.zeros(4, np.uint8), velocity], axis=1)
    data = pack_records(samples["images"], stored, samples["scale_factors"], ids=(2, 1, 0))
    rows = np.insert(samples["values"], 1, 0.25, axis=1).astype("<f4")
    files = {"train": data, "test": b"", "train_values": rows.tobytes(), "test_values": b""}
    records = check_dataset(write_by_hand(info, **files)).train
    assert list(records.metadata.parameters) == ["note_velocity", "log10_decay_time"]
    np.testing.assert_array_equal(records.values, rows[:, [0, 2]])
    np.testing.assert_array_equal(records.values_at(np.array([3])), rows[[3]][:, [0, 2]])


def spoiled(folder: Path, name: str, sample: int, column: int, value: float) -> None:
    """Overwrite one number of a file of values, and forget its checksum."""
    rows = np.fromfile(folder / name, "<f4").reshape(-1, 2)
    rows[sample, column] = value
    rows.tofile(folder / name)
    info = json.loads((folder / INFO).read_text())
    del info["checksums"][name]
    (folder / INFO).write_text(json.dumps(info))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, r"train_values: sample 7: 'note_velocity': expected a finite value, found nan"),
        (math.inf, r"sample 7: 'note_velocity': expected a finite value, found inf \(byte \d+ "),
        (127.001, r"expected a value from 126 to 127, found 127.00\d+ \(byte \d+ in the record\)"),
        (125.999, r"sample 7: 'note_velocity': expected a value from 126 to 127, found 125.99"),
        (126.0, r"expected byte 0 for the value 126, found another \(byte \d+ in the record\)"),
    ],
)
def test_a_wrong_value_is_named(value: float, message: str, exact_dataset: Path) -> None:
    spoiled(exact_dataset, "train_values", 7, 0, value)
    for check in (open_dataset, check_dataset):  # the last sample is among those opening looks at
        with pytest.raises(VIMHError, match=message):
            check(exact_dataset)


def test_the_full_check_looks_at_every_value(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "x", make_json(), values=True) as writer:
        writer.write("train", **exact_samples(100))
    spoiled(tmp_path / "x", "train_values", 50, 1, 0.3)
    assert len(open_dataset(tmp_path / "x").train) == 100
    with pytest.raises(VIMHError, match=r"sample 50: 'log10_decay_time': expected byte 255 for"):
        check_dataset(tmp_path / "x")


def test_missing_and_cut_files_are_named(exact_dataset: Path) -> None:
    for name, kind, size in (("train_values", "float32", 64), ("test_groups", "uint32", 12)):
        path = exact_dataset / name
        content = path.read_bytes()
        path.write_bytes(content[:-1])
        message = f"{name}: expected {size} bytes.*label_encoding.*{kind}.*found {size - 1}"
        with pytest.raises(VIMHError, match=message):
            open_dataset(exact_dataset)
        path.unlink()
        with pytest.raises(VIMHError, match=f"{name}: there is no such file.*'{kind}'"):
            open_dataset(exact_dataset)
        path.write_bytes(content)
    path = exact_dataset / "train_groups"
    path.write_bytes(bytes(len(path.read_bytes())))
    assert len(open_dataset(exact_dataset).train) == 8
    with pytest.raises(VIMHError, match="train_groups: key 'checksums'"):
        check_dataset(exact_dataset)


@pytest.mark.parametrize("kind", ["values", "groups"])
@pytest.mark.parametrize("found", ["float64", 1, True, ["float32"], {}, ""])
def test_another_type_is_refused(kind: str, found: object) -> None:
    info = make_json(label_encoding={kind: found})
    with pytest.raises(VIMHError, match=rf"label_encoding.{kind}' must be '\w+'.*found"):
        Metadata.from_json(info)


def test_a_range_that_float32_does_not_resolve_is_refused(tmp_path: Path) -> None:
    for low, high in ((1e9, 1e9 + 10), (-1e150, 1e150), (0.0, 1e-43), (0.0, 1e39)):
        info = make_json()
        info["parameter_mappings"]["note_velocity"] = {"min": low, "max": high}
        with pytest.raises(VIMHError, match=r"'note_velocity': float32 has no 2048 values from"):
            DatasetWriter(tmp_path / "x", info, values=True)
        DatasetWriter(tmp_path / "x", info)


def test_the_writer_refuses_what_is_no_exact_value(tmp_path: Path) -> None:
    good = exact_samples(3)
    groups = np.zeros(3, np.uint32)
    with DatasetWriter(tmp_path / "x", make_json(), values=True, groups=True) as writer:
        for change, message in (
            ({"values": None}, "made with values=True, but samples come without values"),
            ({"groups": None}, "made with groups=True, but samples come without groups"),
            ({"values": good["values"] + 0.01}, r"sample 0: 'note_velocity': expected byte"),
            ({"values": good["values"] * math.inf}, r"sample 0: 'note_velocity': expected a fini"),
            ({"values": good["values"] * 1e300}, r"sample 0: 'note_velocity': expected a finite"),
        ):
            with pytest.raises(VIMHError, match=message):
                writer.write("train", **{**good, "groups": groups, **change})
        writer.write("train", **good, groups=groups)
    assert len(check_dataset(tmp_path / "x").train) == 3
    with (
        pytest.raises(VIMHError, match="made without values=True, but samples come with values"),
        DatasetWriter(tmp_path / "y", make_json()) as writer,
    ):
        writer.write("train", **good)


def test_a_categorical_value_is_its_class() -> None:
    space = ParameterSpace([Parameter("c", 0, 255, kind="categorical", class_names=("a", "b"))])
    labels, samples = np.array([[1]], np.uint8), np.array([4])
    check_exact("x", space, np.array([[1.0]]), labels, samples)
    with pytest.raises(VIMHError, match=r"x: sample 4: 'c': expected the class.*found 1.25 \(byte"):
        check_exact("x", space, np.array([[1.25]]), labels, samples)


@given(
    low=st.floats(-1e6, 1e6),
    width=st.floats(1e-3, 1e6),
    u=st.lists(st.floats(0, 1), min_size=1, max_size=20),
)
@FUZZ
def test_a_byte_is_accepted_for_every_drawn_value(low: float, width: float, u: list) -> None:
    """Rounding to float32 may cross the border between two bytes, or the end of the range."""
    if width < 4096 * 2**-23 * (abs(low) + width):
        return
    check_bytes(Parameter("p", low, low + width), u)
    low = abs(low) + 1e-3
    check_bytes(Parameter("p", low, low + width, spacing="log"), u)


def check_bytes(parameter: Parameter, u: list[float]) -> None:
    values = parameter.denormalise(np.array(u + [(k + 0.5) / 255 for k in range(255)]))[:, None]
    labels, samples = parameter.quantise(values), np.arange(len(values))
    space = ParameterSpace([parameter])
    check_exact("x", space, values.astype(np.float32), labels, samples)
    with pytest.raises(VIMHError, match="found another"):
        check_exact("x", space, values[:1].astype(np.float32), labels[:1] ^ 64, samples[:1])


def test_the_tolerance_of_exact_values_has_no_half_quantum() -> None:
    for low, high, step in ((126.0, 127.0, 0.5), (-2.0, 0.3, 0.1), (0.0, 20000.0, 3.0)):
        stored = Parameter("p", low, high, step)
        exact = Parameter("p", low, high, step, exact=True)
        assert exact == stored
        assert exact.to_json() == stored.to_json()
        quantum = (high - low) / 255
        assert stored.tolerance() - exact.tolerance() == pytest.approx(quantum / 2, rel=0.02)
        # An error of one step counts, whatever float32 makes of the value and of its share.
        values = np.arange(low, high, step)
        normalised = exact.normalise(values.astype(np.float32)).astype(np.float32)
        error = np.abs(exact.denormalise(normalised) - (values + step))
        assert (error <= exact.tolerance()).all()
        assert (error + 1e-3 * step + 2**-21 * abs(high) > exact.tolerance()).all()


def test_shuffling_and_converting_carry_what_lies_beside(exact_dataset: Path) -> None:
    before = check_dataset(exact_dataset)
    shuffle_dataset(exact_dataset, exact_dataset.with_name("shuffled"), seed=3)
    after = check_dataset(exact_dataset.with_name("shuffled"))
    assert after.metadata.raw["version"] == "2.2"
    seen = {}
    for records in (before.train, before.test):
        for k in range(len(records)):
            seen[records.images[k].tobytes()] = (records.values[k].tolist(), records.groups[k])
    for records in (after.train, after.test):
        for k in range(len(records)):
            values, group = seen.pop(records.images[k].tobytes())
            assert records.values[k].tolist() == values
            assert records.groups[k] == group
    assert not seen
    to_binary(exact_dataset, exact_dataset.with_name("again"))
    again = check_dataset(exact_dataset.with_name("again")).train
    np.testing.assert_array_equal(again.values, before.train.values)
    np.testing.assert_array_equal(again.groups, before.train.groups)


def test_pickles_alone_have_values_beside_them(tmp_path: Path) -> None:
    """The pickle itself holds bytes."""
    opened = check_dataset(write_exact(tmp_path / "x", output_format="pickle"))
    assert sorted(path.name for path in (tmp_path / "x").glob("train*")) == [
        "train_batch", "train_groups", "train_values",
    ]  # fmt: skip
    samples = exact_samples(8)
    np.testing.assert_array_equal(opened.train.values, samples["values"].astype(np.float32))
    held = pickle.loads((tmp_path / "x" / "train_batch").read_bytes())
    np.testing.assert_array_equal(np.array(held["vimh_labels"])[:, 2::2], samples["labels"])


@given(
    damage=damages,
    name=st.sampled_from(["train_values", "test_values", "train_groups", "train", INFO]),
)
@FUZZ
def test_damaged_files_give_one_kind_of_error(damage: tuple, name: str, tmp_path_factory) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged_values"
    if not folder.is_dir():
        write_exact(folder)
    original = (folder / name).read_bytes()
    changed = damaged(original, damage)
    (folder / name).write_bytes(changed)
    try:
        opened = open_dataset(folder, "full")
        assert name == INFO or changed == original
        assert opened.train.values is None or np.isfinite(opened.train.values).all()
    except VIMHError:
        assert changed != original
    finally:
        (folder / name).write_bytes(original)


@given(
    encoding=st.none() | st.floats() | st.text(max_size=3) | st.lists(st.booleans(), max_size=2),
    kind=st.sampled_from(["values", "groups"]),
)
@FUZZ_FEW
def test_any_label_encoding(encoding: object, kind: str) -> None:
    for value in (encoding, {kind: encoding}, {kind: encoding, "metadata_bytes": 14}):
        try:
            metadata = Metadata.from_json(make_json(label_encoding=value))
        except VIMHError:
            continue
        assert metadata.row_kinds == ()
