"""Binary files: layouts, checks, gathering."""

import hashlib
import json
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from src.vimh.errors import VIMHError
from src.vimh.layout import record_dtype, sampled_indices
from src.vimh.metadata import Metadata
from src.vimh.records import DatasetWriter, Records, check_dataset, open_dataset
from tests.vimh.conftest import ROOT, make_json, make_samples, pack_records

Write = Callable[..., Path]
RECORD = 15 + 2 * 2 + 4 * 5  # bytes of one of our small records


def with_scale_factors(**more: object) -> dict:
    return make_json(label_encoding={"metadata_bytes": 14}, **more)


@pytest.mark.parametrize("metadata_bytes", [14, 6, None, 15])
@pytest.mark.parametrize("channels", [1, 3, 9])
def test_reads_every_version(
    metadata_bytes: int | None, channels: int, write_by_hand: Write
) -> None:
    scaled = metadata_bytes != 6
    train, test = make_samples(7, channels), make_samples(2, channels)
    folder = write_by_hand(
        make_json(channels, label_encoding={"metadata_bytes": metadata_bytes}),
        train=pack_records(*train[:2], train[2] if scaled else None),
        test=pack_records(*test[:2], test[2] if scaled else None),
    )
    opened = open_dataset(folder, check="full")
    for records, (images, labels, scale_factors) in ((opened.train, train), (opened.test, test)):
        expected = scale_factors if scaled else np.tile(np.float32([0, 255]), (len(images), 1))
        assert records.has_scale_factors is scaled
        np.testing.assert_array_equal(records.images, images)
        np.testing.assert_array_equal(records.labels, labels)
        np.testing.assert_array_equal(records.scale_factors, expected)
        order = np.array([1, 0, 1, len(images) - 1])
        got_images, got_labels, got_scale_factors = records.gather(order)
        np.testing.assert_array_equal(got_images, images[order])
        np.testing.assert_array_equal(got_labels, labels[order])
        np.testing.assert_array_equal(got_scale_factors, expected[order])
        for array in (got_images, got_labels, got_scale_factors):
            assert array.flags.c_contiguous
            assert array.flags.writeable
            assert array.dtype.isnative


def test_record_dtype_is_packed() -> None:
    dtype = record_dtype((3, 32, 32), 2, has_scale_factors=True)
    assert dtype.itemsize == 15 + 4 + 3072
    assert [dtype.fields[name][1] for name in dtype.names] == [0, 2, 4, 6, 14, 15, 19]
    old = record_dtype((3, 32, 32), 2, has_scale_factors=False)
    assert [old.fields[name][1] for name in old.names] == [0, 2, 4, 6, 7, 11]


def test_arrays_are_read_only(small_dataset: Path) -> None:
    records = open_dataset(small_dataset).train
    assert not records.images.flags.writeable
    assert not records.labels.flags.writeable
    assert records.images.strides[0] == RECORD  # views of the file, no copies


def test_ids_in_another_order(write_by_hand: Write) -> None:
    images, labels, scale_factors = make_samples(5)
    data = pack_records(images, labels, scale_factors, ids=(1, 0))
    records = open_dataset(write_by_hand(with_scale_factors(), train=data, test=data)).train
    np.testing.assert_array_equal(records.labels, labels[:, ::-1])
    np.testing.assert_array_equal(records.gather(np.arange(5))[1], labels[:, ::-1])


def test_id_beyond_the_names_and_fixed_parameters(write_by_hand: Write) -> None:
    info = with_scale_factors(parameter_names=["note_velocity", "still"])
    info["parameter_mappings"]["still"] = {"min": 1.0, "max": 1.0}
    info["parameter_mappings"]["param_9"] = {"min": 0.0, "max": 1.0}
    images, labels, scale_factors = make_samples(5, num_parameters=3)
    data = pack_records(images, labels, scale_factors, ids=(9, 1, 0))
    opened = open_dataset(write_by_hand(info, train=data, test=data))
    assert opened.metadata.parameters.names == ("note_velocity", "param_9")
    np.testing.assert_array_equal(opened.train.labels, labels[:, [2, 0]])
    np.testing.assert_array_equal(opened.train.gather(np.array([4]))[1], labels[4:, [2, 0]])


