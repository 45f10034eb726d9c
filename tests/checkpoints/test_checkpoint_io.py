import collections
import errno
import functools
import os
import pickle
import resource
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from src.checkpoints import checkpoint_io
from src.checkpoints.checkpoint_io import AtomicCheckpointIO, load_checkpoint
from src.utils.errors import CheckpointError
from tests.callbacks.fakes import SmallModule, loader, trainer

CHECKPOINT = {"epoch": 3, "state_dict": {"w": torch.arange(4096.0)}, "hyper": {"lr": [0.1, None]}}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A good checkpoint that must survive whatever happens to the next one."""
    path = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(CHECKPOINT, path)
    return path


def assert_untouched(path: Path) -> None:
    loaded = load_checkpoint(path)
    assert loaded["epoch"] == 3
    assert torch.equal(loaded["state_dict"]["w"], CHECKPOINT["state_dict"]["w"])
    assert os.listdir(path.parent) == [path.name]  # nothing left beside it


def test_round_trip(saved: Path) -> None:
    loaded = AtomicCheckpointIO().load_checkpoint(saved)
    assert loaded["hyper"] == {"lr": [0.1, None]}
    assert_untouched(saved)


def test_replaces_what_was_there(saved: Path) -> None:
    AtomicCheckpointIO().save_checkpoint({"epoch": 4}, saved)
    assert load_checkpoint(saved) == {"epoch": 4}


def test_fit_resume_and_test_with_the_plugin(tmp_path: Path) -> None:
    def fit(max_epochs: int, ckpt_path: str | None) -> tuple[SmallModule, Any]:
        keep = ModelCheckpoint(
            tmp_path / "checkpoints",
            "epoch_{epoch:03d}",
            monitor="val/loss",
            save_last=True,
            auto_insert_metric_name=False,
        )
        fitting = trainer(
            tmp_path,
            max_epochs=max_epochs,
            callbacks=[keep],
            enable_checkpointing=True,
            enable_progress_bar=False,
            plugins=AtomicCheckpointIO(),
        )
        torch.manual_seed(0)
        module, train, val = SmallModule(), loader(), loader(2)
        fitting.fit(module, train, val, ckpt_path=ckpt_path)
        fitting.test(module, val, ckpt_path="best", verbose=False)
        return module, fitting

    fit(1, None)
    names = sorted(os.listdir(tmp_path / "checkpoints"))
    assert names == ["epoch_000.ckpt", "last.ckpt"]
    _, fitting = fit(3, str(tmp_path / "checkpoints" / "last.ckpt"))
    assert fitting.current_epoch == 3


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may become longer than 4096 bytes: a write fails in the middle, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_loses_nothing(saved: Path, full_disk: None) -> None:
    with pytest.raises(CheckpointError, match=r"last\.ckpt.*MB are free") as caught:
        AtomicCheckpointIO().save_checkpoint(CHECKPOINT | {"epoch": 9}, saved)
    assert isinstance(caught.value.__cause__, OSError)
    assert_untouched(saved)


def test_a_read_only_folder_loses_nothing(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not by chmod: the tests may run as root, who may write anywhere.
    def refuse(self: Path, mode: str = "r", **kwargs: Any) -> Any:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(CheckpointError, match="Read-only file system"):
            AtomicCheckpointIO().save_checkpoint({"epoch": 9}, saved)
    assert_untouched(saved)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"paths\.log_dir"):
        AtomicCheckpointIO().save_checkpoint({}, tmp_path / "file" / "checkpoints" / "a.ckpt")


def test_interrupted_before_the_rename(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        AtomicCheckpointIO().save_checkpoint({"epoch": 9}, saved)
    assert_untouched(saved)


def test_what_a_kill_leaves_is_overwritten(saved: Path) -> None:
    saved.with_name(".last.ckpt.tmp").write_bytes(b"x" * 10_000_000)
    AtomicCheckpointIO().save_checkpoint(CHECKPOINT, saved)
    assert_untouched(saved)


def test_a_disk_that_lies(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = checkpoint_io._write

    def damaged(checkpoint: dict[str, Any], path: Path) -> tuple[int, int]:
        written = write(checkpoint, path)
        with path.open("r+b") as file:
            file.seek(200)
            file.write(b"\x55")
        return written

    monkeypatch.setattr(checkpoint_io, "_write", damaged)
    with pytest.raises(CheckpointError, match="reads back differently"):
        AtomicCheckpointIO().save_checkpoint({"epoch": 9}, saved)
    assert_untouched(saved)


class RunsCode:
    def __reduce__(self) -> Any:
        return os.system, ("touch hacked",)


def tensor_with(attribute: Any) -> torch.Tensor:
    tensor = torch.zeros(2)
    tensor.note = attribute  # type: ignore[attr-defined]
    return tensor


@pytest.mark.parametrize(
    ("unsafe", "named"),
    [
        (functools.partial(torch.optim.Adam, lr=0.1), r"functools\.partial"),
        ((1, [{"deep": RunsCode()}]), "system"),
        (tensor_with(RunsCode()), "system"),
    ],
)
def test_what_could_not_be_resumed_is_not_written(saved: Path, unsafe: Any, named: str) -> None:
    with pytest.raises(CheckpointError, match=named):
        AtomicCheckpointIO().save_checkpoint({"hyper_parameters": {"x": unsafe}}, saved)
    assert_untouched(saved)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "bad": RunsCode()}, "a.ckpt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        AtomicCheckpointIO().load_checkpoint("a.ckpt")
    with pytest.raises(CheckpointError, match="never done"):
        AtomicCheckpointIO().load_checkpoint("a.ckpt", weights_only=False)
    assert not Path("hacked").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a checkpoint"),
        (b"hello", "not a checkpoint"),
        (pickle.dumps({"state_dict": {}}), "not a checkpoint"),
        (None, "no such"),
    ],
)
def test_wrong_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "a.ckpt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)


def test_damaged_files(saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes()
    damaged = tmp_path / "damaged.ckpt"
    for length in range(0, len(whole), 997):
        damaged.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            load_checkpoint(damaged)
    generator = torch.Generator().manual_seed(0)
    refused = 0
    for _ in range(100):
        position = int(torch.randint(len(whole), (1,), generator=generator))
        flipped = bytearray(whole)
        flipped[position] ^= 1 << int(torch.randint(8, (1,), generator=generator))
        damaged.write_bytes(flipped)
        try:
            load_checkpoint(damaged)
        except CheckpointError:
            refused += 1
    assert refused > 80  # zip files have bytes that nobody reads


def test_a_damaged_end(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    locator = content.rindex(b"PK\x06\x07")
    content[locator + 4] = 1  # the number of the disk with the archive's directory
    saved.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a checkpoint, or a truncated one"):
        load_checkpoint(saved)


def test_other_zip_files(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", "hello")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="expected a dict, found list"):
        load_checkpoint(path)


def test_addresses_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="local files"):
        load_checkpoint("s3://bucket/a.ckpt")
    with pytest.raises(CheckpointError, match="storage_options"):
        AtomicCheckpointIO().save_checkpoint({}, tmp_path / "a", storage_options={})


def test_remove(saved: Path) -> None:
    AtomicCheckpointIO().remove_checkpoint(saved)
    AtomicCheckpointIO().remove_checkpoint(saved)  # not there: nothing to do
    folder = saved.with_name("sharded")
    (folder / "inside").mkdir(parents=True)
    AtomicCheckpointIO().remove_checkpoint(folder)
    assert os.listdir(saved.parent) == []


@pytest.mark.parametrize(
    "unread",
    [{None: 1}, {1.5: 1}, {(1, 2): 1}, {2**40: 1}, {1}, b"bytes", 1j, torch.Size([1]), range(2),
     torch.zeros(2, dtype=torch.complex64), torch.zeros(2, 2).to_sparse()],
)  # fmt: skip
def test_what_is_not_read_is_not_written(saved: Path, unread: Any) -> None:
    with pytest.raises(CheckpointError, match="not written"):
        AtomicCheckpointIO().save_checkpoint({"hyper_parameters": unread}, saved)
    assert_untouched(saved)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    content = {
        "tensors": [torch.zeros(2, 3).t(), torch.zeros(()), torch.zeros(0, 4), torch.zeros(3)[1:]],
        "kinds": [torch.ones(2, dtype=d) for d in sorted(checkpoint_io.READ_DTYPES, key=str)],
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "numbers": [0, -1, 2**31, 2**62, -(2**62), 0.5, float("inf"), True, None, "é\ud800"],
        "milestones": collections.Counter([3, 3, 5]),
        "nested": ((1, ()), [[]], {}, {1: {"a": (1, 2, 3, 4)}}, collections.OrderedDict(a=1)),
    }  # fmt: skip
    path = tmp_path / "a.ckpt"
    AtomicCheckpointIO().save_checkpoint(content, path)
    loaded = load_checkpoint(path)
    for key in ("tensors", "kinds"):
        for found, expected in zip(loaded.pop(key), content.pop(key), strict=True):
            assert torch.equal(found, expected)
            assert (found.dtype, found.stride()) == (expected.dtype, expected.stride())
    assert torch.equal(loaded.pop("parameter"), content.pop("parameter"))
    assert loaded == content
    assert type(loaded["milestones"]) is collections.Counter
