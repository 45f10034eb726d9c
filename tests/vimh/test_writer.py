"""Writing: what is written, and that it is written whole or not at all."""

import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from src.vimh import atomic
from src.vimh.convert import to_binary
from src.vimh.errors import VIMHError
from src.vimh.records import DatasetWriter, check_dataset, open_dataset
from src.vimh.writer import recipe_hash
from tests.vimh.conftest import ROOT, make_json, make_samples, pack_records


def write(folder: Path, count: int = 4, **arguments: object) -> None:
    with DatasetWriter(folder, make_json(), **arguments) as writer:
        writer.write("train", *make_samples(count))
        writer.write("test", *make_samples(2))


def interrupted(folder: Path) -> None:
    with DatasetWriter(folder, make_json(), overwrite=True) as writer:
        writer.write("train", *make_samples(5))
        raise KeyboardInterrupt


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_bytes_are_those_of_the_specification(small_dataset: Path) -> None:
    images, labels, scale_factors = make_samples(8)
    expected = pack_records(images, labels, scale_factors)
    assert (small_dataset / "train").read_bytes() == expected
    info = json.loads((small_dataset / "vimh_dataset_info.json").read_text())
    assert info["checksums"]["train"] == hashlib.sha256(expected).hexdigest()
    assert sorted(info["checksums"]) == ["test", "test_batch", "train", "train_batch"]
    assert info["label_encoding"]["metadata_bytes"] == 14
    wanted = {
        "format": "VIMH",
        "version": "2.1",
        "dataset_name": "small",
        "output_format": "both",
        "train_samples": 8,
        "test_samples": 3,
        "total_samples": 11,
        "n_samples": 11,
        "image_size": "4x5x1",
        "channel_labels": ["Gray"],
        "varying_parameters": 2,
    }
    assert {key: info[key] for key in wanted} == wanted


def test_chunks_make_no_difference(tmp_path: Path) -> None:
    images, labels, scale_factors = make_samples(9)
    for name, step in (("whole", 9), ("parts", 2)):
        with DatasetWriter(tmp_path / name, make_json(), output_format="both") as writer:
            for i in range(0, 9, step):
                part = slice(i, i + step)
                writer.write("train", images[part], labels[part], scale_factors[part])
    for name in listing(tmp_path / "whole"):
        whole, parts = ((tmp_path / folder / name).read_bytes() for folder in ("whole", "parts"))
        assert whole.replace(b"whole", b"") == parts.replace(b"parts", b""), name


def test_unknown_keys_and_recipe(tmp_path: Path) -> None:
    info = make_json(recipe={"seed": 1, "b": [1.5]}, favourite={"colour": "blue"}, version="1.0")
    with DatasetWriter(tmp_path / "x", info) as writer:
        writer.write("train", *make_samples(1))
    written = open_dataset(tmp_path / "x").metadata.raw
    assert written["favourite"] == {"colour": "blue"}
    assert written["recipe"] == info["recipe"]
    assert written["recipe_hash"] == recipe_hash({"b": [1.5], "seed": 1})
    assert written["version"] == "2.1"
    assert recipe_hash({"seed": 2}) != recipe_hash({"seed": 1})


def test_logarithmic_spacing_is_of_a_version_that_knows_it(tmp_path: Path) -> None:
    info = make_json()
    name = info["parameter_names"][0]
    info["parameter_mappings"][name] = {"min": 1.0, "max": 8.0, "step": 1.0, "spacing": "log"}
    with DatasetWriter(tmp_path / "x", info) as writer:
        writer.write("train", *make_samples(1))
    written = open_dataset(tmp_path / "x").metadata
    assert written.raw["version"] == "2.2"
    assert written.parameters[name].value_of_class([0, 1, 2, 3]).round(9).tolist() == [1, 2, 4, 8]


def test_without_scale_factors(tmp_path: Path) -> None:
    images, labels, _ = make_samples(3)
    with DatasetWriter(tmp_path / "x", make_json()) as writer:
        writer.write("train", images, labels)
    assert (open_dataset(tmp_path / "x").train.scale_factors == [[0, 255]]).all()


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (make_json(height=0), "key 'height'"),
        (make_json(extra=float("nan")), "plain JSON"),
        (make_json(extra=np.float32(1)), "plain JSON"),
        (make_json(3, 65535, 65535), "is larger than"),
    ],
)
def test_wrong_metadata_is_refused_before_writing(info: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(VIMHError, match=message):
        DatasetWriter(tmp_path / "x", info)
    assert listing(tmp_path) == []


def test_wrong_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VIMHError, match="Dimension mismatch"):
        DatasetWriter(tmp_path / "vimh-9x9x1_x", make_json())