def test_both_layouts_fit(write_by_hand: Write) -> None:
    # Without scale factors N would be byte 6, here the low byte of spec_min: with N + 4 there, a
    # record without scale factors has the same size, and all its headers are equal.
    images, labels, scale_factors = make_samples(4)
    low_byte = struct.unpack("<f", bytes([6, 0, 0, 0xC1]))[0]
    scale_factors[:, 0] = low_byte
    data = pack_records(images, labels, scale_factors)
    folder = write_by_hand(make_json(), train=data, test=data)
    with pytest.raises(VIMHError, match=r"train: both of the record layouts fit.*metadata_bytes"):
        open_dataset(folder)
    # one record that differs decides, wherever it is
    scale_factors = np.tile(scale_factors[:1], (500, 1))
    scale_factors[123, 0] = -60.0
    many = make_samples(500)
    data = pack_records(many[0], many[1], scale_factors)
    assert open_dataset(write_by_hand(make_json(), "many", train=data, test=data)).train.layout.ids


def test_no_layout_fits(write_by_hand: Write) -> None:
    data = pack_records(*make_samples(4))[:-1]
    folder = write_by_hand(make_json(), train=data, test=data)
    with pytest.raises(VIMHError, match=rf"neither of the record layouts fit.*{len(data)} bytes"):
        open_dataset(folder)


def test_truncation_at_every_byte(write_by_hand: Write) -> None:
    whole = pack_records(*make_samples(2))
    for metadata_bytes in (14, None):
        info = make_json(label_encoding={"metadata_bytes": metadata_bytes})
        folder = write_by_hand(info, f"cut{metadata_bytes}", train=whole, test=whole)
        for length in range(1, len(whole)):
            (folder / "train").write_bytes(whole[:length])
            if length == RECORD:
                assert len(open_dataset(folder).train) == 1
                continue
            with pytest.raises(VIMHError, match="train"):
                open_dataset(folder)


def test_remainder_is_named(write_by_hand: Write) -> None:
    whole = pack_records(*make_samples(3))
    folder = write_by_hand(with_scale_factors(), train=whole[:-5], test=whole)
    found = rf"train: truncated.*{RECORD} bytes.*found {3 * RECORD - 5} bytes.*of {RECORD - 5} at"
    with pytest.raises(VIMHError, match=found):
        open_dataset(folder)


def damaged(sample: int, offset: int, value: int, count: int = 30) -> bytes:
    data = bytearray(pack_records(*make_samples(count)))
    data[sample * RECORD + offset] = value
    return bytes(data)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (0, 9, "Dimension mismatch.*says 9x5x1"),
        (2, 9, "Dimension mismatch.*says 4x9x1"),
        (5, 1, "Dimension mismatch.*says 4x5x257"),
        (14, 3, "N = 2.*found 3|N is 3|remainder"),
        (15, 1, "id"),
        (17, 200, "id"),
    ],
)
@pytest.mark.parametrize("sample", [0, 29, 17])
def test_header_that_differs(
    sample: int, offset: int, value: int, message: str, write_by_hand: Write
) -> None:
    data = damaged(sample, offset, value)
    folder = write_by_hand(with_scale_factors(), train=data, test=data)
    with pytest.raises(VIMHError, match=message) as error:
        open_dataset(folder, check="full")
    if sample:
        assert f"sample {sample} (byte {sample * RECORD})" in str(error.value)
    if sample in (0, 29):  # the first and the last are checked in any case
        with pytest.raises(VIMHError, match=message):
            open_dataset(folder, check="fast")


def test_fast_check_reads_a_fixed_number(write_by_hand: Write) -> None:
    data = damaged(1, 0, 9, count=500)  # not among the sampled
    folder = write_by_hand(with_scale_factors(), train=data, test=data)
    assert len(open_dataset(folder, check="fast").train) == 500
    with pytest.raises(VIMHError, match="sample 1 "):
        open_dataset(folder, check="full")


def test_image_size_of_json_and_records(write_by_hand: Write) -> None:
    data = pack_records(*make_samples(3, height=5, width=4))
    folder = write_by_hand(with_scale_factors(), train=data, test=data)
    with pytest.raises(VIMHError, match=r"Dimension mismatch.*record.*5x4x1.*json says 4x5x1"):
        open_dataset(folder)