def test_wrong_samples_are_refused(tmp_path: Path) -> None:
    images, labels, scale_factors = make_samples(3)
    bad_scale = np.array([[0, 1], [np.inf, 1], [0, 1]], dtype=np.float32)
    for samples, message in (
        ((images[:, :, :3], labels, scale_factors), r"images of train.*\(3, 1, 4, 5\)"),
        ((images, labels[:, :1], scale_factors), "labels of train"),
        ((images, labels, bad_scale), "train: sample 1: expected finite"),
    ):
        with (
            pytest.raises(VIMHError, match=message),
            DatasetWriter(tmp_path / "x", make_json()) as writer,
        ):
            writer.write("train", *samples)
    with pytest.raises(VIMHError, match="no samples"), DatasetWriter(tmp_path / "x", make_json()):
        pass
    assert listing(tmp_path) == []


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    write(folder)
    before = (folder / "train").read_bytes()
    with pytest.raises(VIMHError, match="is already there; set overwrite=true"):
        write(folder, 5)
    with pytest.raises(KeyboardInterrupt):
        interrupted(folder)
    assert (folder / "train").read_bytes() == before
    assert listing(tmp_path) == ["x"]
    write(folder, 5, overwrite=True)
    assert len(check_dataset(folder).train) == 5
    assert listing(tmp_path) == ["x"]


def test_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("x")
    for name in ("home", "file"):
        with pytest.raises(VIMHError, match="is no data set"):
            write(tmp_path / name, overwrite=True)
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty")
    assert len(open_dataset(tmp_path / "empty").train) == 4


def test_link_to_a_data_set_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    write(tmp_path / "disk" / "x")
    (tmp_path / "x").symlink_to(tmp_path / "disk" / "x")
    write(tmp_path / "x", 5, overwrite=True)
    assert (tmp_path / "x").is_symlink()
    assert len(open_dataset(tmp_path / "disk" / "x").train) == 5
    assert listing(tmp_path / "disk") == ["x"]


def test_appearing_in_the_meantime(tmp_path: Path) -> None:
    def write_twice() -> None:
        with DatasetWriter(tmp_path / "x", make_json()) as writer:
            writer.write("train", *make_samples(5))
            write(tmp_path / "x", 3)

    with pytest.raises(VIMHError, match="is already there"):
        write_twice()
    assert len(check_dataset(tmp_path / "x").train) == 3
    assert listing(tmp_path) == ["x"]


def test_replacing_without_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "_exchange", lambda first, second: False)
    write(tmp_path / "x")
    write(tmp_path / "x", 5, overwrite=True)
    assert len(check_dataset(tmp_path / "x").train) == 5
    assert listing(tmp_path) == ["x"]


def test_replacing_that_fails_puts_the_old_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "x")
    rename = Path.rename

    def fail_at_the_second(self: Path, target: Path) -> Path:
        if target == tmp_path / "x" and self.parent.name.startswith(".vimh-writing"):
            raise OSError("no space")
        return rename(self, target)

    monkeypatch.setattr(atomic, "_exchange", lambda first, second: False)
    monkeypatch.setattr(Path, "rename", fail_at_the_second)
    with pytest.raises(VIMHError, match=r"no space; .*MB are free"):
        write(tmp_path / "x", 5, overwrite=True)
    assert len(check_dataset(tmp_path / "x").train) == 4
    assert listing(tmp_path) == ["x"]


KILLED = """
import os, signal, sys
from pathlib import Path
from src.vimh import atomic
from tests.vimh.test_writer import write
where, folder = sys.argv[1], Path(sys.argv[2])
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def no_exchange(*_):
    return False
if where == "samples":
    write.__globals__["make_samples"] = lambda count: die()
elif where == "before rename":
    atomic.sync = die
elif where == "after exchange":
    atomic.AtomicDirectory.discard = die
elif where == "between renames":
    atomic._exchange = no_exchange
    rename = Path.rename
    Path.rename = lambda self, target: die() if target == folder else rename(self, target)
write(folder, 7, overwrite=True, output_format="both")
"""


@pytest.mark.parametrize("where", ["samples", "before rename", "after exchange", "between renames"])
def test_killed_at_any_moment(where: str, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    write(folder)
    write(tmp_path / "other")
    done = subprocess.run([sys.executable, "-c", KILLED, where, str(folder)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    data_sets = [path.parent.name for path in tmp_path.glob("*/vimh_dataset_info.json")]
    if where != "between renames":  # possible only where directories cannot be exchanged
        assert sorted(data_sets) == ["other", "x"]
        assert len(check_dataset(folder).train) == (7 if where == "after exchange" else 4)
    assert len(listing(tmp_path)) > len(data_sets)  # something was left behind,
    write(tmp_path / "next")  # and the next writer cleans it up
    assert listing(tmp_path) == ["next", "other", "x"]
    assert len(check_dataset(folder).train) == (7 if where == "after exchange" else 4)


def test_a_living_writer_is_not_cleaned_up(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "slow", make_json()) as writer:
        writer.write("train", *make_samples(5))
        write(tmp_path / "fast")
        assert listing(tmp_path)[0].startswith(".vimh-writing-")
    assert listing(tmp_path) == ["fast", "slow"]
    assert len(check_dataset(tmp_path / "slow").train) == 5


def test_lock_is_taken_by_the_cleaner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cleaner that locks a directory before its writer does: the writer takes another."""
    flock, calls = fcntl.flock, []

    def busy_once(lock: int, how: int) -> None:
        calls.append(lock)
        if len(calls) == 1:
            raise BlockingIOError
        flock(lock, how)

    monkeypatch.setattr(fcntl, "flock", busy_once)
    write(tmp_path / "x")
    assert len(calls) == 2
    write(tmp_path / "y")
    assert listing(tmp_path) == ["x", "y"]


@pytest.mark.slow
def test_killed_by_the_clock(tmp_path: Path) -> None:
    """Overwrite again and again, kill anywhere: always one whole data set."""
    folder = tmp_path / "x"
    write(folder)
    loop = "from tests.vimh.test_writer import write\nfrom pathlib import Path\nimport sys\n"
    loop += "while True: write(Path(sys.argv[1]), 7, overwrite=True, output_format='both')"
    rng = np.random.default_rng(0)
    for _ in range(15):
        process = subprocess.Popen([sys.executable, "-c", loop, str(folder)], cwd=ROOT)
        time.sleep(1.0 + rng.random())
        process.kill()
        process.wait()
        assert len(check_dataset(folder).train) in (4, 7)
        assert [path.parent for path in tmp_path.glob("*/vimh_dataset_info.json")] == [folder]


def test_memory_does_not_grow_with_the_data_set(tmp_path: Path) -> None:
    code = """
import resource, sys
from tests.vimh.conftest import make_json, make_samples
from src.vimh.records import DatasetWriter
chunk = make_samples(256, 3, 32, 32)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name, chunks in (("small", 4), ("large", 160)):
    info = make_json(3, 32, 32)
    with DatasetWriter(f"{sys.argv[1]}/{name}", info, output_format="both") as writer:
        for _ in range(chunks):
            writer.write("train", *chunk)
    if name == "small":
        before = peak()
print(peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert os.path.getsize(tmp_path / "large" / "train_batch") > 120e6
    # pickles go through chunks of 16 MiB; the small set is smaller than one
    assert int(done.stdout) < 80_000


@pytest.mark.parametrize("output_format", ["binary", "pickle"])
def test_to_binary(output_format: str, tmp_path: Path) -> None:
    write(tmp_path / "x", output_format=output_format)
    assert (tmp_path / "x" / "train").exists() is (output_format == "binary")
    to_binary(tmp_path / "x", tmp_path / "y")
    old, new = check_dataset(tmp_path / "x"), check_dataset(tmp_path / "y")
    assert new.metadata.raw["output_format"] == "binary"
    assert new.metadata.dataset_name == "y"
    for what in ("images", "labels", "scale_factors"):
        np.testing.assert_array_equal(getattr(new.train, what), getattr(old.train, what))


def test_to_binary_of_version_1(tmp_path: Path, write_by_hand: Callable[..., Path]) -> None:
    images, labels, _ = make_samples(3)
    data = pack_records(images, labels, None)
    to_binary(write_by_hand(make_json(version="1.0"), train=data, test=data), tmp_path / "y")
    new = check_dataset(tmp_path / "y")
    assert new.metadata.raw["version"] == "2.1"
    np.testing.assert_array_equal(new.train.images, images)
    assert (new.train.scale_factors == [0, 255]).all()


def test_a_set_whose_json_lists_its_varying_parameters_is_read(tmp_path: Path) -> None:
    """Older sets of ours have the list; writing one again makes it the count."""
    with DatasetWriter(tmp_path / "x", make_json(varying_parameters=["a", "b", "c"])) as writer:
        writer.write("train", *make_samples(3))
    info = tmp_path / "x" / "vimh_dataset_info.json"
    written = json.loads(info.read_text())
    assert written["varying_parameters"] == 2
    for count in (["note_velocity", "log10_decay_time"], 2):
        info.write_text(json.dumps({**written, "varying_parameters": count}))
        opened = open_dataset(tmp_path / "x", check="full")
        assert len(opened.metadata.parameters) == 2
        assert opened.metadata.to_json()["varying_parameters"] == count