def test_parameters_of_json_and_records(write_by_hand: Write) -> None:
    images, labels, scale_factors = make_samples(3)
    one = pack_records(images, labels[:, :1], scale_factors, ids=(0,))
    folder = write_by_hand(with_scale_factors(), "one", train=one, test=one)
    with pytest.raises(VIMHError, match=r"N = 1 .*also names \['log10_decay_time'\]"):
        open_dataset(folder)
    foreign = pack_records(images, labels, scale_factors, ids=(0, 5))
    folder = write_by_hand(with_scale_factors(), "foreign", train=foreign, test=foreign)
    with pytest.raises(VIMHError, match=r"parameter id 5 .'param_5'.*parameter_mappings"):
        open_dataset(folder)
    twice = pack_records(images, labels, scale_factors, ids=(0, 0))
    folder = write_by_hand(with_scale_factors(), "twice", train=twice, test=twice)
    with pytest.raises(VIMHError, match="id twice"):
        open_dataset(folder)


@pytest.mark.parametrize("split", ["train", "test"])
def test_sample_count_that_differs(split: str, write_by_hand: Write) -> None:
    data = pack_records(*make_samples(3))
    info = with_scale_factors(**{f"{split}_samples": 4})
    with pytest.raises(VIMHError, match=f"'{split}_samples'.*says 4, the file holds 3 samples"):
        open_dataset(write_by_hand(info, train=data, test=data))


def test_missing_files(write_by_hand: Write, tmp_path: Path) -> None:
    data = pack_records(*make_samples(3))
    with pytest.raises(VIMHError, match="expected a file test or test_batch"):
        open_dataset(write_by_hand(with_scale_factors(), train=data))
    with pytest.raises(VIMHError, match="no such data set directory"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(VIMHError, match="there is no such file"):
        Records.open(tmp_path / "train", Metadata.load(tmp_path / "by_hand"))


def test_empty_file_is_no_samples(write_by_hand: Write) -> None:
    data = pack_records(*make_samples(3))
    records = open_dataset(write_by_hand(with_scale_factors(), train=data, test=b""), "full").test
    assert len(records) == 0
    assert records.images.shape == (0, 1, 4, 5)
    images, labels, scale_factors = records.gather(np.array([], dtype=np.int64))
    assert (images.shape, labels.shape, scale_factors.shape) == ((0, 1, 4, 5), (0, 2), (0, 2))
    with pytest.raises(IndexError):
        records.gather(np.array([0]))


def test_absurd_sizes_allocate_nothing(write_by_hand: Write) -> None:
    info = with_scale_factors() | {"height": 65535, "width": 65535, "channels": 65535}
    header = struct.pack("<HHHff", 65535, 65535, 65535, 0, 1) + bytes([2, 0, 9, 1, 9])
    folder = write_by_hand(info, train=header + bytes(100), test=b"")
    with pytest.raises(VIMHError, match="truncated or corrupt: expected whole records of 28146"):
        open_dataset(folder)
    with (folder / "train").open("r+b") as file:  # a file that is as large as its header says
        file.truncate(19 + 65535 * 65535)
    info = info | {"channels": 1}
    (folder / "vimh_dataset_info.json").write_text(json.dumps(info))
    with (folder / "train").open("r+b") as file:
        file.write(struct.pack("<HHH", 65535, 65535, 1))
    with pytest.raises(VIMHError, match=r"a record of 4294836244 bytes .* is larger than"):
        open_dataset(folder)


def test_more_than_4_gib(write_by_hand: Write) -> None:
    """Sample numbers and offsets beyond 2^32, in a sparse file."""
    info = with_scale_factors(height=1024, width=1024)
    size = 19 + 1024 * 1024
    count = 2**32 // size + 100
    folder = write_by_hand(info, train=b"", test=b"")
    header = struct.pack("<HHHff", 1024, 1024, 1, -80, 0) + bytes([2, 0, 7, 1, 9])

    with (folder / "train").open("r+b") as file:
        file.truncate(count * size)
        for index in sampled_indices(count):
            file.seek(index * size)
            file.write(header)
        file.seek((count - 1) * size + 19)
        file.write(b"\x05\x06")
    records = open_dataset(folder).train
    assert len(records) == count
    images, labels, scale_factors = records.gather(np.array([count - 1, 0]))
    assert images[:, 0, 0, :2].tolist() == [[5, 6], [0, 0]]
    assert labels.tolist() == [[7, 9], [7, 9]]
    assert scale_factors.tolist() == [[-80, 0], [-80, 0]]


def test_checksums(small_dataset: Path) -> None:
    check_dataset(small_dataset)
    for name in ("train", "test_batch"):
        path = small_dataset / name
        content = path.read_bytes()
        changed = bytearray(content)
        changed[-3 if name == "train" else len(content) // 2] ^= 1
        path.write_bytes(changed)
        open_dataset(small_dataset)
        with pytest.raises(VIMHError, match=rf"{name}: key 'checksums'.*says SHA-256"):
            check_dataset(small_dataset)
        path.write_bytes(content)


def test_full_check_finds_wrong_values(write_by_hand: Write) -> None:
    info = with_scale_factors(parameter_names=["digit"])
    names = [str(i) for i in range(10)]
    info["parameter_mappings"] = {
        "digit": {"min": 0, "max": 255, "kind": "categorical", "class_names": names}
    }
    images, labels, scale_factors = make_samples(40, num_parameters=1)
    labels %= 10
    good = pack_records(images, labels, scale_factors, ids=(0,))
    labels[33] = 10
    bad = pack_records(images, labels, scale_factors, ids=(0,))
    folder = write_by_hand(info, train=good, test=bad)
    with pytest.raises(VIMHError, match="test: sample 33: label 10 of 'digit', which has 10"):
        open_dataset(folder, "full")
    labels[33], scale_factors[7, 1] = 0, np.nan
    (folder / "test").write_bytes(pack_records(images, labels, scale_factors, ids=(0,)))
    with pytest.raises(VIMHError, match="test: sample 7: expected finite scale factors"):
        open_dataset(folder, "full")


def test_workers_get_the_path_only(small_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small_dataset.parent)
    records = open_dataset("small").train
    sent = pickle.dumps(records)
    assert len(sent) < 20_000
    monkeypatch.chdir("/")
    again = pickle.loads(sent)
    np.testing.assert_array_equal(again.images, records.images)
    assert again.path == records.path
    os.truncate(small_dataset / "train", 7 * RECORD)
    with pytest.raises(VIMHError, match="train_samples"):
        pickle.loads(sent)


def test_reading_changes_nothing(small_dataset: Path) -> None:
    def state() -> dict[str, tuple[str, int]]:
        return {
            path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
            for path in small_dataset.iterdir()
        }

    before = state()
    opened = check_dataset(small_dataset)
    images, _, _ = opened.train.gather(np.arange(8))
    images[:] = 0
    assert state() == before


def write_sparse(folder: Path, count: int) -> None:
    """`count` records of 32x32x3 with headers only where the fast check looks."""
    size = 19 + 3 * 32 * 32
    header = struct.pack("<HHHff", 32, 32, 3, -80, 0) + bytes([2, 0, 7, 1, 9])
    with (folder / "train").open("r+b") as file:
        file.truncate(count * size)
        for index in sampled_indices(count):
            file.seek(index * size)
            file.write(header)


def test_opening_reads_the_same_at_any_size(
    write_by_hand: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand samples and a million (3 GB): as many reads, of as many bytes."""
    pread, reads = os.pread, []

    def counting_pread(descriptor: int, length: int, offset: int) -> bytes:
        reads[-1].append(length)
        return pread(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", counting_pread)
    for count in (1_000, 1_000_000):
        info = make_json(3, 32, 32, label_encoding={"metadata_bytes": 14}, train_samples=count)
        folder = write_by_hand(info, f"n{count}", train=b"", test=b"")
        write_sparse(folder, count)
        reads.append([])
        records = open_dataset(folder).train
        assert len(records) == count
        assert records.gather(np.array([count - 1]))[1].tolist() == [[7, 9]]
    assert reads[0] == reads[1]
    assert sum(reads[0]) < 1_000


MEASURE = """
import resource, sys
import numpy as np
from src.vimh.records import open_dataset
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
open_dataset(sys.argv[1])
before = peak()
opened = open_dataset(sys.argv[2])
opened.train.gather(np.array([0, len(opened.train) - 1]))
after_opening = peak()
open_dataset(sys.argv[2], "full")
print(after_opening - before, peak() - before)
"""


@pytest.mark.slow
def test_memory_of_a_million_samples(tmp_path: Path) -> None:
    """1 GB that is really there: opening takes under 50 MB more than of 1,000, checking all too."""
    chunk = make_samples(1_000, 1, 32, 32)
    for count in (1_000, 1_000_000):
        with DatasetWriter(tmp_path / f"n{count}", make_json(1, 32, 32)) as writer:
            for _ in range(count // 1_000):
                writer.write("train", *chunk)
    folders = [str(tmp_path / name) for name in ("n1000", "n1000000")]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *folders],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    opening, checking = map(int, done.stdout.split())
    assert opening < 50_000
    assert checking < 150_000  # chunks of 16 MiB
